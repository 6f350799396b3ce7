"""Transformers' own `Trainer` with our callback: a tiny model with random weights, and no network."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from held_runs import HOLD, record_of, run_twice
from held_runs import reported as rows_of
from trials import Run, reported

from forge_tui.errors import TrialError
from forge_tui.protocol.events import CheckpointSaved
from forge_tui.protocol.job import Outcome
from forge_tui.training.failures import Diverged
from forge_tui.training.trial import Trial

MISSING = "is not installed; .ci/run-peers installs it"
pytest.importorskip("transformers", reason=f"transformers {MISSING}")
pytest.importorskip("accelerate", reason=f"accelerate {MISSING}")

CODE = """
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from forge_tui.integrations.transformers import Report

STEPS = 4


class AtStep(TrainerCallback):
    def __init__(self, call):
        self.call = call

    def on_step_end(self, args, state, control, **others):
        self.call(1 + (state.global_step - 1) // STEPS, 1 + (state.global_step - 1) % STEPS)


def rows(seed, count):
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(16, (count, 1), generator=generator)
    tokens = (starts + torch.arange(8)) % 16
    return [{"input_ids": row, "labels": row} for row in tokens]


def tune(trial, at_step, continues=True, output="trainer", names=None, **changes):
    report = Report(trial, names=names, goal=None if names is None else {"perplexed": "lower"})
    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=8, vocab_size=16, bos_token_id=0, eos_token_id=0)
    settings = dict(
        num_train_epochs=trial.epochs, per_device_train_batch_size=8, learning_rate=1e-2, logging_strategy="epoch",
        eval_strategy="epoch", save_strategy="epoch", seed=trial.seed, use_cpu=True, report_to="none",
        disable_tqdm=True,
    )
    arguments = TrainingArguments(output_dir=trial.directory / output, **{**settings, **changes})
    trainer = Trainer(
        GPT2LMHeadModel(config), arguments, train_dataset=rows(0, 8 * STEPS), eval_dataset=rows(1, 8),
        callbacks=[AtStep(at_step), report],
    )
    trainer.train(resume_from_checkpoint=report.resume_from_checkpoint if continues else None)
    trial.save(trainer.model)


def train(trial, kills: str = ""):
    tune(trial, lambda epoch, step: hold(trial, kills, epoch, step))
"""
BY_STEP = {
    name: value
    for kind in ("logging", "eval", "save")
    for name, value in ((f"{kind}_strategy", "steps"), (f"{kind}_steps", 2))
}


@pytest.fixture(scope="module")
def tune() -> Callable[..., None]:
    space: dict[str, Any] = {}
    exec(CODE, space)
    found: Callable[..., None] = space["tune"]
    return found


def test_killed_models_end_as_undisturbed_ones(tmp_path: Path) -> None:
    """Also within an epoch, whose checkpoint is the one before it."""
    (tmp_path / "tune.py").write_text(HOLD + CODE, encoding="utf-8")
    whole, broken = run_twice(tmp_path, "--train", "tune.py", seed=20261130, epochs=4, steps=4)
    rows = rows_of(record_of(whole, "cognate_tune_1.safetensors"))
    assert set(rows[0][1]) == {"loss", "validation_loss", "grad_norm", "learning_rate"}
    assert rows[-1][1]["validation_loss"] < rows[0][1]["validation_loss"]
    files = broken / "checkpoints" / "cognate_tune_1" / "files" / "trainer"
    assert sorted(path.name for path in files.iterdir()) == ["checkpoint-12", "checkpoint-16"]


def test_by_step_each_evaluation_is_a_row_and_a_stop_waits_for_no_epoch(
    run: Callable[..., Run], tune: Callable[..., None]
) -> None:
    whole, broken = (run(training={"epochs": 3}, run={"stop_seconds": 0.0}) for _ in range(2))
    assert whole.attempt(lambda trial: tune(trial, lambda *_: None, **BY_STEP)) is Outcome.COMPLETED
    assert [(row["epoch"], set(row["metrics"])) for row in whole.record["history"]] == [
        (epoch, {"loss", "validation_loss", "grad_norm", "learning_rate"}) for epoch in range(1, 7)
    ]

    def at_step(epoch: int, step: int) -> None:
        if (epoch, step) == (2, 1):
            broken.control.request_stop()

    assert broken.attempt(lambda trial: tune(trial, at_step, **BY_STEP)) is Outcome.STOPPED
    assert broken.of(CheckpointSaved)[-1].step == 5
    assert broken.attempt(lambda trial: tune(trial, lambda *_: None, **BY_STEP), 2) is Outcome.COMPLETED
    assert broken.record["sha256"] == whole.record["sha256"]
    assert [row["metrics"]["validation_loss"] for row in broken.record["history"]] == [
        row["metrics"]["validation_loss"] for row in whole.record["history"]
    ]


def test_names_and_goals_are_those_that_are_given(run: Callable[..., Run], tune: Callable[..., None]) -> None:
    made = run(training={"epochs": 1})
    names = {"eval_loss": "perplexed"}
    made.attempt(lambda trial: tune(trial, lambda *_: None, names=names, save_strategy="no"))
    ((epoch, metrics),) = reported(made)
    assert (epoch, set(metrics)) == (1, {"loss", "perplexed", "grad_norm", "learning_rate"})
    assert [(one["name"], one["goal"]) for one in made.declared] == [("perplexed", "lower")]


def test_a_loss_that_is_no_number_fails_the_model(run: Callable[..., Run], tune: Callable[..., None]) -> None:
    """By default a `Trainer` logs 0 for it."""
    made = run()
    with pytest.raises(Diverged, match="the loss of epoch 1 is nan"):
        made.attempt(lambda trial: tune(trial, lambda *_: None, learning_rate=math.inf))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output": "/tmp/elsewhere"}, "output_dir is /tmp/elsewhere: checkpoints are kept in trial.directory"),
        ({"save_only_model": True}, "with save_only_model the optimizer is lost"),
        ({"save_total_limit": 1}, "save_total_limit is 1: the Trainer deletes the last checkpoint before the next"),
    ],
)
def test_what_cannot_continue_exactly_is_refused_at_the_start(
    run: Callable[..., Run], tune: Callable[..., None], changes: dict[str, Any], words: str
) -> None:
    made = run()
    with pytest.raises(TrialError) as caught:
        made.attempt(lambda trial: tune(trial, lambda *_: None, **changes))
    assert words in str(caught.value)
    assert not reported(made)


def test_a_trainer_that_begins_anew_is_refused(run: Callable[..., Run], tune: Callable[..., None]) -> None:
    made = run()

    def broken(trial: Trial) -> None:
        def at_step(epoch: int, step: int) -> None:
            if (epoch, step) == (2, 3):
                raise RuntimeError("broken")

        tune(trial, at_step)

    with pytest.raises(RuntimeError, match="broken"):
        made.attempt(broken)
    with pytest.raises(TrialError, match=r"continues at step 4, and the Trainer at 0: call trainer\.train"):
        made.attempt(lambda trial: tune(trial, lambda *_: None, continues=False), 2)
