"""Workers that read the data, build the model and measure, before the first step and for `forge-tui plan`."""

from __future__ import annotations

import json
import selectors
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from forge_tui.engines.base import Engine, WorkerHandle
from forge_tui.errors import ForgeError, ResourceError, RunDirectoryError, UsageError
from forge_tui.protocol.job import Job
from forge_tui.protocol.run_data import Fingerprint, RunData, data_part
from forge_tui.runner.code_copy import Code
from forge_tui.runner.run_planner import Asked
from forge_tui.settings.own_names import named_function
from forge_tui.settings.sweep import Combination

_REFUSALS = {3: ResourceError, 4: RunDirectoryError}


class Inspector:
    """Sends requests to these workers and waits for the answers; each loads the data once. Close it: they use memory.

    Every request raises a worker's refusal (`UsageError`, `ResourceError` or `RunDirectoryError`, with the reason), and
    `ForgeError` if a worker ended without an answer.
    """

    def __init__(
        self,
        engine: Engine,
        selector: selectors.BaseSelector,
        job: Job,
        code: Code,
        *,
        devices: Sequence[str] = (),
        per_model: int = 1,
    ) -> None:
        """`devices`: GPUs by UUID, which the workers get by turns, `per_model` each; none: on the CPU."""
        self._devices, self._per_model = tuple(devices), per_model
        self._engine, self._selector = engine, selector
        self._job, self._code = job, code
        self.data: RunData | None = None
        self._workers: list[WorkerHandle] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._ended: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # otherwise the engine ends them
            self.close()

    def inspect(
        self,
        combinations: Sequence[Combination],
        together: int,
        rehearsal: float | None,
        *,
        is_check: bool = False,
        for_gpu: bool = False,
    ) -> list[dict[str, Any]]:
        """The `inspection.Inspection` of data and model for each of these combinations of a sweep.

        `together`: models per group. `rehearsal`: memory (bytes) for trying custom code with each (None: not tried).
        `data` then has their data, removed from the results; None for a training function. `is_check`: a training
        function is called until its first report. `for_gpu`: what a model will take of a GPU is estimated here,
        too, where there is none.
        """
        answers: dict[int, dict[str, Any]] = {}
        for number, places in enumerate(self._apart(combinations)):
            if number:
                self.close()
            asked = [dict(combinations[place]) for place in places]
            question = {"command": "inspect", "combinations": asked, "together": together, "rehearsal": rehearsal}
            question |= {"check": is_check, "for_gpu": for_gpu}
            answers |= zip(places, self._ask(question, 1)[0]["inspections"], strict=True)
        found = [answers[place] for place in range(len(combinations))]
        records = [one.pop("data") for one in found]
        if None in records:
            return found
        fingerprints = [Fingerprint.from_record(record) for record in records]
        self.data = RunData.of(zip(combinations, fingerprints, strict=True))
        self._job = replace(self._job, data=self.data.to_record())  # saves measuring workers from hashing again
        return found

    def _apart(self, combinations: Sequence[Combination]) -> list[list[int]]:
        """The positions of the combinations for each worker.

        A dataset function is called once per worker, as in training: a second call may give other data, because the
        state of a generator in its module has changed.
        """
        named = self._job.settings["training"]["dataset"]
        found: dict[str, list[int]] = {}
        for place, combination in enumerate(combinations):
            is_function = named_function(combination.get("training.dataset", named)) is not None
            found.setdefault(json.dumps(data_part(combination)) if is_function else "", []).append(place)
        return list(found.values())

    def measure(
        self,
        ways: Sequence[Asked],
        workers: int,
        seconds: float,
        memory: float,
        combination: Combination,
        rates: Sequence[tuple[float, float]],
        device_memory: float | None = None,
    ) -> list[dict[str, Any]]:
        """Have `workers` measure ways to train at once, in `memory` bytes in total, and each in `device_memory`
        bytes of its GPU.

        Returns an `inspection.Measurement` per worker; each way is measured for `seconds` in total, with the
        `combination` of a sweep. `rates`: learning rate and weight decay of models trained together, if they differ.
        """
        asked = {"command": "measure", "ways": [list(way) for way in ways], "seconds": seconds}
        asked |= {"combinations": [dict(combination)], "rates": [list(pair) for pair in rates]}
        asked |= {"most_bytes": memory / workers, "most_device_bytes": device_memory}
        return self._ask(asked, workers)

    def close(self) -> None:
        """End the workers, and wait until their memory is free."""
        for worker in self._workers:
            worker.send({"command": "stop"})
        self._wait(lambda worker: False)

    def _ask(self, question: dict[str, Any], workers: int) -> list[dict[str, Any]]:
        self._workers = [worker for worker in self._workers if worker.id not in self._ended]
        while len(self._workers) < workers:
            job = self._code.job(self._job)
            devices = self._devices_of(len(self._workers))
            started = self._engine.spawn("inspect", [job], None, self._on_message, self._on_exit, devices=devices)
            self._workers.append(started)
        asked = self._workers[:workers]
        self._answers.clear()
        for worker in asked:
            worker.send(question)
        self._wait(lambda worker: worker not in asked or worker.id in self._answers)
        return [self._result(worker) for worker in asked]

    def _devices_of(self, number: int) -> tuple[str, ...]:
        first = number * self._per_model
        count = len(self._devices)
        return tuple(self._devices[(first + place) % count] for place in range(min(self._per_model, count)))

    def _wait(self, is_done: Callable[[WorkerHandle], bool]) -> None:
        """Wait until all workers have answered or ended."""
        while not all(worker.id in self._ended or is_done(worker) for worker in self._workers):
            for key, _ in self._selector.select(0.1):
                key.data()
            self._engine.tick()

    def _result(self, worker: WorkerHandle) -> dict[str, Any]:
        answer = self._answers.get(worker.id)
        if answer is None:
            how = "ended" if worker.ended is None else worker.ended.words
            raise ForgeError(f"the worker that was to read the data {how} without an answer; try again")
        if "refused" in answer:
            raise _REFUSALS.get(answer["exit_status"], UsageError)(answer["refused"])
        found: dict[str, Any] = answer["result"]
        return found

    def _on_message(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        if "code" in message:
            worker.send(self._code.answer(message["code"])[0])
        elif "not_copied" in message:
            self._code.not_copied(message["not_copied"])
        else:
            self._answers[worker.id] = message

    def _on_exit(self, worker: WorkerHandle) -> None:
        self._ended.add(worker.id)
