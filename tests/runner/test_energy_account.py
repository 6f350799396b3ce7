"""What a run has used: added up over samples and attempts, of the GPUs that it is on, and unknown where it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gpu_server import GpuServer
from stage import Stage, machine_state

from forge_tui.protocol.energy import Energy
from forge_tui.protocol.run_info import RunInfo
from forge_tui.resources.energy import CpuCounters, CpuEnergy
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.policy import GIB
from forge_tui.runner.energy_account import ELSEWHERE, EnergyAccount

INFO = RunInfo(
    run="r", path="/r", mode="series", policy="shared", model_type="planner", models=1, epochs=1, created=0.0
)


class Reader:
    """Counters that a test sets: (joules, our part); None: not readable, because of `problem`."""

    def __init__(self, *readings: tuple[float, float] | None, problem: str | None = None) -> None:
        self.readings, self.problem, self.gap = list(readings), problem, False

    def read(self) -> CpuCounters | None:
        found = self.readings.pop(0) if self.readings else None
        return None if found is None else CpuCounters(0.0, {"package-0": found[0]}, 0.0, found[1])

    def between(self, before: CpuCounters, now: CpuCounters) -> CpuEnergy | None:
        if self.gap:
            return None
        joules = now.joules["package-0"] - before.joules["package-0"]
        return CpuEnergy(joules, now.own_seconds - before.own_seconds, 1.0)


class Book:
    """As much of a journal as an account needs."""

    def __init__(self, info: RunInfo = INFO) -> None:
        self.info, self.puts = info, 0

    def put_info(self, info: RunInfo) -> None:
        self.info, self.puts = info, self.puts + 1

    @property
    def energy(self) -> Energy:
        found = Energy.from_record(self.info.energy)
        assert found is not None
        return found


def gpu(uuid: str, joules: float | None, parent: str | None = None) -> Gpu:
    return Gpu(0, "NVIDIA T4", GIB, 0, uuid=uuid, parent=parent, energy_joules=joules)


def test_the_cpus_energy_adds_up_and_an_attempt_continues_what_the_record_has() -> None:
    book = Book()
    reader = Reader((100.0, 1.0), (160.0, 4.0), (200.0, 4.0))
    account = EnergyAccount(book, reader, 360.0)
    account.begin()
    assert (book.energy.joules, book.energy.is_whole) == (None, False)
    account.take(reader.read(), (), ())
    account.take(reader.read(), (), ())
    assert (book.energy.packages, book.energy.cpu, book.energy.is_whole) == (100.0, 3.0, True)

    again = Book(replace(INFO, energy=book.info.energy))
    reader = Reader((5.0, 0.0), (15.0, 2.0))
    account = EnergyAccount(again, reader, 720.0)
    account.begin()
    account.take(reader.read(), (), ())
    assert (again.energy.packages, again.energy.cpu, again.energy.intensity) == (110.0, 5.0, 720.0)
    assert again.energy.grams == pytest.approx(5.0 / 3.6e6 * 720)


def test_what_is_unreadable_stays_unknown_and_the_record_is_written_once() -> None:
    book = Book()
    account = EnergyAccount(book, Reader(problem="only root may read it"), None)
    account.begin()
    for _ in range(3):
        account.take(None, (), ())
    assert (book.energy.joules, book.energy.cpu_unknown, book.puts) == (None, "only root may read it", 1)


def test_a_part_that_an_attempt_could_not_read_is_told_beside_what_is_known() -> None:
    before = Energy(cpu_unknown="only root may read it").to_record()
    book, reader = Book(replace(INFO, energy=before)), Reader((0.0, 0.0), (10.0, 5.0))
    account = EnergyAccount(book, reader, None)
    account.begin()
    account.take(reader.read(), (), ())
    assert (book.energy.joules, book.energy.is_whole) == (5.0, False)
    assert book.energy.cpu_unknown == "only root may read it"


def test_what_an_older_version_trained_is_unknown() -> None:
    book, reader = Book(replace(INFO, resumed=5.0, device="cuda")), Reader((0.0, 0.0), (10.0, 5.0))
    account = EnergyAccount(book, reader, None)
    account.begin()
    account.take(reader.read(), (), ())
    older = "a part was not measured: an older version trained it"
    assert (book.energy.cpu, book.energy.cpu_unknown, book.energy.gpu_unknown) == (5.0, older, older)


def test_a_gap_is_told_and_its_energy_not_guessed() -> None:
    book, reader = Book(), Reader((0.0, 0.0), (10.0, 5.0), (30.0, 9.0))
    account = EnergyAccount(book, reader, None)
    account.begin()
    reader.gap = True
    account.take(reader.read(), (), ())
    reader.gap = False
    account.take(reader.read(), (), ())
    assert (book.energy.packages, book.energy.cpu) == (20.0, 4.0)
    assert book.energy.cpu_unknown == ("a part was not measured: the counters were not read for more than a minute")


def test_a_gpu_counts_while_a_worker_is_on_it() -> None:
    book = Book(replace(INFO, device="cuda"))
    account = EnergyAccount(book, Reader(), None)
    account.begin((gpu("GPU-a", 100.0), gpu("GPU-b", 500.0)))
    account.use(["GPU-a"])
    account.take(None, (gpu("GPU-a", 130.0), gpu("GPU-b", 700.0)), ["GPU-a"])
    account.take(None, (gpu("GPU-a", 150.0), gpu("GPU-b", 900.0)), [])
    assert not account.uses_gpus
    account.take(None, (gpu("GPU-a", 190.0), gpu("GPU-b", 950.0)), [])
    assert book.energy.gpus == {"GPU-a": 50.0}
    assert book.energy.gpu_unknown is None


def test_instances_count_as_their_whole_gpu_once() -> None:
    book = Book(replace(INFO, device="cuda"))
    account = EnergyAccount(book, Reader(), None)
    account.begin([gpu("MIG-1", 10.0, "GPU-a"), gpu("MIG-2", 10.0, "GPU-a")])
    account.use(["MIG-1", "MIG-2"])
    account.take(None, [gpu("MIG-1", 17.0, "GPU-a"), gpu("MIG-2", 17.0, "GPU-a")], ())
    assert book.energy.gpus == {"GPU-a": 7.0}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([gpu("GPU-a", None)], [gpu("GPU-a", None)], "NVIDIA T4 has no energy counter (GPUs have one since Volta)"),
        ([gpu("GPU-a", 50.0)], [gpu("GPU-a", 4.0)], "a part was not measured: a GPU's counter began again"),
        ([gpu("GPU-b", 1.0)], [gpu("GPU-a", 4.0)], "a part was not measured: a GPU could not be read at first"),
        ([gpu("GPU-b", 1.0)], [gpu("GPU-b", 4.0)], "NVML shows no GPU that the run is on"),
        ([], [], "NVML shows no GPU that the run is on"),
    ],
)
def test_a_gpu_that_cannot_be_counted_is_unknown(first: list[Gpu], second: list[Gpu], words: str) -> None:
    book = Book(replace(INFO, device="cuda"))
    account = EnergyAccount(book, Reader(), None)
    account.begin(first)
    account.use(["GPU-a"])
    account.take(None, second, ["GPU-a"])
    assert (book.energy.gpus, book.energy.gpu_unknown, book.energy.is_whole) == ({}, words, False)


def test_a_gpu_that_does_not_answer_once_loses_nothing() -> None:
    book = Book(replace(INFO, device="cuda"))
    account = EnergyAccount(book, Reader(), None)
    account.begin([gpu("GPU-a", 100.0)])
    account.use(["GPU-a"])
    account.take(None, (), ["GPU-a"])
    account.take(None, [gpu("GPU-a", 160.0)], ["GPU-a"])
    assert (book.energy.gpus, book.energy.gpu_unknown) == ({"GPU-a": 60.0}, None)


def test_workers_on_other_machines_are_not_counted_here() -> None:
    book, reader = Book(), Reader((0.0, 0.0), (9.0, 9.0))
    account = EnergyAccount(book, reader, None, elsewhere=True)
    account.begin()
    account.take(reader.read(), (), ())
    assert (book.energy.joules, book.energy.cpu_unknown, book.energy.gpu_unknown) == (None, ELSEWHERE, ELSEWHERE)


def test_the_scheduler_counts_from_the_first_worker_to_the_last(tmp_path: Path) -> None:
    server = GpuServer((80.0, 80.0))
    at = [0.0]

    def machine() -> object:
        gpus = [replace(one, energy_joules=1_000.0 * number + at[0]) for number, one in enumerate(server.figures())]
        return machine_state(cpu_count=64, gpus=tuple(gpus))

    reader = Reader((0.0, 0.0), (7.0, 3.0))
    stage = Stage(
        tmp_path, models=1, requested=1, resources=machine(), devices=server.uuids, device_bytes=lambda kind: GIB,
        account=lambda journal: EnergyAccount(journal, reader, None), energy_reader=reader,
    )  # fmt: skip
    with stage:
        actor = stage.actors[0]
        stage.turn(*actor.begins())
        at[0] = 25.0
        stage.look(machine())
        at[0] = 40.0
        stage.machine.see(machine())
        stage.turn(*actor.completes())
        energy = Energy.from_record(stage.journal.info.energy)
    assert energy is not None
    assert energy.gpus == {actor.worker.devices[0]: 40.0}
    assert (energy.packages, energy.cpu) == (7.0, 3.0)
