"""The whole scheduler on GPUs of a cluster's nodes: the rules of one machine, with each node's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_server import GpuServer
from stage import Stage, machine_state

from forge_tui.resources.gpus import Gpu
from forge_tui.resources.host_gpus import ClusterGpus, HostGpus, held_on
from forge_tui.resources.policy import GIB
from forge_tui.runs.reader import RunReader

MACHINE = machine_state(cpu_count=64, memory_gb=512.0, available=500.0)


class Cluster:
    """Two nodes with a GPU of 80 GiB each, `GPU-a` and `GPU-b`, and a run on them."""

    def __init__(self, base: Path, gib: float | None = 5.0, *, models: int = 4, **changes: Any) -> None:
        self.servers = {name: GpuServer((80.0,)) for name in "ab"}
        self.samples = dict.fromkeys(self.servers, 1)
        self.closed: Mapping[str, str] = {}
        self.changes = 1
        values = {"models": models, "requested": models, "rules": {"policy": "dedicated"}, **changes}
        self.stage = Stage(
            base,
            resources=MACHINE,
            devices=("GPU-a", "GPU-b"),
            device_bytes=lambda kind: None if gib is None else int(gib * GIB),
            **values,
        )
        self.held = {name: self._held(name) for name in self.servers}
        self.tells()

    def figures(self, name: str) -> tuple[Gpu, ...]:
        return tuple(replace(gpu, uuid=f"GPU-{name}") for gpu in self.servers[name].figures())

    def _held(self, name: str) -> dict[int, dict[str, int]]:
        return held_on(self.figures(name), {1_000 + worker: worker for worker in range(20)})

    def tells(self, *, is_asking: bool = False) -> None:
        """What the engine says of them, from the newest samples."""
        there = [name for name in self.servers if self.samples[name]]
        hosts = tuple(
            HostGpus(name, self.samples[name], self.samples[name], self.figures(name), self.held[name])
            for name in there
        )
        uuids = tuple(f"GPU-{name}" for name in there)
        self.stage.engine.cluster = ClusterGpus(hosts, uuids, self.closed, is_asking, self.changes)

    def look(self, *names: str) -> None:
        """Two seconds: these nodes have new samples."""
        for name in names:
            self.samples[name] += 1
            self.held[name] = self._held(name)
        self.tells()
        self.stage.look(MACHINE)

    def changed(self, closed: Mapping[str, str], *, is_asking: bool = False) -> None:
        self.closed, self.changes = closed, self.changes + 1
        self.tells(is_asking=is_asking)

    def takes(self, worker: int, name: str, gib: float) -> None:
        """A worker has so much on its node's GPU."""
        self.servers[name].put(1_000 + worker, (self.servers[name].uuid(0),), gib)

    @property
    def places(self) -> dict[int, tuple[str, str]]:
        """Node and device of each worker, by its first model."""
        workers = {actor.index: actor.worker for actor in self.stage.actors}
        return {index: (one.place.host, one.place.device) for index, one in workers.items() if one.place is not None}


def decisions(stage: Stage, kind: str) -> list[str]:
    return [event["reason"] for event in stage.events("decision") if event["kind"] == kind]


ON_A, ON_B = ("a", "GPU-a"), ("b", "GPU-b")


def test_workers_are_spread_over_the_gpus_of_all_nodes(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    with cluster.stage as stage:
        assert cluster.places == {1: ON_A, 2: ON_B, 3: ON_A, 4: ON_B}
        assert decisions(stage, "place")[2].startswith("planner_3 on GPU 0 (GPU-a) of a, beside 1 worker: ")
        stage.turn(*stage.actor(2).begins())
        (started,) = stage.events("model_started")
        assert started["place"] == {"host": "b", "device": "GPU-b"}


def test_a_worker_is_measured_by_the_samples_of_its_own_node(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, gib=None)
    with cluster.stage as stage:
        assert cluster.places == {1: ON_A, 2: ON_B}  # each alone, until one shows what such a worker needs
        cluster.takes(1, "a", 30.0)
        stage.turn(*stage.actor(1).begins(), *stage.actor(1).trains())
        for _ in range(3):
            cluster.look("b")
        assert cluster.places == {1: ON_A, 2: ON_B}
        cluster.look("a")
        assert cluster.places == {1: ON_A, 2: ON_B}  # it may have been begun before that epoch
        cluster.look("a")
        assert cluster.places == {1: ON_A, 2: ON_B, 3: ON_A, 4: ON_B}
        assert "it needs 34.50 GiB (measured, with a margin)" in decisions(stage, "place")[2]


def test_a_closed_gpu_takes_nothing_and_why_is_recorded_once_ray_has_answered(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, models=2)
    cluster.changed({"GPU-a": "Ray has not given it", "GPU-b": "Ray has not given it"}, is_asking=True)
    with cluster.stage as stage:
        assert (cluster.places, decisions(stage, "hold")) == ({}, [])
        stage.turn()
        assert stage.engine.wanted[-1] == (2, True)
        cluster.changed({"GPU-a": "others have it", "GPU-b": "others have it"})
        stage.turn()
        (held,) = decisions(stage, "hold")
        assert held.endswith("GPU 0 (GPU-a) of a, GPU 0 (GPU-b) of b: others have it")
        cluster.changed({"GPU-a": "others have it"})
        stage.turn()
        assert cluster.places == {1: ON_B, 2: ON_B}
        assert stage.engine.wanted[-1] == (2, False)


def test_no_model_shares_a_gpu_while_another_one_may_come_at_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, models=3)
    cluster.changed({"GPU-b": "Ray has not given it"}, is_asking=True)
    with cluster.stage as stage:
        assert cluster.places == {1: ON_A}
        cluster.changed({})
        stage.turn()
        assert cluster.places == {1: ON_A, 2: ON_B, 3: ON_A}
        assert decisions(stage, "hold") == []


def test_a_worker_that_waits_in_vain_on_its_node_goes_to_another_if_that_takes_one(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, models=1, placing=lambda job: None)
    with cluster.stage as stage:
        (worker,) = stage.engine.workers
        worker.waits = "1 CPU"
        cluster.changed({"GPU-a": "Ray has no CPU there", "GPU-b": "others have it"})
        cluster.stage.look(MACHINE, seconds=20.0)
        assert not worker.killed  # nowhere else is room
        cluster.changed({"GPU-a": "Ray has no CPU there"})
        stage.turn()
        assert worker.killed
        stage.turn()
        (other,) = stage.engine.workers
        assert (worker.devices, other.devices) == (("GPU-a",), ("GPU-b",))
        (reason,) = decisions(stage, "requeue")
        assert reason == "planner_1 goes to another node: on its own it waits for 1 CPU"
        assert stage.events("model_failed") == []
        other.is_placed("b")


def test_a_gpu_that_fails_is_out_and_its_models_continue_on_another_node(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, models=2)
    with cluster.stage as stage:
        for index in (1, 2):
            stage.turn(*stage.actor(index).begins())
        cluster.servers["a"].problems[0] = "it has fallen off the bus"
        cluster.look("a")
        (warned,) = stage.events("resource_warning")
        assert warned["message"].startswith("GPU 0 (GPU-a) of a: it has fallen off the bus; nothing is placed on it")
        stage.turn(stage.actor(1).exits(-9))
        (failed,) = stage.events("model_failed")
        assert (failed["kind"], failed["will_retry"]) == ("device_lost", True)
        assert cluster.places == {2: ON_B, 1: ON_B}


def test_samples_of_the_run_have_the_gpus_of_the_nodes(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, models=1)
    with cluster.stage as stage:
        cluster.takes(1, "b", 7.0)
        cluster.look("a", "b")
        stage.turn()
    with RunReader(stage.directory.path) as reader:
        _, sample = reader.resources()[-1]
    assert [(gpu["host"], gpu["memory_used"]) for gpu in sample["gpus"]] == [("a", 0), ("b", 7 * GIB)]
