"""What a training function can do with its trial, without processes: a fake runner hears what it sends."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_jobs import JobMaker
from torch import nn
from trials import Function, Run, reported
from trials import run as run

import forge_tui
from forge_tui.errors import ForgeError, TrialError, TrialStopped
from forge_tui.protocol.events import (
    CheckpointSaved,
    EpochFinished,
    ModelCompleted,
    PhaseChanged,
    ResourceWarned,
)
from forge_tui.protocol.job import Outcome
from forge_tui.training import train_function
from forge_tui.training.failures import Diverged
from forge_tui.training.trial import Trial


def test_a_trial_says_what_is_to_be_trained(run: Callable[..., Run]) -> None:
    made = run(model={"lr": 0.5, "widths": [1, 2]})

    def train(trial: Trial, lr: float, widths: list[int]) -> None:
        assert (trial.name, trial.index, trial.seed, trial.attempt, trial.epochs, trial.threads) == (
            made.job.model, 1, made.job.seed, 1, 4, made.job.threads,
        )  # fmt: skip
        assert trial.device == torch.device("cpu")
        assert (lr, widths, dict(trial.params)) == (0.5, [1, 2], {"lr": 0.5, "widths": [1, 2]})
        trial.settings.training.epochs = 99
        trial.params["widths"].append(3)
        assert (trial.settings.training.epochs, trial.params["widths"]) == (4, [1, 2])
        with pytest.raises(TypeError):
            trial.params["lr"] = 1  # type: ignore[index]
        (trial.directory / "sample.txt").write_text("mine", encoding="utf-8")
        assert trial.directory.stat().st_mode & 0o777 == 0o700
        assert not trial.should_stop

    assert made.attempt(train) is Outcome.COMPLETED


def test_random_numbers_are_those_of_the_seed(run: Callable[..., Run]) -> None:
    drawn = []

    def train(trial: Trial) -> None:
        drawn.append((random.random(), float(np.random.rand()), torch.rand(1).item()))

    assert run().attempt(train) is run().attempt(train) is Outcome.COMPLETED
    assert drawn[0] == drawn[1]


def test_reports_of_forge_tui_are_the_trials_until_its_function_ends(run: Callable[..., Run]) -> None:
    made = run()

    def train(trial: Trial) -> None:
        forge_tui.report(loss=2)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        made.attempt(train)
    forge_tui.report(loss=1)
    assert [event.metrics["loss"] for event in made.of(EpochFinished)] == [2]


def test_reports_are_epochs_with_metrics_by_name(run: Callable[..., Run]) -> None:
    made = run()

    def train(trial: Trial) -> None:
        trial.report({"val/loss": np.float32(0.5)}, loss=torch.tensor(2.0, requires_grad=True))
        trial.report(loss=1, reward=-math.inf, step=7)
        trial.report(epoch=4, loss=np.array(3.0), goal={"f1": "higher"}, f1=0.25)
        trial.report(epoch=2, loss=0.5)

    assert made.attempt(train) is Outcome.COMPLETED
    assert reported(made) == [
        (1, {"val/loss": 0.5, "loss": 2.0}),
        (2, {"loss": 1.0, "reward": None}),
        (4, {"loss": 3.0, "f1": 0.25}),
        (2, {"loss": 0.5}),
    ]
    assert [event.step for event in made.of(EpochFinished)] == [0, 7, 7, 7]
    assert [event.best_loss for event in made.of(EpochFinished)] == [2.0, 1.0, 1.0, 0.5]
    assert [(one["name"], one["goal"]) for one in made.declared] == [("f1", "higher")]
    # Epoch 2 was replaced, the others stand.
    assert [(one["epoch"], one["loss"]) for one in made.record["history"]] == [(1, 2.0), (2, 0.5), (4, 3.0)]
    assert (made.record["epochs_completed"], made.record["loss"]) == (4, 3.0)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (lambda trial: trial.report(loss=torch.zeros(2)), "the metric loss is a Tensor of shape (2,)"),
        (lambda trial: trial.report(loss="low"), "the metric loss is a str"),
        (lambda trial: trial.report(done=True), "the metric done is a bool"),
        (lambda trial: trial.report({"": 1.0}), "'' cannot be the name of a metric"),
        (lambda trial: trial.report({"a\n": 1.0}), "cannot be the name of a metric"),
        (lambda trial: trial.report({"x" * 101: 1.0}), "1 to 100 printable characters"),
        (lambda trial: trial.report(0.5), "takes metrics by name, as {'loss': 0.5}, and got a float"),
        (lambda trial: trial.report({"loss": 1.0}, loss=2.0), "got the metric loss twice"),
        (lambda trial: trial.report(validation_accuracy=97.0), "a share, from 0 to 1, and 97 is none"),
        (lambda trial: trial.report(loss=1.0, epoch=0), "epoch must be a whole number, at least 1, not '0'"),
        (lambda trial: trial.report(loss=1.0, step=-1), "step must be a whole number, at least 0"),
        (lambda trial: trial.report(f1=1.0, goal={"f1": "up"}), "goal of f1: must be 'higher' or 'lower'"),
        (lambda trial: trial.report(goal={"loss": "higher"}), "goal of loss: that name is reserved (lower)"),
        (lambda trial: trial.report({f"m{n}": 0.0 for n in range(201)}), "201 different metrics"),
        (lambda trial: trial.checkpoint([1]), "trial.checkpoint takes a dict"),
        (lambda trial: trial.checkpoint({"a": {"b": [1, {2}]}}), "state['a']['b'][1] is a set"),
        (lambda trial: trial.checkpoint({}, files="lost.ckpt"), "trial.checkpoint: there is no file "),
        (lambda trial: trial.checkpoint({}, files="../x"), "is not in trial.directory"),
        (lambda trial: trial.checkpoint({}, files=["/etc/hostname"]), "/etc/hostname is not in trial.directory"),
        (lambda trial: trial.checkpoint({}, files=[3]), "files are paths, and one is a int"),
        (lambda trial: trial.save(3), "trial.save takes a module or its state_dict(), and got a int"),
        (lambda trial: trial.save({"w": 3}), "trial.save: w is a int"),
    ],
)
def test_a_misuse_of_the_trial_is_named(run: Callable[..., Run], report: Function, words: str) -> None:
    with pytest.raises(TrialError) as caught:
        run().attempt(report)
    assert words in str(caught.value)


def test_a_loss_that_is_no_number_fails_the_model_and_is_reported(run: Callable[..., Run]) -> None:
    made = run()
    with pytest.raises(Diverged, match="the loss of epoch 1 is nan: training has diverged; lower the learning rate"):
        made.attempt(lambda trial: trial.report(loss=math.nan))
    assert math.isnan(made.of(EpochFinished)[0].metrics["loss"])


STATE: dict[Any, Any] = {
    "tensor": torch.arange(6.0).reshape(2, 3).t(),
    3: [np.arange(3, dtype=np.int16), (1, "two", None, True), 2.5, math.inf],
    "nested": {"half": torch.ones(2, dtype=torch.bfloat16), -1: np.float32(0.25)},
}


def test_a_checkpoint_gives_back_state_random_numbers_and_reports(run: Callable[..., Run]) -> None:
    made, drawn = run(), []

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(1).item()

    def first(trial: Trial) -> None:
        assert trial.restore() is None
        for epoch in (1, 2):
            trial.report(loss=1.0 / epoch)
        trial.checkpoint(STATE)
        drawn.append(draw())
        raise RuntimeError("broken")

    def second(trial: Trial) -> None:
        found = trial.restore()
        assert found is not None
        drawn.append(draw())
        assert list(found) == list(STATE)
        assert torch.equal(found["tensor"], STATE["tensor"])
        array, row, *numbers = found[3]
        assert (array.dtype, array.tolist(), row, numbers) == (
            np.int16,
            [0, 1, 2],
            (1, "two", None, True),
            [2.5, math.inf],
        )
        assert found["nested"]["half"].dtype is torch.bfloat16
        assert type(found["nested"][-1]) is np.float32
        trial.report(loss=0.25)

    with pytest.raises(RuntimeError, match="broken"):
        made.attempt(first)
    assert made.attempt(second, 2) is Outcome.COMPLETED
    assert drawn[0] == drawn[1]
    (saved,) = made.of(CheckpointSaved)
    assert (saved.epoch, saved.step, Path(saved.path).name) == (2, 1, "step-000000000001-attempt-1.safetensors")
    assert [(one["epoch"], one["loss"]) for one in made.record["history"]] == [(1, 1.0), (2, 0.5), (3, 0.25)]
    assert made.of(EpochFinished)[-1].best_loss == 0.25


def test_checkpoints_are_pruned_and_a_damaged_one_is_passed_over(run: Callable[..., Run]) -> None:
    made, found = run(), []

    def first(trial: Trial) -> None:
        for epoch in range(1, 5):
            trial.report(loss=1.0, step=10 * epoch)
            trial.checkpoint({"epoch": epoch})
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        made.attempt(first)
    assert made.files == [f"step-{step:012d}-attempt-1.safetensors" for step in (30, 40)]
    newest = Path(made.job.directory) / "checkpoints" / made.job.model / made.files[-1]
    newest.write_bytes(newest.read_bytes()[:-1] + b"!")
    assert made.attempt(lambda trial: found.append(trial.restore()), 2) is Outcome.COMPLETED
    assert found == [{"epoch": 3}]


def _files_spoiled(directory: Path, how: str) -> None:
    file = directory / "epoch-3" / "deep" / "weights.bin"
    if how == "changed":
        file.write_bytes(b"other")
    elif how == "link":
        file.rename(directory / "elsewhere")
        file.symlink_to(directory / "elsewhere")
    else:
        file.unlink()


@pytest.mark.parametrize(("how", "said"), [
    ("changed", "weights.bin is damaged: its content does not match its SHA-256"),
    ("link", "weights.bin is a symbolic link"),
    ("lost", "weights.bin: No such file or directory"),
])  # fmt: skip
def test_a_checkpoint_counts_while_its_files_are_as_they_were(run: Callable[..., Run], how: str, said: str) -> None:
    made, found = run(), []

    def first(trial: Trial) -> None:
        for epoch in range(1, 4):
            place = trial.directory / f"epoch-{epoch}"
            (place / "deep").mkdir(parents=True)
            (place / "deep" / "weights.bin").write_bytes(b"weights of %d" % epoch)
            (place / "notes.json").write_text("{}", encoding="utf-8")
            assert trial.checkpoint({"path": place.name}, epoch, files=place) is True
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        made.attempt(first)
    directory = Path(made.job.directory) / "checkpoints" / made.job.model / "files"
    assert len(list(directory.rglob("weights.bin"))) == 3  # nothing of the function's is deleted
    _files_spoiled(directory, how)
    made.attempt(lambda trial: found.append(trial.restore()), 2)
    assert found == [{"path": "epoch-2"}]
    (warned,) = [event.message for event in made.events if isinstance(event, ResourceWarned)]
    assert said in warned
    assert warned.endswith("continuing from step-000000000002-attempt-1.safetensors")


def test_files_that_are_as_they_were_belong_to_the_newest_checkpoint(run: Callable[..., Run]) -> None:
    made, found = run(), []

    def train(trial: Trial) -> None:
        found.append(trial.restore())
        for epoch in (1, 2):
            (trial.directory / f"{epoch}.bin").write_bytes(b"%d" % epoch)
            trial.checkpoint({"epoch": epoch}, epoch, files=f"{epoch}.bin")
        if trial.attempt == 1:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        made.attempt(train)
    assert made.attempt(train, 2) is Outcome.COMPLETED
    assert found == [None, {"epoch": 2}]
    assert not made.of(ResourceWarned)


def test_a_function_that_begins_anew_has_newer_checkpoints_than_those_before(run: Callable[..., Run]) -> None:
    made = run()

    def train(trial: Trial) -> None:
        trial.checkpoint({"attempt": trial.attempt})
        raise RuntimeError("broken")

    for number in (1, 2):
        with pytest.raises(RuntimeError):
            made.attempt(train, number)
    assert made.files == ["step-000000000001-attempt-1.safetensors", "step-000000000002-attempt-2.safetensors"]


def stopping(made: Run, when: int, checkpoints: bool, epochs: int = 50) -> tuple[Function, list[int]]:
    """A loop that is asked to stop in epoch `when`, and the epochs that it began."""
    begun: list[int] = []

    def train(trial: Trial) -> None:
        for epoch in range(1, epochs + 1):
            begun.append(epoch)
            if epoch == when:
                made.control.request_stop()
            try:
                trial.report(loss=1.0, epoch=epoch)
                if checkpoints:
                    trial.checkpoint({"epoch": epoch})
            except Exception:
                raise AssertionError("TrialStopped is no Exception") from None

    return train, begun


def test_a_stop_is_raised_by_the_next_checkpoint_which_is_written(run: Callable[..., Run]) -> None:
    made = run(training={"epochs": 50})
    train, begun = stopping(made, 3, checkpoints=True)
    assert made.attempt(train) is Outcome.STOPPED
    assert begun == [1, 2, 3]
    assert [event.epoch for event in made.of(CheckpointSaved)] == [1, 2, 3]
    assert not made.of(ModelCompleted)


def test_a_stop_without_a_checkpoint_waits_so_long_and_no_longer(run: Callable[..., Run]) -> None:
    made = run(training={"epochs": 50}, run={"stop_seconds": 0.0})
    train, begun = stopping(made, 3, checkpoints=False)
    assert made.attempt(train) is Outcome.STOPPED
    assert begun == [1, 2, 3]
    patient = run(training={"epochs": 5})
    train, begun = stopping(patient, 3, checkpoints=False, epochs=5)
    assert patient.attempt(train) is Outcome.COMPLETED
    assert begun == [1, 2, 3, 4, 5]


def test_report_stops_where_nothing_is_lost(run: Callable[..., Run]) -> None:
    """The checkpoint of this very epoch is there already."""
    made = run(training={"epochs": 50})

    def train(trial: Trial) -> None:
        trial.checkpoint({}, epoch=1)
        made.control.request_stop()
        trial.report(loss=1.0, epoch=1)
        raise AssertionError("it was to stop")

    assert made.attempt(train) is Outcome.STOPPED


def test_a_cancelled_model_stops_at_its_next_report(run: Callable[..., Run]) -> None:
    made = run()

    def train(trial: Trial) -> None:
        made.control.request_leave(trial.index)
        assert trial.should_stop
        trial.report(loss=1.0)
        raise AssertionError("it was to stop")

    assert made.attempt(train) is Outcome.STOPPED


def test_a_loop_that_looks_may_return(run: Callable[..., Run]) -> None:
    made = run()

    def train(trial: Trial) -> None:
        trial.report(loss=1.0)
        made.control.request_stop()
        if trial.should_stop:
            return

    assert made.attempt(train) is Outcome.STOPPED


def test_whoever_swallows_the_stop_hears_it_again(run: Callable[..., Run]) -> None:
    made, heard = run(), []

    def train(trial: Trial) -> None:
        made.control.request_stop()
        for _ in range(3):
            try:
                trial.checkpoint({})
            except BaseException as error:
                heard.append(type(error))

    assert made.attempt(train) is Outcome.STOPPED
    assert heard == [TrialStopped] * 3
    assert len(made.of(CheckpointSaved)) == 1


def test_nobody_else_may_say_that_the_trial_is_stopped(run: Callable[..., Run]) -> None:
    def train(trial: Trial) -> None:
        raise TrialStopped

    with pytest.raises(TrialError, match="was not asked to stop"):
        run().attempt(train)


def test_a_pause_holds_in_report(run: Callable[..., Run]) -> None:
    made = run()

    def train(trial: Trial) -> None:
        made.control.pause()
        held = made.control.on_hold

        def on_hold(paused: bool) -> None:
            held(paused)
            made.control.unpause()

        made.control.on_hold = on_hold
        trial.report(loss=1.0)

    assert made.attempt(train) is Outcome.COMPLETED
    phases = [event.phase for event in made.of(PhaseChanged)]
    assert phases == ["initializing", "training", "paused", "training", "saving", "completed"]


HALVING = {"run": {"halving": 2}}


def test_at_a_rung_the_runner_is_asked_once(run: Callable[..., Run]) -> None:
    made = run(rungs=(1, 2), **HALVING)

    def train(trial: Trial) -> None:
        for epoch in (1, 1, 2, 3):
            trial.report(loss=1.0 / epoch, epoch=epoch)

    assert made.attempt(train) is Outcome.COMPLETED
    assert made.rungs == [(1, 1.0), (2, 0.5)]
    pruned = run(rungs=(1, 2), **HALVING)
    assert pruned.attempt(train, keeps=False) is Outcome.STOPPED
    assert [epoch for epoch, _ in reported(pruned)] == [1]


def test_rungs_compare_the_metric_that_was_chosen_with_the_goal_that_was_declared(run: Callable[..., Run]) -> None:
    made = run(rungs=(2,), training={"select_by": "f1"}, **HALVING)

    def train(trial: Trial) -> None:
        trial.report(f1=0.5, epoch=1, goal={"f1": "higher"})
        trial.report(f1=0.75, epoch=3)

    assert made.attempt(train) is Outcome.COMPLETED
    assert made.rungs == [(2, -0.75)]
    with pytest.raises(TrialError, match="report f1, and once its goal at every epoch"):
        run(rungs=(2,), training={"select_by": "f1"}, **HALVING).attempt(lambda trial: trial.report(f1=1.0, epoch=2))


def test_halving_needs_the_epoch(run: Callable[..., Run]) -> None:
    with pytest.raises(TrialError, match=r"each report has to say which one it is of: trial.report\(…, epoch=n\)"):
        run(rungs=(1,), **HALVING).attempt(lambda trial: trial.report(loss=1.0))


def test_a_saved_model_has_files_and_any_other_a_record(run: Callable[..., Run]) -> None:
    model, made = nn.BatchNorm1d(3), run()
    assert made.attempt(lambda trial: trial.save(model)) is Outcome.COMPLETED
    (done,) = made.of(ModelCompleted)
    assert (done.path, done.parameters, done.exact) == (str(Path(made.job.directory) / made.job.model), 6, True)
    assert (made.record["parameters"], made.record["exact"]) == (6, True)
    assert len(made.record["sha256"]) == 64
    assert Path(f"{done.path}.safetensors").exists()

    without = run()
    Path(f"{Path(without.job.directory) / without.job.model}.safetensors").write_bytes(b"of an earlier end")
    assert without.attempt(lambda trial: trial.report(loss=1.0)) is Outcome.COMPLETED
    (done,) = without.of(ModelCompleted)
    assert done.path == str(Path(without.job.directory) / "checkpoints" / without.job.model / "files")
    assert (done.parameters, done.exact) == (None, None)
    assert [without.record[name] for name in ("parameters", "sha256", "exact")] == [None, None, None]
    assert not Path(f"{Path(without.job.directory) / without.job.model}.safetensors").exists()


def test_a_model_whose_files_are_there_is_not_trained_again(run: Callable[..., Run]) -> None:
    made = run()
    for number in (1, 2):
        assert made.attempt(lambda trial: trial.report(loss=1.0 / trial.attempt), number) is Outcome.COMPLETED
    assert [done.metrics["loss"] for done in made.of(ModelCompleted)] == [1.0, 1.0]


def test_other_conditions_make_a_model_inexact(run: Callable[..., Run]) -> None:
    made = run()

    def broken(trial: Trial) -> None:
        trial.checkpoint({})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        made.attempt(broken)
    made.job = dataclasses.replace(made.job, threads=made.job.threads + 1)

    def train(trial: Trial) -> None:
        trial.restore()
        trial.save({"w": torch.zeros(1)})

    assert made.attempt(train, 2) is Outcome.COMPLETED
    assert made.record["exact"] is False


def test_a_checkpoint_that_the_disk_does_not_take_fails_nothing(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from forge_tui.errors import RunDirectoryError
    from forge_tui.training import checkpoint

    def full(*_: Any, **__: Any) -> None:
        raise RunDirectoryError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_checkpoint", full)
    made = run()

    def train(trial: Trial) -> None:
        trial.checkpoint({})
        trial.checkpoint({})
        trial.report(loss=1.0)

    assert made.attempt(train) is Outcome.COMPLETED
    warned = [event.message for event in made.events if event.event == "resource_warning"]
    assert len(warned) == 1
    assert "no space left on device; training continues" in warned[0]


@pytest.mark.parametrize(
    ("text", "model", "words"),
    [
        ("def train():\n    pass\n", {}, "must take the trial as its first parameter"),
        ("def train(trial, lr):\n    pass\n", {}, "needs lr; give it: --set model.lr=…"),
        ("def train(trial, lr: float):\n    pass\n", {"lr": "x"}, 'model.lr = "x": must be a number'),
        ("def train(trial, lr: float):\n    pass\n", {"lr": 0.1, "rl": 1}, "model.rl: no parameter of --train"),
        ("def train(trial):\n    pass\n", {"trial": 1}, "is the trial; rename the value"),
        ("def train(trial):\n    pass\n", {"anything": 1}, None),
        ("def other(trial):\n    pass\n", {}, "has no function train"),
    ],
)
def test_the_function_is_checked_against_the_settings(
    make_job: JobMaker, tmp_path: Path, text: str, model: dict[str, Any], words: str | None
) -> None:
    from forge_tui.settings.schema import from_plain

    file = tmp_path / "code" / "checked.py"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    settings = from_plain({**make_job(training={"train": str(file)}).settings, "model": model})
    if words is None:
        train_function.TrainFunction(settings)
        return
    with pytest.raises(ForgeError) as caught:
        train_function.TrainFunction(settings)
    assert words in str(caught.value)
