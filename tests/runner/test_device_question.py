"""What torch is asked, and when: not without a GPU, not for the CPU, not for a command."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from gpu_server import GpuServer

from forge_tui.engines.base import Ended, EndKind
from forge_tui.resources.devices import TorchDevices
from forge_tui.resources.gpus import Gpu
from forge_tui.runner import device_question
from forge_tui.runner.device_question import torch_devices
from forge_tui.settings.schema import Settings, from_plain

SERVER = GpuServer((80.0, 80.0))


class _Answering:
    """An engine whose worker answers at once, or ends without."""

    def __init__(self, result: dict[str, Any] | None, *, hangs: bool = False) -> None:
        self.result = result
        self.hangs = hangs
        self.asked: list[str] = []

    def spawn(
        self,
        kind: str,
        jobs: Sequence[Any],
        log: str | None,
        on_message: Callable[[Any, dict[str, Any]], None],
        on_exit: Callable[[Any], None],
    ) -> Any:
        self.asked.append(kind)
        ended = Ended(EndKind.SIGNAL, "was killed by SIGSEGV")
        worker = SimpleNamespace(ended=ended, place="here", kill=lambda: self.asked.append("kill"))
        if self.result is not None:
            on_message(worker, {"result": self.result})
        if not self.hangs:
            on_exit(worker)
        return worker

    def tick(self) -> None:
        """Nothing."""


def asked(settings: Settings, gpus: Sequence[Gpu], engine: _Answering) -> TorchDevices | None:
    job: Any = None
    with selectors.DefaultSelector() as selector:
        return torch_devices(settings, gpus, engine, selector, job)  # type: ignore[arg-type]


def test_without_a_gpu_or_for_the_cpu_nothing_is_asked() -> None:
    engine = _Answering(None)
    assert asked(Settings(), (), engine) is None
    assert asked(from_plain({"resources": {"device": "cpu"}}), SERVER.figures(), engine) is None
    assert engine.asked == []
    found = asked(
        from_plain({"resources": {"device": "cuda"}}), (), _Answering({"uuids": [], "problem": "none", "mps": True})
    )
    assert found == TorchDevices((), "none", mps=True)


def test_for_a_command_torch_is_not_asked() -> None:
    engine = _Answering(None)
    settings = from_plain({"run": {"command": ["train"]}})
    assert asked(settings, SERVER.figures(), engine) is None
    assert engine.asked == []


def test_an_answer_is_passed_on_and_an_end_without_one_is_a_reason() -> None:
    engine = _Answering({"uuids": ["b", "a"], "problem": None, "mps": False})
    assert asked(Settings(), SERVER.figures(), engine) == TorchDevices(("b", "a"))
    assert engine.asked == ["devices"]
    broken = asked(Settings(), SERVER.figures(), _Answering(None))
    assert broken == TorchDevices(problem="the process that was to start CUDA was killed by SIGSEGV without an answer")


def test_a_driver_that_hangs_does_not_hang_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_question, "ANSWER_SECONDS", 0.0)
    engine = _Answering(None, hangs=True)
    found = asked(Settings(), SERVER.figures(), engine)
    assert found == TorchDevices(problem="CUDA has not started within 0 s: its driver hangs")
    assert engine.asked == ["devices", "kill"]
