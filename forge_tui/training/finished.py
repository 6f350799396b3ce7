"""Finished models: writes their files once, and reports those that an earlier attempt could not report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.epoch_record import EpochRecord
from forge_tui.protocol.job import Job
from forge_tui.protocol.metrics import Metrics
from forge_tui.runs.inside import refuse_links
from forge_tui.settings.own_names import OWN
from forge_tui.training import model_file
from forge_tui.training.checkpoint_writer import is_copied, prune_of_member, write_all
from forge_tui.training.final_figures import FinalMeasurement
from forge_tui.training.member import Member
from forge_tui.training.metadata import model_record
from forge_tui.training.module_state import ModuleState
from forge_tui.training.patience import why_stopped
from forge_tui.training.record_file import model_paths, read_model_record
from forge_tui.training.state import TrainingState

_MAY_CHANGE = frozenset({("training", "epochs"), ("data", "validation"), *(("training", name) for name in OWN)})


def read_finished(member: Member, is_complete: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any] | None:
    """The content of NAME.json if an earlier attempt wrote the whole model, whose missing epochs are then reported.

    `is_complete`: whether that content is of a model that needs no more training. None if it is missing or incomplete.
    """
    try:
        for path in model_paths(member.stem):
            refuse_links(path, path.parent)
        record = read_model_record(member.stem)
        if record["seed"] != member.job.seed or not _has_same_values(record, member.job) or not is_complete(record):
            return None
        if record["sha256"] is not None:
            model_file.read_weights(member.stem, record["sha256"])
        history = [EpochRecord.from_record(item) for item in record["history"]]
    except (RunDirectoryError, KeyError, TypeError):
        return None
    member.report.unrecorded(history, member.training.length)
    return record


def _has_same_values(record: Mapping[str, Any], job: Job) -> bool:
    """Whether a finished model was trained with the values that it has now.

    A search may have proposed others for it, if its runner died before it recorded the first proposal. Not compared is
    what a resume may change: the number of epochs, and names of data and code.
    """
    found = record.get("settings")
    if not isinstance(found, Mapping):
        return True
    names = [(table, name) for table in ("training", "data", "model") for name in job.settings[table]]
    return all(
        found.get(table, {}).get(name, job.settings[table][name]) == job.settings[table][name]
        for table, name in names
        if (table, name) not in _MAY_CHANGE
    )


def is_finished(member: Member) -> bool:
    """Whether an earlier attempt wrote the complete model, whose missing reports are then sent."""

    def is_complete(record: Mapping[str, Any]) -> bool:
        # One that stopped early would also do so with more epochs.
        has_ended = record.get("stopped_early") or record["epochs_completed"] >= member.training.length
        return bool(has_ended) and record["sha256"] is not None

    record = read_finished(member, is_complete)
    if record is None:
        return False
    _report_completed(member, record)
    return True


def complete(
    state: TrainingState,
    members: Sequence[Member],
    finished: Iterable[int],
    final: FinalMeasurement,
    group: list[str] | None,
) -> None:
    """Write those of the `finished` models (by number) that are not written yet. Raises `RunDirectoryError`."""

    def item(number: int) -> tuple[Member, dict[str, Tensor], dict[str, Any], ModuleState]:
        member, module = members[number], state.final_module(number)
        member.note_unkept(module, state.progress[number])
        record = model_record(
            member.job, member.training, state, number, final.dataset, group, member.learning_rate_factor,
            figures=final.of(member, state, number),
        )  # fmt: skip
        return member, state.final_weights(number), record, module

    items = (item(number) for number in finished if not members[number].report.is_done)
    write_all(_complete, items, together=is_copied(state))


def _complete(item: tuple[Member, dict[str, Tensor], dict[str, Any], ModuleState]) -> None:
    member, weights, record, module = item
    with member.in_place():
        member.make_directory()
        result = member.checkpoints, member.job.attempt
        model_file.write_result(*result, member.job.model, weights, record, module)
        member.publish()
        prune_of_member(member, 1)
    _report_completed(member, record)


def _report_completed(member: Member, record: Mapping[str, Any]) -> None:
    """Report completion with `record`, the content of NAME.json."""
    reason, best_epoch = None, record.get("best_epoch")
    if record.get("stopped_early"):
        reason = why_stopped(member.training, record["epochs_completed"], best_epoch)
    member.report.completed(
        member.stem,
        metrics=_metrics(record),
        baseline=record.get("baseline") or {},
        seconds=record["seconds"],
        exact=record["exact"],
        best_epoch=best_epoch,
        parameters=record.get("parameters"),
        reason=reason,
    )


def _metrics(record: Mapping[str, Any]) -> Metrics:
    """The metrics in NAME.json, also of older formats."""
    if "metrics" in record:
        return dict(record["metrics"])
    validation = {f"validation_{name}": value for name, value in record["validation"].items() if value is not None}
    return {"loss": record["loss"], **validation}
