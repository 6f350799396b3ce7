"""Writes a trainer's checkpoints: in the background, or while training waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from forge_tui.errors import RunDirectoryError
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.member import Member
from forge_tui.training.state import TrainingState
from forge_tui.training.tensor_file import Block

COPIED_BYTES = 256 << 20
"""States up to this size, of all models of a worker, are copied and written in the background."""

_Item = TypeVar("_Item")
# Writing mostly waits for the disk, which can write several files in the time of one.
_FILES_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateCopy:
    """A model at one step: the content of its checkpoint."""

    member: Member
    step: int
    record: dict[str, Any]
    tensors: Mapping[str, Tensor | Block]


class CheckpointWriter:
    """Writes, prunes and reports checkpoints; a group's all of one step, pruned when all are saved.

    There is only one write at a time: a second request waits for it. The current `environment` is part of every record;
    the `keep` newest checkpoints of each model are kept.
    """

    def __init__(self, environment: dict[str, Any], keep: int) -> None:
        self._environment = environment
        self._keep = keep
        self.table: dict[str, Any] | None = None
        """The record of a table's encoder, part of every checkpoint (None: the data is no table)."""
        self._saved_step = 0
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a background write is running."""
        return self._pending is not None and not self._pending.done()

    def is_saved(self, step: int) -> bool:
        """Whether all models' checkpoints of `step` are on the disk; waits for a running write."""
        self.wait()
        return step == self._saved_step

    def resumed(self, step: int) -> None:
        """Record that training continues from the checkpoints of `step`."""
        self._saved_step = step

    def wait(self) -> None:
        """Wait for the running write. Raises its unexpected errors."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the running write; there are no more after it."""
        self._thread.shutdown()

    def save(self, state: TrainingState, members: Sequence[Member]) -> None:
        """Write the checkpoints of all models before this returns. Raises `RunDirectoryError`."""
        self.wait()
        self.save_some(state, members, range(len(members)))
        self._all_saved(members, state.step)

    def save_some(self, state: TrainingState, members: Sequence[Member], numbers: Sequence[int]) -> None:
        """Write the checkpoints of some models, without pruning."""
        self.wait()
        snapshots = (self._snapshot(state, members[number], number) for number in numbers)
        write_all(self._write, snapshots, together=is_copied(state))

    def save_beside(
        self, state: TrainingState, members: Sequence[Member], done: Callable[[RunDirectoryError | None], None]
    ) -> None:
        """Copy the models' present state, and write their checkpoints while training continues.

        `done` is called in the writing thread, with the error if writing failed. `wait` returns after it.
        """
        self.wait()
        copies = [self._snapshot(state, member, number, copied_to_cpu) for number, member in enumerate(members)]
        self._pending = self._thread.submit(self._write_beside, copies, done)

    def _write_beside(self, copies: list[StateCopy], done: Callable[[RunDirectoryError | None], None]) -> None:
        try:
            for snapshot in copies:
                self._write(snapshot)
            self._all_saved([snapshot.member for snapshot in copies], copies[0].step)
        except RunDirectoryError as error:
            done(error)
        else:
            done(None)

    def _all_saved(self, members: Iterable[Member], step: int) -> None:
        self._saved_step = step
        # Pruned when all are saved: a group needs one step for all.
        for member in members:
            # Older ones may be needed for a rollback.
            before = member.rollback.step if member.rollback is not None else 0
            prune_of_member(member, self._keep, before=before)

    def _snapshot(
        self,
        state: TrainingState,
        member: Member,
        number: int,
        keep: Callable[[dict[str, Tensor]], Mapping[str, Tensor | Block]] = lambda tensors: tensors,
    ) -> StateCopy:
        about = {"model": member.job.model, "seed": member.job.seed, "environment": dict(self._environment)}
        about |= {} if self.table is None else {"table": self.table}
        about |= member.rollback_record()
        module = state.module_state(number)
        member.note_unkept(module, state.progress[number])
        record = {**state.record(number, module), **about}
        return StateCopy(member=member, step=state.step, record=record, tensors=keep(state.tensors(number, module)))

    def _write(self, snapshot: StateCopy) -> None:
        begun, member = time.perf_counter(), snapshot.member
        with member.in_place():
            path = checkpoints.save_checkpoint(
                member.checkpoints, snapshot.step, snapshot.tensors, snapshot.record, member.job.attempt
            )
            seconds = time.perf_counter() - begun
            member.report.checkpoint(path, epoch=snapshot.record["epoch"], step=snapshot.step, seconds=seconds)


def prune_of_member(member: Member, keep: int, *, before: int = 0) -> None:
    """As `checkpoint.prune`; files that cannot be deleted are reported, which is not a failure."""
    warn = partial(member.warn_once, "disk")
    try:
        checkpoints.prune(member.checkpoints, keep, before=before, warn=warn, fence=member.fence)
    except RunDirectoryError as error:
        warn(str(error))


def is_copied(state: TrainingState) -> bool:
    """Whether the checkpoints of `state` are small enough to copy; larger ones would need too much memory."""
    return state.bytes() <= COPIED_BYTES


def write_all(write: Callable[[_Item], None], items: Iterable[_Item], *, together: bool) -> None:
    """Call `write` for each of `items`, several at once where `together`; the first error is raised after the last."""
    if not together:
        for item in items:
            write(item)
        return
    with ThreadPoolExecutor(_FILES_AT_ONCE, "write") as threads:
        for done in [threads.submit(write, item) for item in items]:
            done.result()


def copied_to_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Block]:
    """Copies on the CPU that training does not change; writing them uses neither torch nor its threads."""
    return {name: Block.copy_of(tensor) for name, tensor in tensors.items()}
