"""Continues a trainer's models from the newest checkpoints that verify."""

from __future__ import annotations

from collections.abc import Sequence

from forge_tui.errors import RunDirectoryError
from forge_tui.safe_io.printing import named
from forge_tui.tables.encoder import Encoder, recorded_encoder
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.checkpoint import Checkpoint
from forge_tui.training.members import Members
from forge_tui.training.state import TrainingState


def newest_checkpoints(members: Members) -> list[Checkpoint]:
    """One checkpoint per model, all of one step; empty if there is no such step.

    Later ones than the target of a rollback are discarded. Raises `RunDirectoryError` for checkpoints of other models.
    """
    for member in members:
        if member.rollback is not None:
            checkpoints.discard(member.checkpoints, member.rollback.step, member.rollbacks)
    found = checkpoints.newest_common(
        [member.checkpoints for member in members],
        lambda problem: members[0].report.warn("checkpoint", problem),
        [member.fence for member in members],
    )
    for member, checkpoint in zip(members, found, strict=False):
        job, record = member.job, checkpoint.record
        if (record["model"], record["seed"]) != (job.model, job.seed):
            raise RunDirectoryError(
                f"{named(checkpoint.path)} is of {record['model']} with seed {record['seed']}, not of {job.model} "
                f"with seed {job.seed}; start anew with --overwrite"
            )
    return found


def encoder_of(found: Sequence[Checkpoint]) -> Encoder | None:
    """The encoder of the table that checkpoints were trained on; None if it was none. Raises `RunDirectoryError`."""
    if not found:
        return None
    try:
        return recorded_encoder(found[0].record)
    except ValueError as error:
        raise RunDirectoryError(f"{named(found[0].path)}: {error}; start anew with --overwrite") from None


def note_where_from(members: Members, state: TrainingState, found: list[Checkpoint]) -> None:
    """Check each model's exactness after `state` was restored from `found` (empty: it is new)."""
    if not found:
        for number, member in enumerate(members):
            member.note_where_from(0, 0, state.progress[number])
        return
    for number, (member, checkpoint) in enumerate(zip(members, found, strict=True)):
        member.take_rollbacks(checkpoint.record, checkpoint.epoch)
        progress = state.progress[number]
        progress.exact = progress.exact and member.job.exact
        member.note_where_from(state.step, checkpoint.record.get("rollbacks", 0), progress)
