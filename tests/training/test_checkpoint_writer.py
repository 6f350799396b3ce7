"""Checkpoints are written beside the training: what they hold, in which order, and who waits for them."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import CheckpointSaved, EpochFinished, Event, PhaseChanged, ResourceWarned
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.settings.schema import from_plain
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training import checkpoint_writer
from forge_tui.training.data import load_dataset
from forge_tui.training.state import new_network
from forge_tui.training.trainer import Trainer
from forge_tui.worker import memory_estimate

PATIENCE = 30.0
TRAINING = {"epochs": 5, "checkpoint_interval": 2}  # 99 samples: 4 steps an epoch


class Disk:
    """Stands between the trainer and the real `checkpoint.save`: `held` is called before every write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, held: Callable[[Path, int], None]) -> None:
        self.under_way = 0
        self.most = 0
        self.threads: list[str] = []
        self._held = held
        self._save = checkpoints.save_checkpoint
        monkeypatch.setattr(checkpoints, "save_checkpoint", self.save)

    def save(self, directory: Path, step: int, *content: Any) -> Path:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.threads.append(threading.current_thread().name)
        try:
            self._held(directory, step)
            return self._save(directory, step, *content)
        finally:
            self.under_way -= 1


class Told:
    """The events, what each checkpoint held when it was told of, and a way to wait from another thread."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.saved: dict[int, dict[str, torch.Tensor]] = {}
        self.sizes: dict[str, int] = {}
        self._news = threading.Condition()

    def __call__(self, event: Event) -> None:
        if isinstance(event, CheckpointSaved):
            self.saved[event.step] = checkpoints.load_checkpoint(Path(event.path)).tensors
            self.sizes[event.path] = Path(event.path).stat().st_size
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def wait_for(self, wanted: Callable[[Event], bool]) -> None:
        with self._news:
            assert self._news.wait_for(lambda: any(map(wanted, self.events)), PATIENCE), "it never came"

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def place(self, wanted: Callable[[Event], bool]) -> int:
        return next(number for number, event in enumerate(self.events) if wanted(event))


def ends_epoch(epoch: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, EpochFinished) and event.epoch == epoch


def enters(phase: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, PhaseChanged) and event.phase == phase


def directory_of(job: Job) -> Path:
    return Path(job.directory) / "checkpoints" / job.model


def steps_of(job: Job) -> list[int]:
    return [checkpoints.load_checkpoint(path).step for path in checkpoints.paths(directory_of(job))]


def group_of(make_job: Any, **settings: Any) -> list[Job]:
    return [make_job(model=f"cognate_planner_{i}", index=i, seed=i, **settings) for i in (1, 2, 3)]


def test_training_goes_on_while_its_checkpoint_is_written(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds the step it was asked at, though training is further; the event comes when it is on the disk."""
    job, told = make_job(training=TRAINING), Told()

    def hold(directory: Path, step: int) -> None:
        if step == 8 and directory == directory_of(job):
            told.wait_for(ends_epoch(3))
            assert not told.of(CheckpointSaved)

    Disk(monkeypatch, hold)
    assert Trainer([job], told, Control()).run() is Outcome.COMPLETED
    first, *_ = told.of(CheckpointSaved)
    assert (first.epoch, first.step, first.bytes) == (2, 8, told.sizes[first.path])
    assert told.events.index(first) > told.place(ends_epoch(3))

    monkeypatch.setattr(checkpoint_writer, "COPIED_BYTES", 0)
    at_once = Told()
    Trainer([make_job("at once", TRAINING)], at_once, Control()).run()
    ours, theirs = told.saved[8], at_once.saved[8]
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(
            _timeless(name, tensor), _timeless(name, theirs[name]), rtol=0, atol=0, equal_nan=True
        )


def _timeless(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Without the seconds that each epoch took, a column of the history."""
    return tensor[:, [0, 1, *range(3, tensor.shape[1])]] if name == "epochs/history" else tensor


def test_model_is_training_while_its_checkpoint_is_written(make_job: Any) -> None:
    told = Told()

    def emit(event: Event) -> None:
        told(event)
        if isinstance(event, EpochFinished):
            trainer._saving._writer.wait()  # so that no checkpoint has to wait for the one before

    trainer = Trainer([make_job(training=TRAINING)], emit, Control())
    trainer.run()
    phases = [event.phase for event in told.of(PhaseChanged)]
    assert phases == ["initializing", "training", "checkpointing", "training", "saving", "completed"]
    assert [event.epoch for event in told.of(CheckpointSaved)] == [2, 4, 5]


def test_second_checkpoint_waits_for_the_first_and_is_checkpointing_meanwhile(
    make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    disk = Disk(monkeypatch, lambda directory, step: told.wait_for(enters("checkpointing")))
    Trainer([make_job(training=TRAINING)], told, Control()).run()
    waits = told.place(enters("checkpointing"))
    assert told.place(ends_epoch(4)) < waits < told.place(lambda event: isinstance(event, CheckpointSaved))
    assert [event.epoch for event in told.of(CheckpointSaved)] == [2, 4, 5]
    assert disk.most == 1


def test_large_states_are_written_where_they_are(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_writer, "COPIED_BYTES", 0)
    disk, told = Disk(monkeypatch, lambda directory, step: None), Told()
    Trainer([make_job(training=TRAINING)], told, Control()).run()
    phases = [(event.previous, event.phase) for event in told.of(PhaseChanged)]
    saved = [("training", "checkpointing"), ("checkpointing", "training")]
    assert phases[2:-2] == saved * 3
    assert set(disk.threads) == {threading.current_thread().name}


def test_failure_waits_for_the_write_under_way(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(RuntimeError):
        pass

    class Breaks(Control):
        def may_continue(self) -> bool:
            if disk.threads:
                breaks.set()
                raise Broken
            return super().may_continue()

    breaks, job = threading.Event(), make_job(training=TRAINING)
    disk = Disk(monkeypatch, lambda directory, step: breaks.wait(PATIENCE) and None)
    told = Told()
    with pytest.raises(Broken):
        Trainer([job], told, Breaks()).run()
    assert disk.under_way == 0
    assert (steps_of(job), [event.step for event in told.of(CheckpointSaved)]) == ([8], [8])


def test_model_leaves_its_group_when_nothing_of_it_is_being_written(
    make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, control = Told(), Control()
    jobs = group_of(make_job, training={"epochs": 4, "checkpoint_interval": 1})

    def emit(event: Event) -> None:
        told(event)
        if ends_epoch(2)(event):
            control.request_leave(2)  # taken at once: the checkpoint of epoch 1 is still being written

    def hold(directory: Path, step: int) -> None:
        if step == 4:
            told.wait_for(enters("checkpointing"))

    disk = Disk(monkeypatch, hold)
    left: list[tuple[int, int, list[int]]] = []
    Trainer(jobs, emit, control, lambda job, why: left.append((job.index, disk.under_way, steps_of(job)))).run()
    assert left == [(2, 0, [8, 4])]
    assert {tuple(steps_of(job)) for job in (jobs[0], jobs[2])} == {(16,)}


def full(directory: Path) -> RunDirectoryError:
    error = RunDirectoryError(f"cannot write {directory}: No space left on device")
    error.errno = errno.ENOSPC
    return error


def test_checkpoint_that_cannot_be_written_is_told_and_the_group_keeps_a_common_step(
    make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, told = (
        group_of(make_job, training={"epochs": 6, "checkpoint_interval": 1}, run={"keep_checkpoints": 2}),
        Told(),
    )
    common: list[set[int]] = []

    def fail(directory: Path, step: int) -> None:
        if step in (12, 16) and directory.name == jobs[1].model:
            common.append(set.intersection(*(set(steps_of(job)) for job in jobs)))
            raise full(directory)

    Disk(monkeypatch, fail)
    assert Trainer(jobs, told, Control()).run() is Outcome.COMPLETED
    assert common == [{4, 8}, {4, 8}]
    (warning,) = told.of(ResourceWarned)  # once, though it failed twice
    assert warning.message == (
        f"cognate_planner_1 has no checkpoint at epoch 3: {full(directory_of(jobs[1]))}; "
        "training continues; the next checkpoint is tried as usual"
    )
    assert [event.epoch for event in told.of(CheckpointSaved) if event.index == 3] == [1, 2, 5, 6]
    assert {tuple(steps_of(job)) for job in jobs} == {(24,)}


def test_checkpoints_that_cannot_be_deleted_are_told_once_and_fail_nothing(
    make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error")

    job, told = make_job(training={"epochs": 10, "checkpoint_interval": 2}), Told()
    monkeypatch.setattr(Path, "unlink", refuse)
    assert Trainer([job], told, Control()).run() is Outcome.COMPLETED
    words = [warning.message for warning in told.of(ResourceWarned)]
    assert len(words) == len(set(words)) == 4
    assert all(": Input/output error; it only takes room" in one for one in words)
    assert steps_of(job) == [40, 32, 24, 16, 8]


def test_stop_writes_again_what_could_not_be_written_beside(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopsThere(Control):
        def may_continue(self) -> bool:
            if told.of(EpochFinished) and told.of(EpochFinished)[-1].epoch == 2:
                self.request_stop()
            return super().may_continue()

    tries: list[int] = []

    def fail(directory: Path, step: int) -> None:
        tries.append(step)
        if len(tries) == 1:
            raise full(directory)

    told, job = Told(), make_job(training=TRAINING)
    Disk(monkeypatch, fail)
    assert Trainer([job], told, StopsThere()).run() is Outcome.STOPPED
    assert tries == [8, 8]
    assert steps_of(job) == [8]


def test_files_of_a_finished_group_are_written_at_once(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three are under way before any is done, and each is pruned only when all are there."""
    jobs = group_of(make_job, training={"epochs": 1})
    gate = threading.Barrier(3, timeout=PATIENCE)
    disk = Disk(monkeypatch, lambda directory, step: gate.wait() and None)
    found: list[list[int]] = []
    prune = checkpoints.prune
    monkeypatch.setattr(
        checkpoints, "prune", lambda *what, **how: (found.extend(steps_of(job) for job in jobs), prune(*what, **how))[1]
    )
    assert Trainer(jobs, lambda event: None, Control()).run() is Outcome.COMPLETED
    assert disk.most == 3
    assert found == [[4]] * 18  # three times when all were saved, three times when each was done, of three models
    assert all((Path(job.directory) / f"{job.model}.json").exists() for job in jobs)


@pytest.mark.parametrize(("optimizer", "kept"), [("adam", 3), ("sgd", 1)])
def test_copies_are_expected_of_memory_unless_they_are_not_made(
    make_job: Any, monkeypatch: pytest.MonkeyPatch, optimizer: str, kept: int
) -> None:
    job = make_job(training={"optimizer": optimizer})
    settings = from_plain(job.settings)
    dataset = load_dataset(settings, Path(job.working_directory))
    network = new_network(settings.training, dataset, seed=0)
    weights = sum(parameter.nbytes for parameter in network.body.parameters())

    def expected() -> int:
        return memory_estimate.estimate_memory(settings.training, dataset, network, held=0, peak=0, members=2)

    with_copies = expected()
    monkeypatch.setattr(memory_estimate, "COPIED_BYTES", 2 * kept * weights - 1)
    assert with_copies - expected() == 2 * kept * weights
