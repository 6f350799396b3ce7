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
    """Asks such workers and waits for their answers; each loads the data once. Close it: they hold memory.

    Every question raises what a worker refused with (`UsageError`, `ResourceError` or `RunDirectoryError`, with the
    reason), and `ForgeError` where one ended without a word.
    """

    def __init__(self, engine: Engine, selector: selectors.BaseSelector, job: Job, code: Code) -> None:
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
        if error is None:  # else the engine ends them, with everything
            self.close()

    def inspect(
        self, combinations: Sequence[Combination], together: int, rehearsal: float | None
    ) -> list[dict[str, Any]]:
        """The `training.probe.Inspection` of data and model with each of these combinations of a sweep.

        `together`: how many such models a worker will train as one group. `rehearsal`: the bytes in which custom code
        is tried with each of them (None: it is not). `data` then has their data, apart from these.
        """
        answers: dict[int, dict[str, Any]] = {}
        for number, places in enumerate(self._apart(combinations)):
            if number:
                self.close()
            asked = [dict(combinations[place]) for place in places]
            question = {"command": "inspect", "combinations": asked, "together": together, "rehearsal": rehearsal}
            answers |= zip(places, self._ask(question, 1)[0]["inspections"], strict=True)
        found = [answers[place] for place in range(len(combinations))]
        fingerprints = [Fingerprint.from_record(one.pop("data")) for one in found]
        self.data = RunData.of(zip(combinations, fingerprints, strict=True))
        self._job = replace(self._job, data=self.data.to_record())  # workers that measure need not hash a file again
        return found

    def _apart(self, combinations: Sequence[Combination]) -> list[list[int]]:
        """The places of the combinations that one worker is asked about, for each worker.

        A dataset function is called once in a worker, as it is where models are trained: a second call may give other
        data, as a generator of its module has gone on.
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
    ) -> list[dict[str, Any]]:
        """What so many workers at once measure of ways to train in `memory` bytes altogether.

        A `training.probe.Measurement` of each; each way is measured for `seconds`, in all its turns together, with
        the `combination` of a sweep. `rates`: learning rate and weight decay of models trained together, where they
        differ.
        """
        asked = {"command": "measure", "ways": [list(way) for way in ways], "seconds": seconds}
        asked |= {"combinations": [dict(combination)], "rates": [list(pair) for pair in rates]}
        return self._ask({**asked, "most_bytes": memory / workers}, workers)

    def close(self) -> None:
        """Let the workers go, and wait until they and their memory have gone."""
        for worker in self._workers:
            worker.send({"command": "stop"})
        self._wait(lambda worker: False)

    def _ask(self, question: dict[str, Any], workers: int) -> list[dict[str, Any]]:
        self._workers = [worker for worker in self._workers if worker.id not in self._ended]
        while len(self._workers) < workers:
            job = self._code.job(self._job)
            started = self._engine.spawn("inspect", [job], None, self._on_message, self._on_exit)
            self._workers.append(started)
        asked = self._workers[:workers]
        self._answers.clear()
        for worker in asked:
            worker.send(question)
        self._wait(lambda worker: worker not in asked or worker.id in self._answers)
        return [self._result(worker) for worker in asked]

    def _wait(self, is_done: Callable[[WorkerHandle], bool]) -> None:
        """Until all workers are done with what they were asked, or have ended."""
        while not all(worker.id in self._ended or is_done(worker) for worker in self._workers):
            for key, _ in self._selector.select(0.1):
                key.data()
            self._engine.tick()

    def _result(self, worker: WorkerHandle) -> dict[str, Any]:
        answer = self._answers.get(worker.id)
        if answer is None:
            how = "ended" if worker.ended is None else worker.ended.words
            raise ForgeError(f"the worker that was to read the data {how} and said nothing; try again")
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
