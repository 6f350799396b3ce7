"""The generators' state: what is captured continues, and Apple's GPU has one of its own."""

from __future__ import annotations

import pytest
import torch

from forge_tui.training import random_state


def test_the_generator_of_apples_gpu_is_kept_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    of_gpu = {"state": torch.tensor([1, 2, 3], dtype=torch.uint8)}
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: of_gpu["state"])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: of_gpu.update(state=state))
    state = random_state.capture(torch.device("mps"))
    before = torch.rand(3)
    of_gpu["state"] = torch.tensor([9], dtype=torch.uint8)
    random_state.restore(state, torch.device("mps"))
    assert of_gpu["state"].tolist() == [1, 2, 3]
    assert torch.equal(torch.rand(3), before)


def test_on_the_cpu_no_gpu_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: pytest.fail("there is none"))
    assert "mps" not in random_state.capture(torch.device("cpu"))
