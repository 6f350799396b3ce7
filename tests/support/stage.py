"""The whole scheduler on a stage: no process is started, and the test says what every worker does and when.

The scheduler runs in a thread and stands still whenever it would wait: a test moves it on by `turn`. Time stands still
too, unless the test moves it.
"""

from __future__ import annotations

import math
import queue
import selectors
import signal
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_engine import FakeEngine, FakeWorker

from forge_tui.engines.base import EndKind
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol import events as happened
from forge_tui.protocol.events import Event, to_record
from forge_tui.protocol.job import Job
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.run_info import RunInfo
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.monitor import ResourceSample
from forge_tui.resources.policy import GIB
from forge_tui.resources.usage import CpuUsage
from forge_tui.runner.device_costs import DeviceCosts
from forge_tui.runner.device_pool import DevicePool
from forge_tui.runner.energy_account import EnergyAccount
from forge_tui.runner.governor import Governor
from forge_tui.runner.journal import Journal
from forge_tui.runner.machine import MachineSample
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runner.prepare import allowed_workers, on_devices
from forge_tui.runner.scheduler import Scheduler
from forge_tui.runner.search.sampler import Sampler
from forge_tui.runner.work import Devices, Means, Room, Work
from forge_tui.runs import commands, run_models
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.results import Result
from forge_tui.runs.store import RunStore
from forge_tui.settings.schema import from_plain, to_plain

M = TrainingPhase
_SECONDS = 30.0


def machine_state(available: float = 60.0, others: float = 5.0, **changes: Any) -> SystemResources:
    """A machine of 8 CPUs and 64 GiB with `available` GiB, `others` percent busy with others' work."""
    values = {
        "cpu_count": 8, "memory_gb": 64.0, "available_memory_gb": available, "cpu_usage_percent": others,
        "others_cpu_percent": others, "recommended_workers": 4, "memory_per_worker_gb": 8.0, **changes,
    }  # fmt: skip
    return SystemResources(**values)


class Actor:
    """Plays one worker: what its trainer would tell of its models (`jobs`: those it still has), and what it is told."""

    def __init__(self, stage: Stage, worker: FakeWorker) -> None:
        self._stage = stage
        self.worker = worker
        self.jobs = list(worker.jobs)
        self.phase = M.QUEUED
        self.epoch = stage.journal.models[self.index].checkpoint_epoch

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of all models it was started with."""
        return tuple(job.index for job in self.worker.jobs)

    @property
    def index(self) -> int:
        """The number of its model, or of its group's first."""
        return self.worker.jobs[0].index

    @property
    def is_told_to_go(self) -> bool:
        """Whether it was killed, or told to stop."""
        return self.worker.killed or "stop" in self.listen()

    def listen(self) -> list[str]:
        """All commands it was sent."""
        return [message["command"] for message in self.worker.heard]

    @property
    def answers(self) -> list[bool]:
        """Whether its models go on, as it heard at each rung."""
        return [message["continues"] for message in self.worker.heard if message["command"] == "rung"]

    # What it tells: each is an action for `Stage.turn`

    def says(self, **message: Any) -> Callable[[], None]:
        """One message."""
        return lambda: self.worker.says(message)

    def tells(self, event: Event) -> Callable[[], None]:
        """One event."""
        return self.says(**to_record(event, "run"))

    def enters(self, *phases: TrainingPhase) -> list[Callable[[], None]]:
        """Its models go through `phases`."""
        found = []
        for phase in phases:
            changed = {"phase": phase, "previous": self.phase}
            found += [self.tells(happened.PhaseChanged(**changed, **about)) for about in self._abouts()]
            self.phase = phase
        return found

    def begins(self) -> list[Callable[[], None]]:
        """Data and models are there, training begins."""
        names = [job.model for job in self.jobs]
        started = [
            self.tells(
                happened.ModelStarted(
                    config={"learning_rate": 0.1}, seed=job.seed, parameters=7, worker=4711, device="cpu", threads=1,
                    step=20 * self.epoch, group=names if len(names) > 1 else None, **self._about(job),
                )
            )
            for job in self.jobs
        ]  # fmt: skip
        return [*self.enters(M.INITIALIZING), *started, *self.enters(M.TRAINING)]

    def trains(self, loss: float | None = None) -> list[Callable[[], None]]:
        """One epoch of 20 steps, with this loss or 1 / epoch."""
        self.epoch += 1
        loss = 1 / self.epoch if loss is None else loss
        return [
            self.tells(
                happened.EpochFinished(
                    epoch=self.epoch, epochs=self._stage.epochs, step=20 * self.epoch, best_loss=1 / self.epoch,
                    metrics={"loss": loss, "steps_per_second": 40.0}, seconds=0.5, **about,
                )
            )
            for about in self._abouts()
        ]  # fmt: skip

    def saves(self) -> list[Callable[[], None]]:
        """Checkpoints."""
        at = {"epoch": self.epoch, "step": 20 * self.epoch}
        saved = [
            self.tells(happened.CheckpointSaved(path="checkpoint", bytes=1_000, seconds=0.01, **at, **about))
            for about in self._abouts()
        ]
        return [*self.enters(M.CHECKPOINTING), *saved, *self.enters(M.TRAINING)]

    def leaves(self, index: int) -> list[Callable[[], None]]:
        """One of its group leaves it after a checkpoint, as it was told."""
        job = next(job for job in self.jobs if job.index == index)
        self.jobs.remove(job)
        saved = happened.CheckpointSaved(
            epoch=self.epoch, step=20 * self.epoch, path="checkpoint", bytes=1_000, seconds=0.01, **self._about(job)
        )
        return [self.tells(saved), self.says(left=index)]

    def is_done_early(self, index: int, reason: str) -> list[Callable[[], None]]:
        """The patience of one of its group has run out: it is written and leaves."""
        job = next(job for job in self.jobs if job.index == index)
        self.jobs.remove(job)
        about = self._about(job)
        done = happened.ModelCompleted(path=f"run/{job.model}", metrics={"loss": 0.1}, best_epoch=self.epoch, **about)
        saving = happened.PhaseChanged(phase=M.SAVING, previous=self.phase, **about)
        ended = happened.PhaseChanged(phase=M.COMPLETED, previous=M.SAVING, reason=reason, **about)
        return [*map(self.tells, (saving, done, ended)), self.says(left=index)]

    def diverges(self, index: int) -> list[Callable[[], None]]:
        """One of its group diverges in epoch 3 and leaves it."""
        job = next(job for job in self.jobs if job.index == index)
        self.jobs.remove(job)
        words = "the loss of epoch 3 is nan"
        failed = happened.ModelFailed(kind="diverged", message=words, **self._about(job))
        return [self.tells(failed), self.says(left=index)]

    def stops(self) -> list[Callable[[], None]]:
        """Checkpoints, then the end, as it was told."""
        saved = self.saves() if self.phase in (M.TRAINING, M.PAUSED) else []
        return [*saved, self.says(outcome="stopped"), self.exits(0)]

    def completes(self) -> list[Callable[[], None]]:
        """Its models are done."""
        began = self.begins() if self.phase is M.QUEUED else []
        self.epoch = self._stage.epochs
        saved = [*self.saves(), *self.enters(M.SAVING)]
        saved += [self.says(result=job.index, attempt=job.attempt) for job in self.jobs]
        done = [
            self.tells(happened.ModelCompleted(path=f"run/{job.model}", metrics={"loss": 0.1}, **self._about(job)))
            for job in self.jobs
        ]
        return [*began, *saved, *done, *self.enters(M.COMPLETED), self.says(outcome="completed"), self.exits(0)]

    def fails(self, kind: str = "exception", message: str = "ValueError: broken") -> list[Callable[[], None]]:
        """Training raises."""
        failed = [self.tells(happened.ModelFailed(kind=kind, message=message, **about)) for about in self._abouts()]
        return [*failed, self.exits(1)]

    def diverged(self, checkpoints: list[tuple[int, int]]) -> list[Callable[[], None]]:
        """Training has diverged in the next epoch, while there were these checkpoints: (step, epoch) of each."""
        epoch = self.epoch + 1
        about = self._about(self.jobs[0])
        nothing = happened.EpochFinished(
            epoch=epoch, epochs=self._stage.epochs, step=20 * epoch, metrics={"loss": math.nan}, seconds=0.5,
            best_loss=1 / self.epoch if self.epoch else None, **about,
        )  # fmt: skip
        failed = happened.ModelFailed(kind="diverged", message=f"the loss of epoch {epoch} is nan", **about)
        told = {**to_record(failed, "run"), "checkpoints": [list(one) for one in checkpoints]}
        return [self.tells(nothing), self.says(**told), self.exits(1)]

    def exits(self, status: int) -> Callable[[], None]:
        """The process is gone (negative: by a signal)."""
        return lambda: self.worker.exits(status)

    def dies(self, kind: EndKind) -> Callable[[], None]:
        """It is gone, and its engine says why."""
        return lambda: self.worker.dies(kind)

    def _abouts(self) -> list[dict[str, Any]]:
        return [self._about(job) for job in self.jobs]

    def _about(self, job: Job) -> dict[str, Any]:
        return {"time": self._stage.wall(), "model": job.model, "index": job.index, "attempt": job.attempt}


Step = Callable[[Actor], Sequence[Callable[[], None]]]
"""One thing that a worker does in a script, such as `Actor.begins`."""


class Stage:
    """A run of `models` models, of which the rules allow `requested` at once. Use it as a context manager."""

    epochs = 10

    def __init__(
        self,
        base: Path,
        *,
        models: int = 3,
        requested: int = 2,
        resources: SystemResources | None = None,
        waits: Callable[[], str | None] = lambda: None,
        placing: Callable[[Job], int | None] = lambda job: 0,
        state: Path | None = None,
        rules: dict[str, Any] | None = None,
        devices: Sequence[str] = (),
        device_bytes: Callable[[Hashable], int | None] = lambda kind: None,
        sampler: Sampler | None = None,
        account: Callable[[Journal], EnergyAccount] | None = None,
        energy_reader: Any = None,
        **settings: dict[str, Any],
    ) -> None:
        """`resources`: the machine; `placing`: as in `FakeEngine`; `state`: the user's state directory, which runs may
        share; `rules`: `[resources]`, dedicated by default; `devices`: the run's GPUs, by UUID; `device_bytes`: what
        each kind of worker is estimated to take there; `sampler`: that of a search; `account`: what keeps the run's
        energy, read by `energy_reader`.
        """
        self.directory = RunDirectory(base / "run")
        self.directory.create()
        plain: dict[str, dict[str, Any]] = {
            "training": {"training_mode": "parallel", "max_parallel_workers": requested, "epochs": self.epochs},
            "run": {"models": models, "hang_seconds": 0.0},
            "resources": rules or {"policy": "dedicated"},
        }
        for table, values in settings.items():
            plain.setdefault(table, {}).update(values)
        self.settings = from_plain(plain)
        self.now = 1_000.0
        info = RunInfo(
            run="run", path=str(self.directory.path), mode=self.settings.training.training_mode,
            policy=self.settings.resources.policy,
            model_type="planner", models=run_models.count(self.settings), epochs=self.epochs, created=1.0,
        )  # fmt: skip
        self.first_info = info
        self.first_models = [
            ModelState(name=f"planner_{index}", index=index, seed=index, epochs=self.epochs)
            for index in range(1, run_models.count(self.settings) + 1)
        ]
        self.store = RunStore.create(self.directory.database, info, self.first_models)
        self.journal = Journal(self.store, info, self.first_models, self.wall)
        self.machine = _StageMachine(self, resources or machine_state(), energy_reader)
        self.engine = FakeEngine(placing)
        self.engine.on_spawn = self._appears
        self._actors: dict[int, Actor] = {}
        self.claims = Claims(self.directory, state or base / "state")
        other_runs = OtherLiveRuns(self.claims, 1)
        first, on = self.machine.latest.resources, on_devices(self.settings, devices)
        limit = allowed_workers(self.settings, first, other_runs.taken(), 1, devices)
        self.journal.limit(limit)
        self.governor = Governor(self.settings.resources, limit, mode=info.mode, cpus=1, estimate=GIB // 10, on=on)
        self.pool = DevicePool(
            devices,
            per_model=self.settings.resources.devices_per_model,
            reserve=self.settings.resources.memory_reserve,
            shared=self.settings.resources.policy == "shared",
        )
        self.costs = DeviceCosts(device_bytes)
        self.selector = _Turns()
        self.publisher = _StagePublisher()
        self.base_job = replace(_job(self), device="cuda" if devices else "cpu")
        if self.settings.sweep or sampler is not None:
            self.base_job = replace(self.base_job, settings=to_plain(self.settings))
        self.scheduler = Scheduler(
            Work(directory=self.directory, settings=self.settings, base_job=self.base_job, journal=self.journal),
            Means(
                engine=self.engine, publisher=self.publisher, selector=self.selector, monotonic=lambda: self.now,
                sampler=sampler,
            ),
            Room(
                governor=self.governor, machine=self.machine, other_runs=other_runs,
                devices=Devices(pool=self.pool, costs=self.costs) if devices else None,
                energy=None if account is None else account(self.journal),
            ),
        )  # fmt: skip
        self._waits = waits
        self.state: RunState | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def __enter__(self) -> Stage:
        self._thread.start()
        self.selector.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self.state is None and self._failure is None:
            self.turn(lambda: self.scheduler.endings.kill("the test is over"))
            while self.state is None:
                placed = [actor for actor in self.actors if actor.worker.place is not None]
                self.turn(*[actor.exits(-signal.SIGKILL) for actor in placed])
        self._thread.join()
        self.claims.release()
        self.store.close()

    @property
    def actors(self) -> list[Actor]:
        """The workers that are alive, the newest last."""
        return [self._actors[worker.id] for worker in self.engine.workers]

    def actor(self, index: int) -> Actor:
        """The worker that trains model `index`."""
        return next(actor for actor in self.actors if actor.index == index)

    def phase(self, index: int) -> TrainingPhase:
        """Where a model stands."""
        return self.journal.models[index].phase

    def turn(self, *actions: Callable[[], None]) -> None:
        """Let `actions` happen, and the scheduler look round until it waits again, or has ended."""
        self.selector.give(list(actions))
        self.selector.wait()
        if self._failure is not None:
            raise self._failure

    def play(self, scripts: Mapping[int, Sequence[Sequence[Step]]], turns: int = 100) -> None:
        """Let every worker that is placed do one step of its script a turn, until the run has ended.

        `scripts`: for the first model of a worker one script for each attempt at it, the last for all further ones.
        Models without any are completed at once. A worker that has come to the end of its script only waits.
        """
        steps: dict[Actor, Iterator[Step]] = {}
        for _ in range(turns):
            if self.state is not None:
                return
            actions: list[Callable[[], None]] = []
            for actor in self.actors:
                if actor.worker.place is None:
                    continue
                if actor not in steps:
                    found = scripts.get(actor.index, [[Actor.completes]])
                    steps[actor] = iter(found[min(actor.worker.jobs[0].attempt, len(found)) - 1])
                step = next(steps[actor], None)
                actions += step(actor) if step is not None else ()
            self.turn(*actions)

    def look(self, resources: SystemResources | None = None, seconds: float = 2.0) -> None:
        """`seconds` go by and the machine is looked at."""
        self.now += seconds
        self.machine.see(resources)
        self.turn()

    def command(self, name: str, **arguments: Any) -> str:
        """Send a command as a viewer would; returns its id. It is taken by the next turn."""
        return commands.send(self.directory, name, arguments, "test")

    def answers(self, identity: str) -> list[tuple[str, str | None]]:
        """How a command was answered: outcomes with their reasons."""
        return [(one["outcome"], one["reason"]) for one in self.events("command") if one["id"] == identity]

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What is recorded so far."""
        from forge_tui.runs.reader import RunReader

        assert self.store.flush()
        with RunReader(self.directory.database) as reader:
            found = [record for _, record in reader.events(0, 100_000)]
        return [record for record in found if kind is None or record["event"] == kind]

    def wall(self) -> float:
        """UNIX seconds."""
        return 1_700_000_000.0 + self.now

    def carry_out(self) -> RunState:
        """What the runner does with the scheduler."""
        return self.scheduler.run(self._waits)

    def _appears(self, worker: FakeWorker) -> None:
        others = [self._actors[one.id] for one in self.engine.workers if one is not worker]
        at_work = {job.index for actor in others for job in actor.jobs}
        assert at_work.isdisjoint(job.index for job in worker.jobs), "a model has two workers"
        assert len(self.engine.workers) <= self.governor.slots, "more workers than slots"
        self._actors[worker.id] = Actor(self, worker)

    def _run(self) -> None:
        try:
            self.state = self.carry_out()
        except BaseException as error:  # raised again in the test's thread
            self._failure = error
        finally:
            self.selector.end()


class _StagePublisher:
    """Gives no file a name, and keeps what it was asked for. `refusal`: why it cannot be done."""

    def __init__(self) -> None:
        self.published: list[Result] = []
        self.refusal: RunDirectoryError | None = None

    def publish(self, result: Result, done: Callable[[RunDirectoryError | None], None]) -> None:
        """At once."""
        self.published.append(result)
        done(self.refusal)


class _StageMachine:
    """A machine that is as the test says."""

    def __init__(self, stage: Stage, first: SystemResources, energy: Any) -> None:
        self._stage = stage
        self.energy = energy
        self.latest = MachineSample(0, first)
        self.is_watched = False
        self.anew = 0
        """How often a look was asked for that waits for none."""

    def watch(self) -> None:
        """From now on somebody looks."""
        self.is_watched = True

    def look_anew(self) -> None:
        """As it is."""
        self.anew += 1

    def now(self) -> SystemResources:
        """As last seen."""
        return self.latest.resources

    def last_gpus(self) -> tuple[Gpu, ...]:
        """As last seen."""
        return self.latest.resources.gpus

    def see(self, resources: SystemResources | None) -> None:
        """The next look."""
        found = resources or self.latest.resources
        available, limit = int(found.available_memory_gb * GIB), int(found.memory_gb * GIB)
        usage = CpuUsage(found.cpu_usage_percent, found.others_cpu_percent or 0.0, (), 2.0)
        sample = ResourceSample(
            time=self._stage.wall(), cpu_percent=usage.percent, others_cpu_percent=usage.others_percent, per_core=(),
            memory_used=limit - available, memory_available=available, memory_limit=limit, load_average=None,
            pressure=found.pressure, usage=usage,
        )  # fmt: skip
        self.latest = MachineSample(self.latest.number + 1, found, sample)


class _Turns(selectors.BaseSelector):
    """A selector that waits for the test instead of for files."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []
        """How long it was to wait, each time."""
        self._given: queue.Queue[list[Callable[[], None]]] = queue.Queue()
        self._standing: queue.Queue[None] = queue.Queue()

    def give(self, actions: list[Callable[[], None]]) -> None:
        """What happens next."""
        self._given.put(actions)

    def wait(self) -> None:
        """Wait until the scheduler waits, or has ended."""
        self._standing.get(timeout=_SECONDS)

    def end(self) -> None:
        """The scheduler has ended."""
        self._standing.put(None)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.timeouts.append(timeout)
        self._standing.put(None)
        return [(selectors.SelectorKey(0, 0, 0, action), 0) for action in self._given.get()]

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise NotImplementedError("nothing on the stage has a file")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise NotImplementedError("nothing on the stage has a file")

    def get_map(self) -> dict[Any, selectors.SelectorKey]:
        return {}


def _job(stage: Stage) -> Job:
    return Job(
        run="run", directory=str(stage.directory.path), working_directory=str(stage.directory.path), model="planner_1",
        index=1, attempt=1, seed=1, settings={}, threads=1, device="cpu",
    )  # fmt: skip
