"""The machine's GPUs on the screens, from the driver to the sidebar."""

from __future__ import annotations

import os

import pytest
from tui_host import screen_text, until

from forge_tui.resources.gpus import Gpu, GpuProcess
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.tui.app import ForgeApp
from forge_tui.tui.choices import UiChoices

GIB = 2**30


async def test_gpus_are_shown_once_the_driver_answers_and_with_who_is_on_them(
    monkeypatch: pytest.MonkeyPatch, state
) -> None:
    answers: list[tuple[Gpu, ...]] = [()]
    monkeypatch.setattr(SystemProbe, "gpus", lambda self: answers[0])
    monkeypatch.setattr(SystemProbe, "user_name", lambda self, uid: "ada")
    app = ForgeApp(host="ada@gpu7", choices=UiChoices(state))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "GPU none found" in screen_text(app))
        on_it = (GpuProcess(os.getpid(), GIB),)
        answers[0] = (Gpu(0, "NVIDIA H100", 80 * GIB, 41 * GIB, 63.0, "GPU-aa", 54.0, on_it),)
        await until(pilot, lambda: "41.0 of 80.0 GiB" in screen_text(app))
        assert "63 % busy  54" in screen_text(app)
        assert "ada: 1 process" in screen_text(app)
        await until(pilot, lambda: app.machine.detected is not None and app.machine.detected.gpus == answers[0])
        answers[0] = (Gpu(0, "NVIDIA H100", 80 * GIB, 80 * GIB, uuid="GPU-aa", problem="it is lost"),)
        await until(pilot, lambda: app.machine.detected is not None and app.machine.detected.gpus == answers[0])
