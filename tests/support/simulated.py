"""A cluster of many nodes in simulated time: the real scheduler and the real Ray engine, and workers that only report.

Nothing waits: the selector moves the clock on to what happens next. The same seed gives the same course.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_cluster import FakeCluster, FakeNode, limit_of
from stage import machine_state

from forge_tui.engines.local import LocalEngine
from forge_tui.engines.output import Outputs
from forge_tui.engines.ray.engine import RayEngine
from forge_tui.engines.ray.frames import Message, decode
from forge_tui.protocol import events as happened
from forge_tui.protocol.events import Event, to_record
from forge_tui.protocol.job import Job
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runner.cluster_governor import ClusterGovernor
from forge_tui.runner.journal import Journal
from forge_tui.runner.machine import MachineSample
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runner.scheduler import Scheduler
from forge_tui.runner.work import Means, Room, Work
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.results import Result
from forge_tui.settings.schema import from_plain, to_plain

M = TrainingPhase
_SAMPLE_SECONDS = 2.0
_STATE_SECONDS = 2.0


class Clock(selectors.BaseSelector):
    """Simulated time: a selector that waits for what is to happen next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.happened = 0
        self.on_wait: Callable[[], None] = lambda: None

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Have something happen after so many seconds."""
        heapq.heappush(self._coming, (self.now + seconds, next(self._count), call))

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What happens within `timeout`, all of one moment; the clock then shows that moment."""
        self.on_wait()
        end = self.now + (timeout or 0.0)
        if not self._coming or self._coming[0][0] > end:
            self.now = end
            return []
        self.now = max(self.now, self._coming[0][0])
        found = []
        while self._coming and self._coming[0][0] <= self.now:
            found.append(heapq.heappop(self._coming)[2])
        self.happened += len(found)
        return [(selectors.SelectorKey(0, 0, 0, call), 0) for call in found]

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """No file is waited for."""
        return selectors.SelectorKey(0, 0, 0, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """No file is waited for."""
        return selectors.SelectorKey(0, 0, 0, None)

    def get_map(self) -> dict[Any, selectors.SelectorKey]:
        return {}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things happen, in simulated seconds. Nodes are lost after `lost` on average each (None: never)."""

    epoch: float = 5.0
    epochs: int = 3
    fork: float = 0.05
    reserve: float = 0.01
    lost: float | None = None
    away: float = 30.0


class SimulatedNode(FakeNode):
    """A node whose workers train: each epoch takes its time, and the second one ends with a checkpoint."""

    def __init__(self, cluster: SimulatedCluster, key: str, name: str) -> None:
        super().__init__(cluster, key, name)
        self._of = cluster
        self.is_alive = True
        self.running: set[int] = set()
        self.resources = {"CPU": float(cluster.places), "GPU": 0.0, "memory": 1e12}

    def take(self, message: Message) -> None:
        """A message of the runner arrives."""
        if message["do"] == "spawn":
            (record,) = message["jobs"]
            job = Job.from_record({**record, "settings": {}})
            self.running.add(message["w"])
            if job.attempt == 1:
                self._of.first_starts.append(job.index)
            self._of.running += 1
            self._later(self._of.pace.fork, lambda: self._begin(message["w"], job))
        elif message["do"] == "send" and message["m"]["command"] == "published":
            self._later(0.001, lambda: self._complete(message["w"], self._of.jobs[message["w"]]))

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._of.clock.at(seconds, lambda: call() if self.is_alive else None)

    def _tell(self, worker: int, event: Event) -> None:
        self._of.messages += 1
        self.says({"a": "says", "w": worker, "m": to_record(event, "run")})

    def _about(self, job: Job) -> dict[str, Any]:
        return {"time": self._of.clock.now, "model": job.model, "index": job.index, "attempt": job.attempt}

    def _enter(self, worker: int, job: Job, before: TrainingPhase, after: TrainingPhase) -> None:
        self._tell(worker, happened.PhaseChanged(phase=after, previous=before, **self._about(job)))

    def _begin(self, worker: int, job: Job) -> None:
        self._of.jobs[worker] = job
        self.places(worker, worker)
        self._enter(worker, job, M.QUEUED, M.INITIALIZING)
        epoch = self._of.saved.get(job.index, 0)
        started = happened.ModelStarted(
            config={}, seed=job.seed, parameters=7, worker=worker, device="cpu", threads=1, step=epoch,
            **self._about(job),
        )  # fmt: skip
        self._tell(worker, started)
        self._enter(worker, job, M.INITIALIZING, M.TRAINING)
        self._later(self._of.seconds(), lambda: self._epoch(worker, job, epoch + 1))

    def _epoch(self, worker: int, job: Job, epoch: int) -> None:
        pace = self._of.pace
        self._tell(
            worker,
            happened.EpochFinished(
                epoch=epoch, epochs=pace.epochs, step=epoch, metrics={"loss": 1.0 / epoch}, best_loss=1.0 / epoch,
                **self._about(job),
            ),
        )  # fmt: skip
        if epoch == 2:
            self._of.saved[job.index] = epoch
            saved = {"epoch": epoch, "step": epoch, "path": "x", "bytes": 1, "seconds": 0.0}
            self._tell(worker, happened.CheckpointSaved(**saved, **self._about(job)))
        if epoch < pace.epochs:
            self._later(self._of.seconds(), lambda: self._epoch(worker, job, epoch + 1))
            return
        self._enter(worker, job, M.TRAINING, M.SAVING)
        self.says({"a": "says", "w": worker, "m": {"result": job.index, "attempt": job.attempt, "weights": True}})

    def _complete(self, worker: int, job: Job) -> None:
        self._tell(worker, happened.ModelCompleted(path="x", metrics={}, **self._about(job)))
        self._enter(worker, job, M.SAVING, M.COMPLETED)
        self._of.trained[job.index] += 1
        self.says({"a": "says", "w": worker, "m": {"outcome": "completed"}})
        self.running.remove(worker)
        self._of.running -= 1
        self.ends(worker)

    def keep_saying(self) -> None:
        """Its agent says how it is, again and again."""
        self.says({"a": "state", **self.state(self._of.places)})
        self._later(_STATE_SECONDS, self.keep_saying)


class SimulatedCluster(FakeCluster):
    """Nodes with `places` each, which are lost and come back at random."""

    def __init__(self, clock: Clock, nodes: int, places: int, pace: Pace, seed: int) -> None:
        super().__init__()
        self.clock, self.places, self.pace = clock, places, pace
        self.draw = random.Random(seed)
        self.jobs: dict[int, Job] = {}
        self.saved: dict[int, int] = {}
        self.trained: dict[int, int] = {}
        self.first_starts: list[int] = []
        """The models in the order of their first start."""
        self.messages = self.losses = 0
        self.running = 0
        """The workers that are being forked or train."""
        self.is_generous = False
        for number in range(nodes):
            node = SimulatedNode(self, f"n{number}/1", f"n{number}")
            self.nodes[node.name] = node
            self.hellos[node.name] = {"workers": places}

    def seconds(self) -> float:
        """What the next epoch takes."""
        return self.pace.epoch * self.draw.uniform(0.5, 1.5)

    def begin(self) -> None:
        """From now on nodes report, and are lost."""
        for node in list(self.nodes.values()):
            assert isinstance(node, SimulatedNode)
            self.clock.at(self.draw.uniform(0.0, _STATE_SECONDS), node.keep_saying)
            self._plan_loss(node)

    def _plan_loss(self, node: SimulatedNode) -> None:
        if self.pace.lost is not None:
            self.clock.at(self.draw.expovariate(1 / self.pace.lost), lambda: self._lose(node))

    def _lose(self, node: SimulatedNode) -> None:
        self.losses += 1
        node.is_alive = False
        self.running -= len(node.running)
        node.running.clear()
        del self.nodes[node.name]
        node.is_lost()
        name, number = node.key.split("/")
        again = SimulatedNode(self, f"{name}/{int(number) + 1}", name)

        def back() -> None:
            self.appears(again)
            again.says_hello(self.places)
            again.keep_saying()
            self._plan_loss(again)

        self.clock.at(self.pace.away, back)

    def send(self, message: Message, data: bytes = b"") -> None:
        """What the bridge would do; a reservation takes a moment, and messages to a lost node are lost."""
        if message["do"] == "reserve":
            self.slots[message["slot"]] = message
            slot = message["slot"]
            self.clock.at(self.pace.reserve, lambda: self.ready(slot) if slot in self.slots else None)
        elif message["do"] == "tell":
            node = self.nodes.get(message["node"].split("/")[0])
            for told, _ in decode(data) if node is not None else ():
                node.take(told)
        else:
            super().send(message, data)


class _NoStore:
    """Keeps nothing."""

    problem = None
    is_gone = False

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class _Publisher:
    """Gives results their names at once."""

    def publish(self, result: Result, done: Callable[[None], None]) -> None:
        done(None)


class _Machine:
    """The runner's machine, with a new sample every two seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._resources = clock, machine_state()

    @property
    def latest(self) -> MachineSample:
        return MachineSample(int(self._clock.now / _SAMPLE_SECONDS), self._resources)

    def now(self) -> Any:
        return self._resources

    def watch(self) -> None:
        """It is watched anyway."""

    def look_anew(self) -> None:
        """It is as it is."""


class Simulation:
    """A run of `models` on `nodes` × `places`, carried out by `run`."""

    def __init__(
        self, base: Path, *, nodes: int, places: int = 8, models: int, seed: int = 1, pace: Pace | None = None
    ) -> None:
        self.clock = Clock()
        self.cluster = SimulatedCluster(self.clock, nodes, places, pace or Pace(), seed)
        self.cluster.trained = dict.fromkeys(range(1, models + 1), 0)
        self._directory = RunDirectory(base / "run")
        self._directory.create()
        plain = to_plain(from_plain({}))
        plain["training"] |= {
            "training_mode": "parallel", "max_parallel_workers": nodes * places, "epochs": self.cluster.pace.epochs,
        }  # fmt: skip
        plain["run"] |= {"models": models, "max_retries": 0}  # a lost node must cost none
        plain["resources"] |= {"policy": "dedicated"}
        plain["engine"] |= {"name": "ray", "fuse": 1}
        self._settings = from_plain(plain)
        self.filled_at: float | None = None
        self.longest_idle = 0.0
        self._idle_since: float | None = None
        info = RunInfo(
            run="run", path=str(base), mode="parallel", policy="dedicated", model_type="planner", models=models,
            epochs=self.cluster.pace.epochs, created=0.0,
        )  # fmt: skip
        states = [
            ModelState(name=f"planner_{index}", index=index, seed=index, epochs=3) for index in range(1, models + 1)
        ]
        store: Any = _NoStore()
        self.journal = Journal(store, info, states, lambda: self.clock.now, lambda: self.clock.now)

    def run(self) -> RunState:
        """Carry the run out."""
        with contextlib.ExitStack() as stack:
            outputs = stack.enter_context(contextlib.closing(Outputs(None, 0)))
            local = LocalEngine(self.clock, None, 0, outputs)
            engine = RayEngine(
                self.clock, local, outputs, self._settings, self._directory, nice=0, open_link=self.cluster.open,
                monotonic=lambda: self.clock.now,
            )  # fmt: skip
            stack.callback(engine.close)
            engine.on_problem = lambda words: None
            engine.nodes()
            governor = ClusterGovernor(
                self._settings.resources, limit_of(1), mode="parallel", cpus=1, nodes=engine.nodes
            )
            machine, publisher = _Machine(self.clock), _Publisher()
            job = Job(
                run="run", directory=str(self._directory.path), working_directory="/", model="planner_1", index=1,
                attempt=1, seed=1, settings=to_plain(self._settings), threads=1, device="cpu",
            )  # fmt: skip
            other_runs = OtherLiveRuns(Claims(self._directory, self._directory.path), 1, is_elsewhere=True)
            self._scheduler = Scheduler(
                Work(directory=self._directory, settings=self._settings, base_job=job, journal=self.journal),
                Means(engine=engine, publisher=publisher, selector=self.clock, monotonic=lambda: self.clock.now),  # type: ignore[arg-type]
                Room(governor=governor, machine=machine, other_runs=other_runs),  # type: ignore[arg-type]
            )
            governor.request(
                self._settings.training.max_parallel_workers, machine.now(), (), other_runs.decide(lambda o: o, int)
            )
            self.clock.on_wait = self._look
            self.cluster.begin()
            return self._scheduler.run(lambda: None)

    def _look(self) -> None:
        """Note how long a place has been empty while models wait."""
        cluster, now = self.cluster, self.clock.now
        free = len(cluster.nodes) * cluster.places - cluster.running
        if free <= 0 and self.filled_at is None:
            self.filled_at = now
        waits = len(self._scheduler._course.queue) > 0
        if free <= 0 or not waits:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        else:
            self.longest_idle = max(self.longest_idle, now - self._idle_since)
