"""A run directory that moves while a worker trains: nothing is made at the old path, the work is saved at the new."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import wait_until

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import CheckpointSaved, Event, ModelCompleted, ResourceWarned
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.runs.location import Identity
from forge_tui.training import checkpoint
from forge_tui.training.trainer import Trainer

STEPS = 4  # in an epoch of 99 samples


class Mover(Control):
    """Before a step it moves the run directory as a user does, and tells of it as the runner does, at once or later."""

    def __init__(self, job: Job, before_step: int, *, tells: bool, again: bool) -> None:
        super().__init__()
        self.old, self.new = Path(job.directory), Path(job.directory).with_name("elsewhere")
        self._left, self._tells, self._again = before_step, tells, again

    def may_continue(self) -> bool:
        self._left -= 1
        if self._left == -1:
            self.wait_for_checkpoint()
            self.change()
            if self._tells:
                self.tell()
        return super().may_continue()

    def wait_for_checkpoint(self) -> None:
        """The one that is written beside the training."""
        wait_until(lambda: list(self.old.rglob("step-000000000008-attempt-1.safetensors")), "the checkpoint of epoch 2")

    def change(self) -> None:
        os.rename(self.old, self.new)
        if self._again:
            self.old.mkdir()

    def tell(self) -> None:
        self.move(str(self.new))
        self.request_stop()

    def wait(self, seconds: float) -> bool:
        """A model that is done waits for its directory."""
        self.tell()
        return super().wait(0.0)


@pytest.fixture
def job(make_job: Callable[..., Job]) -> Job:
    made = make_job(training={"epochs": 4, "checkpoint_interval": 1}, run={"keep_checkpoints": 3})
    directory = Path(made.directory)
    (directory / "run.db").touch()
    identity = Identity.of(directory)
    return Job.from_record({**made.to_record(), "place": [identity.device, identity.inode]})


def trained(job: Job, control: Control) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    return Trainer([job], events.append, control).run(), events


def files_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("again", [False, True])
def test_the_last_step_is_saved_where_the_directory_is_now(again: bool, job: Job) -> None:
    control = Mover(job, 2 * STEPS + 2, tells=True, again=again)
    outcome, events = trained(job, control)
    assert outcome is Outcome.STOPPED
    saved = [event for event in events if isinstance(event, CheckpointSaved)][-1]
    assert (saved.step, Path(saved.path).parent) == (2 * STEPS + 2, control.new / "checkpoints" / job.model)
    assert checkpoint.load_checkpoint(Path(saved.path)).step == 2 * STEPS + 2
    assert control.old.exists() == again
    assert files_in(control.old) == []


@pytest.mark.parametrize("again", [False, True])
def test_a_model_that_is_done_waits_to_hear_where_its_directory_is(again: bool, job: Job) -> None:
    control = Mover(job, 2 * STEPS + 2, tells=False, again=again)
    outcome, events = trained(job, control)
    assert outcome is Outcome.COMPLETED
    (done,) = [event for event in events if isinstance(event, ModelCompleted)]
    assert Path(done.path) == control.new / job.model
    assert (control.new / f"{job.model}.safetensors").exists()
    assert files_in(control.old) == []
    told = [event.message for event in events if isinstance(event, ResourceWarned)]
    # That of epoch 2 may still be on its way when the directory moves; the same fault is reported once.
    assert any("has no checkpoint at epoch" in words and "was moved or deleted" in words for words in told)


def test_a_move_in_the_middle_of_a_write_is_told_like_any_other(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    control = Mover(job, 2 * STEPS + 2, tells=False, again=False)
    save, moved = checkpoint.save_checkpoint, list[Path]()

    def save_and_move(directory: Path, step: int, *content: Any) -> Path:
        path = save(directory, step, *content)
        if step == 4 * STEPS and not moved:  # of the last epoch, for which training stands still
            control.change()
            moved.append(path)
        return path

    monkeypatch.setattr(checkpoint, "save_checkpoint", save_and_move)
    monkeypatch.setattr(control, "wait_for_checkpoint", lambda: None)
    control._left = 1_000
    outcome, events = trained(job, control)
    assert moved
    assert outcome is Outcome.COMPLETED
    assert (control.new / f"{job.model}.json").exists()
    assert not control.old.exists()
    (told,) = [event.message for event in events if isinstance(event, ResourceWarned)]
    assert "is trained and waits to be written" in told
    assert "was moved or deleted" in told


def test_a_directory_that_is_being_deleted_gets_no_new_files(job: Job) -> None:
    directory = Path(job.directory)

    class Deleting(Mover):
        def change(self) -> None:
            (directory / "run.db").unlink()
            for path in (directory / "checkpoints").rglob("*.safetensors"):
                path.unlink()
            self.request_stop()

    outcome, _events = trained(job, Deleting(job, 2 * STEPS + 2, tells=False, again=False))
    assert outcome is Outcome.STOPPED
    assert [name for name in files_in(directory) if name.endswith(".safetensors")] == []


def test_an_attempt_in_another_directory_does_not_begin(job: Job) -> None:
    directory = Path(job.directory)
    os.rename(directory, directory.with_name("elsewhere"))
    directory.mkdir()
    (directory / "run.db").touch()
    with pytest.raises(RunDirectoryError, match="is not the run's directory any more"):
        trained(job, Control())
    assert files_in(directory) == ["run.db"]


def test_a_checkpoint_makes_its_own_directories_but_no_run_directory(tmp_path: Path) -> None:
    record: dict[str, Any] = {"epoch": 1, "step": 1}
    with pytest.raises(RunDirectoryError, match=r"cannot create the directory .*: No such file or directory"):
        checkpoint.save_checkpoint(tmp_path / "run" / "checkpoints" / "one", 1, {}, record)
    assert files_in(tmp_path) == []
    (tmp_path / "run").mkdir()
    checkpoint.save_checkpoint(tmp_path / "run" / "checkpoints" / "one", 1, {}, record)
    assert len(list((tmp_path / "run" / "checkpoints" / "one").iterdir())) == 1
