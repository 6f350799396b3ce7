"""Where a model trains, in words."""

from __future__ import annotations

import pytest

from forge_tui.text.device_names import device_in_short, device_in_words, placed_gpus

GPU = "GPU-5f2a6c1e-0000-0000-0000-000000000000"
MIG = "MIG-77aa6c1e-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("device", "place", "gpus", "short", "words"),
    [
        ("cpu", {"host": "server", "device": "cpu"}, (), "cpu", "cpu"),
        ("cuda", None, (), "cuda", "cuda"),  # a run of an earlier version
        ("cuda", {"host": "server", "device": GPU}, (GPU,), "GPU-5f2a", "cuda (GPU-5f2a6c1e)"),
        ("cuda", {"device": f"{GPU},{MIG}"}, (GPU, MIG), "2 GPUs", "cuda (GPU-5f2a6c1e, MIG-77aa6c1e)"),
        ("cuda", {"device": 3}, (), "cuda", "cuda"),  # not ours
    ],
)
def test_the_device_of_a_place_is_told(device, place, gpus, short, words):
    assert placed_gpus(place) == gpus
    assert device_in_short(device, place) == short
    assert device_in_words(device, place) == words
