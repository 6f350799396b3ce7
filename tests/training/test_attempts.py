"""The attempt is the fence: what one writes has its number, and what an older one writes late is left out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_jobs import JobMaker
from trained import KillAt, Killed, run

from forge_tui.protocol.events import Event, ModelCompleted, ModelStarted
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.training.member import publish_here
from forge_tui.training.trainer import Trainer


def test_what_an_attempt_that_was_killed_while_writing_left_is_removed(make_job: JobMaker) -> None:
    job = make_job(training={"epochs": 1}, attempt=2)
    directory = Path(job.directory) / "checkpoints" / job.model
    directory.mkdir(parents=True)
    for ending in ("json", "safetensors"):
        (directory / f"result-attempt-1.{ending}").write_bytes(b"half")
    run([job])
    assert [path.name for path in directory.iterdir()] == ["step-000000000004-attempt-2.safetensors"]


def test_only_whoever_publishes_gives_a_finished_model_its_name_and_it_is_reported_after_that(
    make_job: JobMaker,
) -> None:
    job, events = make_job(training={"epochs": 1}, attempt=2), list[Event]()

    def publish(directory: Path, finished: Job, *, has_weights: bool = True) -> None:
        assert (directory, finished) == (Path(job.directory), job)
        written = sorted(path.name for path in (directory / "checkpoints" / job.model).glob("result-*"))
        assert written == ["result-attempt-2.json", "result-attempt-2.safetensors"]
        assert not (Path(job.directory) / f"{job.model}.json").exists()
        assert not any(isinstance(event, ModelCompleted) for event in events)
        publish_here(directory, finished)

    assert Trainer([job], events.append, Control(), publish=publish).run() is Outcome.COMPLETED
    assert [event.event for event in events][-2:] == ["model_completed", "phase_changed"]
    assert (Path(job.directory) / f"{job.model}.safetensors").exists()


def test_an_attempt_continues_from_what_it_inherits_and_leaves_out_what_an_older_one_saved_late(
    make_job: JobMaker,
) -> None:
    first = make_job(training={"epochs": 3, "checkpoint_interval": 1})
    with pytest.raises(Killed):
        run([first], KillAt(2 * 4 + 1))
    directory = Path(first.directory) / "checkpoints" / first.model
    late = directory / "step-000000000012-attempt-1.safetensors"  # as from a worker that was cut off
    shutil.copy(directory / "step-000000000008-attempt-1.safetensors", late)
    _, events = run([replace(first, attempt=2, inherited_step=4)])
    started = next(event for event in events if isinstance(event, ModelStarted))
    assert started.step == 4
    assert [path.name for path in directory.iterdir()] == ["step-000000000012-attempt-2.safetensors"]
