"""One of the models that a trainer has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from forge_tui.protocol.events import Event, finite
from forge_tui.protocol.job import Job
from forge_tui.protocol.rollback import Rollback
from forge_tui.runs.checkpoint_files import Fence
from forge_tui.settings.schema import from_plain
from forge_tui.training.model_place import ModelPlace, Publish, publish_here
from forge_tui.training.module_state import ModuleState
from forge_tui.training.reporter import Reporter
from forge_tui.training.state import Progress


class Member(ModelPlace):
    """A model's job, config, files and reporter."""

    def __init__(self, job: Job, emit: Callable[[Event], None], publish: Publish = publish_here) -> None:
        super().__init__(job, publish)
        self.fence = Fence(job.attempt, job.inherited_step)
        self.training = from_plain(job.settings).training
        self.report = Reporter(job, emit)
        self.learning_rate_factor = job.learning_rate_factor
        self.rollbacks, self.rollback = job.rollbacks, job.rollback
        self._unkept: set[str] = set()
        self._reported: set[str] = set()

    def after_epoch(self, epoch: int, loss: float) -> None:
        """Update the rollback after an epoch: the model may have recovered."""
        if self.rollback is not None and self.rollback.is_over(epoch, loss):
            self.rollback = None

    def rollback_record(self) -> dict[str, Any]:
        """The rollback fields of a checkpoint, JSON-able; empty without rollbacks."""
        if not self.rollbacks:
            return {}
        rollback = None if self.rollback is None else finite(asdict(self.rollback))
        return {
            "rollbacks": self.rollbacks, "rollback": rollback, "learning_rate_factor": self.learning_rate_factor,
        }  # fmt: skip

    def take_rollbacks(self, record: Mapping[str, Any], epoch: int) -> None:
        """Adopt the checkpoint's rollbacks if there are more than in the run's record.

        That happens if the runner was killed, or its disk failed, before it recorded them. They are reported again.
        """
        if record.get("rollbacks", 0) <= self.rollbacks:
            return
        self.rollbacks, self.learning_rate_factor = record["rollbacks"], record["learning_rate_factor"]
        self.rollback = None if record["rollback"] is None else Rollback(**record["rollback"])
        self.report.rolled_back(
            epoch,
            "its checkpoint was saved after it had diverged and gone back",
            factor=self.learning_rate_factor,
            rollbacks=self.rollbacks,
            rollback=self.rollback,
        )

    def note_where_from(self, step: int, rollbacks: int, progress: Progress) -> None:
        """Check the checkpoint of `step` (0: the start), saved after `rollbacks` rollbacks.

        After a rollback it must be its target or a later one; otherwise a checkpoint is lost, and steps before it are
        repeated with the lower learning rate: the model is then not exact.
        """
        if rollbacks >= self.rollbacks or (self.rollback is not None and step == self.rollback.step):
            return
        progress.exact = False
        self.report.warn(
            "exactness",
            f"{self.job.model} had gone back {self.rollbacks} times after divergences, and its checkpoints since then "
            f"are lost: it continues from step {step} with {self.learning_rate_factor:g} times its learning rate, and "
            "had another one there",
        )

    def continues_alike(self, before: Mapping[str, Any], now: Mapping[str, Any], why_kernel: str = "") -> bool:
        """Whether the conditions that bytes depend on are those of the checkpoint; a difference is reported.

        `why_kernel`: why another kernel trains it than before, if one does.
        """
        changed = [name for name, value in now.items() if before.get(name, value) != value]
        if changed:
            what = ", ".join(f"{name} {before.get(name)} → {now[name]}" for name in changed)
            if "kernel" in changed and why_kernel:
                what += f": {why_kernel}"
            words = f"{self.job.model} continues under other conditions ({what}): its bytes may differ slightly"
            self.report.warn("exactness", words)
        return not changed

    def warn_once(self, kind: str, words: str) -> None:
        """Report a warning once."""
        if words not in self._reported:
            self._reported.add(words)
            self.report.warn(kind, words)

    def note_unkept(self, module: ModuleState, progress: Progress) -> None:
        """Report state of a custom module that cannot be kept, once each; the model is then not exact."""
        for place, why in module.problems.items():
            progress.exact = False
            if place not in self._unkept:
                self._unkept.add(place)
                self.report.warn(
                    "exactness",
                    f"{self.job.model}: {why}. A checkpoint lacks it: what continues from one, and the finished model, "
                    "begin with what its function builds",
                )
