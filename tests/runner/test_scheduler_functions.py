"""What the scheduler does for training functions, with workers that are played."""

from __future__ import annotations

from pathlib import Path

from stage import Stage

from forge_tui.protocol import events as happened
from forge_tui.protocol.phases import TrainingPhase as M

TRAIN = {"training": {"train": "loop.py"}}


def test_a_cancelled_function_hears_that_it_need_not_save(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, **TRAIN) as stage:
        stage.turn(*stage.actor(1).begins())
        stage.command("cancel", model="planner_1")
        stage.turn()
        assert stage.actor(1).worker.heard[-2:] == [{"command": "leave", "index": 1}, {"command": "stop"}]
        stage.turn(*stage.actor(1).stops())
        assert stage.phase(1) is M.CANCELLED


def test_a_failure_that_would_come_again_is_not_tried_again(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, **TRAIN) as stage:
        actor = stage.actor(1)
        stage.turn(*actor.begins())
        failed = happened.ModelFailed(
            time=1.0, model="planner_1", index=1, attempt=1, kind="exception", message="report takes numbers"
        )
        stage.turn(actor.says(**happened.to_record(failed, "run"), final=True), actor.exits(1))
        assert stage.phase(1) is M.FAILED
        assert [event["will_retry"] for event in stage.events("model_failed")] == [False]


def test_a_declared_goal_is_recorded_whatever_was_reported_before(tmp_path: Path) -> None:
    with Stage(tmp_path, models=1, **TRAIN) as stage:
        actor = stage.actor(1)
        stage.turn(*actor.begins())
        for attempt in (2, 1):  # the first one is no attempt of now
            declared = [{"name": f"f{attempt}", "goal": "higher"}, {"name": "loss", "goal": "lower"}]
            stage.turn(actor.says(declared=declared, index=1, attempt=attempt))
        assert [(one["name"], one["goal"]) for one in stage.journal.info.metrics] == [
            ("f1", "higher"),
            ("loss", "lower"),
        ]
