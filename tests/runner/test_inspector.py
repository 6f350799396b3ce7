"""Workers that measure before a run: each on a GPU of its own where the run has several."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from forge_tui.runner.inspector import Inspector


class _Answering:
    """An engine whose workers answer every question at once."""

    def __init__(self) -> None:
        self.given: list[tuple[str, ...]] = []
        self.questions: list[dict[str, Any]] = []

    def spawn(
        self,
        kind: str,
        jobs: Sequence[Any],
        log: str | None,
        on_message: Callable[[Any, dict[str, Any]], None],
        on_exit: Callable[[Any], None],
        *,
        devices: Sequence[str],
    ) -> Any:
        worker = SimpleNamespace(id=len(self.given), ended=None)

        def send(question: dict[str, Any]) -> None:
            self.questions.append(question)
            on_message(worker, {"result": {"worker": worker.id}})

        worker.send = send
        self.given.append(tuple(devices))
        return worker

    def tick(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("devices", "per_model", "given"),
    [
        ((), 1, [(), (), ()]),
        (("a", "b"), 1, [("a",), ("b",), ("a",)]),
        (("a", "b", "c"), 2, [("a", "b"), ("c", "a"), ("b", "c")]),
    ],
)
def test_measuring_workers_get_the_devices_by_turns(
    devices: tuple[str, ...], per_model: int, given: list[tuple[str, ...]]
) -> None:
    engine: Any = _Answering()
    job: Any = SimpleNamespace(settings={})
    code: Any = SimpleNamespace(job=lambda job: job)
    with selectors.DefaultSelector() as selector:
        inspector = Inspector(engine, selector, job, code, devices=devices, per_model=per_model)
        found = inspector.measure([(1, 1, False)], 3, 0.1, 900.0, {}, [], 70.0)
    assert [one["worker"] for one in found] == [0, 1, 2]
    assert engine.given == given
    assert engine.questions[0]["most_bytes"] == 300.0
    assert engine.questions[0]["most_device_bytes"] == 70.0
