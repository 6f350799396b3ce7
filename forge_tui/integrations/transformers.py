"""Transformers: a callback that reports what a `Trainer` logs and evaluates, and keeps its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, IntervalStrategy, SaveStrategy

from forge_tui.errors import TrialError
from forge_tui.integrations.reporting import Goal, report
from forge_tui.training.trial import Trial

_LEAST_KEPT = 2
# How fast a machine was, and the summary of a whole call: an epoch has none.
_NO_METRICS = ("_runtime", "_per_second")
_SUMMARY = ("train_loss", "total_flos", "epoch", "step")


class Report(TrainerCallback):
    """Reports to `trial`, records the checkpoints that the `Trainer` saves, and ends `train` when the trial is to stop.

    A row is an epoch; with `eval_strategy="steps"` it is an evaluation, and its number is the step divided by
    `eval_steps`. `loss` is the training loss that was logged last, `eval_loss` becomes `validation_loss`,
    `eval_accuracy` `validation_accuracy`; `names` gives others: `names={"eval_f1": "f1"}`. `goal` is as in
    `Trial.report`.

    Make it once per call of the training function, because it restores the trial's progress. Without a
    `save_total_limit` the `Trainer` keeps as many checkpoints as `run.keep_checkpoints`; `logging_nan_inf_filter` is
    turned off, so that a loss that is NaN fails the model. Raises `TrialError` where what the `Trainer` would keep does
    not suffice to continue exactly, and where `train` is not given `resume_from_checkpoint`.
    """

    resume_from_checkpoint: str | None
    """Where `train` is to continue; None at the start of a model."""

    def __init__(
        self,
        trial: Trial,
        *,
        names: Mapping[str, str] | None = None,
        goal: Goal | None = None,
    ) -> None:
        self._trial, self._names, self._goal = trial, names, goal
        self._is_due = False
        state: Any = trial.restore()
        self._metrics: dict[str, float] = {} if state is None else state["metrics"]
        self._step: int = 0 if state is None else state["step"]
        self.resume_from_checkpoint = None if state is None else str(trial.directory / state["path"])

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Refuse settings with which the model could not continue exactly."""
        if state.global_step != self._step:
            raise TrialError(
                f"{self._trial.name} continues at step {self._step}, and the Trainer at {state.global_step}: call "
                "trainer.train(resume_from_checkpoint=report.resume_from_checkpoint)"
            )
        # It would log a loss of 0 for one that is NaN.
        args.logging_nan_inf_filter = False
        if args.save_strategy == SaveStrategy.NO:
            return
        directory = self._trial.directory
        if directory not in Path(args.output_dir).resolve().parents and directory != Path(args.output_dir).resolve():
            raise TrialError(f"output_dir is {args.output_dir}: checkpoints are kept in trial.directory, {directory}")
        if args.save_only_model:
            raise TrialError("with save_only_model the optimizer is lost, and the model cannot continue: leave it out")
        if args.save_total_limit is None:
            args.save_total_limit = max(_LEAST_KEPT, self._trial.settings.run.keep_checkpoints)
        if 0 < args.save_total_limit < _LEAST_KEPT:
            raise TrialError(
                f"save_total_limit is {args.save_total_limit}: the Trainer deletes the last checkpoint before the next "
                f"one counts; at least {_LEAST_KEPT} have to be kept"
            )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """Take what is logged, evaluations included, into the next report."""
        for name, value in (logs or {}).items():
            if name not in _SUMMARY and not name.endswith(_NO_METRICS) and isinstance(value, (int, float)):
                self._metrics[name] = float(value)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """With evaluations by step, each is a row."""
        self._is_due = self._is_due or (args.eval_strategy == IntervalStrategy.STEPS and state.global_step > 0)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Otherwise an epoch is."""
        self._is_due = args.eval_strategy != IntervalStrategy.STEPS

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Report what is complete: everything of the last step has been logged."""
        self._report(args, state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Show that training makes progress; where checkpoints are saved by step, a stop need not wait for the next."""
        if self._trial.should_stop and args.save_strategy == SaveStrategy.STEPS:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Report what is complete, and record the checkpoint that the `Trainer` has written."""
        self._report(args, state, saves=True)
        path = Path(args.output_dir).resolve() / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        name = path.relative_to(self._trial.directory.resolve()).as_posix()
        self._trial.checkpoint({"path": name, "step": state.global_step, "metrics": self._metrics}, files=name)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Report the last row, if no checkpoint was saved after it."""
        self._report(args, state)

    def _report(self, args: TrainingArguments, state: TrainerState, *, saves: bool = False) -> None:
        if not self._is_due:
            return
        self._is_due = False
        by_step = args.eval_strategy == IntervalStrategy.STEPS
        epoch = state.global_step // state.eval_steps if by_step else round(state.epoch)
        metrics, self._metrics = self._metrics, {}
        report(
            self._trial, metrics, names=self._names, goal=self._goal, epoch=epoch, step=state.global_step, saves=saves
        )
