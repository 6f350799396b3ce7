"""GPUs in words."""

from __future__ import annotations

from dataclasses import replace

from forge_tui.resources.gpu_users import GpuUser
from forge_tui.resources.gpu_words import figures, labels, users_in_short, users_in_words
from forge_tui.resources.gpus import Gpu

GIB = 2**30
GPU = Gpu(0, "NVIDIA H100", 80 * GIB, int(41.2 * GIB), 63.0, "GPU-aa", 54.0)


def ours(models: str, run: str = "run-1") -> GpuUser:
    return GpuUser(1, GIB, "ada", models, run)


BOB, HIDDEN = GpuUser(2, GIB, "bob"), GpuUser(3, None)


def test_figures_are_told_as_far_as_they_are_known():
    assert figures(GPU) == "41.2 of 80.0 GiB in use, 63 % busy, 54 °C"
    assert figures(replace(GPU, memory_total=0, temperature=None)) == "63 % busy"
    assert figures(Gpu(0, "GPU 0", 0, 0)) == "the driver reports no figures"


def test_mig_instances_are_numbered_on_their_gpu():
    part = replace(GPU, index=1, parent="GPU-bb")
    assert labels([GPU, part, part, replace(GPU, index=2)]) == ["0", "1.0", "1.1", "2"]


def test_ours_are_told_by_model_and_run_and_others_by_user():
    several = [ours("a"), ours("b"), ours("a"), ours("x", "run-2"), BOB, BOB, HIDDEN]
    assert users_in_words(several) == "a, b of run run-1; x of run run-2; bob: 2 processes; unknown user: 1 process"
    assert users_in_words(several[:3], "run-1") == "a, b"
    many = [ours(f"m{number}") for number in range(6)]
    assert users_in_words(many, "run-1") == "m0, m1, m2, m3 and 2 more"
    assert users_in_words([]) == users_in_words(None) == ""


def test_the_short_form_has_few_cells():
    assert users_in_short(None) == "?"
    assert users_in_short([]) == "idle"
    assert users_in_short([ours("a"), ours("b")]) == "2 ours"
    assert users_in_short([ours("a"), BOB, HIDDEN]) == "1+2"
    assert users_in_short([BOB, BOB]) == "bob"
    assert users_in_short([BOB, HIDDEN]) == "others"
    assert users_in_short([HIDDEN]) == "?"
