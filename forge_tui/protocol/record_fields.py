"""Checks on the fields of records read from a file: type and range of each value.

Records of a run directory from elsewhere may contain anything, with valid checksums. Checked values can be computed
with, compared and shown; unchecked ones fail later, in some screen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from forge_tui.protocol.metrics import is_metric_table
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import LARGEST_INTEGER

LATEST_MOMENT = 253_402_214_400.0
"""The last day of year 9999 (UNIX seconds): no later time can be shown as a date."""
MOST_MODELS = 1_000_000
_MOMENTS = ("time", "started", "finished", "created", "resumed")
LONGEST_SECONDS = 1e22
"""Longer than any possible run; the sum over all models does not overflow."""
DURATIONS = ("seconds", "epoch_seconds", "eta_seconds", "active_since", "seconds_before", "run_seconds")
_COUNTS = ("models", "workers", "threads", "fuse", "index")
_TREND_MOST, _GROUP_MOST = 1_024, 4_096
# Of percent and bytes.
_LARGEST_SAMPLE = 1e18
_SHOWN = 60

Check = Callable[[Any], bool]


class BadField(ValueError):
    """A record has a value that is never written; the message names the field and the value."""


def check_record(record: Mapping[str, Any], of: type) -> None:
    """Raise `BadField` if a value of a dataclass's record has the wrong type or range for its field.

    Numbers are finite; whole ones are from 0 to 2⁶³ − 1; times can be shown as dates. Unknown keys are ignored: a
    newer version may have added them.
    """
    rules = _rules(of)
    for name, value in record.items():
        rule = rules.get(name)
        if rule is not None and not rule(value):
            raise _bad(name, value)


def check_event(record: Mapping[str, Any]) -> None:
    """As `check_record`, for an event of any kind: required fields are there, and a name means the same in all kinds.

    Repeats the fields of `protocol.events`, which a viewer does not import at its start.
    """
    event = record.get("event")
    if type(event) is not str:
        raise _bad("event", event)
    for name in ("time", *_OF_EACH_EVENT.get(event, ())):
        if name not in record:
            raise BadField(f"an event {event} without its {named(name)} is never written")
    for name, value in record.items():
        rule = _OF_EVENTS.get(name)
        if rule is not None and not rule(value):
            raise _bad(name, value)


def check_sample(record: Mapping[str, Any]) -> None:
    """As `check_record`, for a resource sample: numbers by name, NaN and infinity as None."""
    if not _is_moment(record.get("time")):
        raise _bad("time", record.get("time"))
    for name, value in record.items():
        if type(value) in (int, float) and not abs(value) <= _LARGEST_SAMPLE:
            raise _bad(name, value)


def is_whole(value: Any, most: int = LARGEST_INTEGER) -> bool:
    """Whether it is a whole number from 0 to `most`."""
    return type(value) is int and 0 <= value <= most


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    kind = type(value)
    return (kind is float and value - value == 0.0) or (kind is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER)


def _bad(name: str, value: Any) -> BadField:
    from forge_tui.settings.problems import shown  # here: it is seldom needed

    text = shown(value)
    return BadField(f"{named(name)} = {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'} is never written")


def _is_moment(value: Any) -> bool:
    return (type(value) is float or type(value) is int) and 0 <= value <= LATEST_MOMENT


def _is_duration(value: Any) -> bool:
    return (type(value) is float or type(value) is int) and -LONGEST_SECONDS <= value <= LONGEST_SECONDS


def _is_share(value: Any) -> bool:
    return (type(value) is float or type(value) is int) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_MODELS


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_table(value: Any) -> bool:
    return type(value) is dict


def _is_table_of_texts(value: Any) -> bool:
    return type(value) is dict and all(type(item) is str for item in value.values())


def _are_texts(value: Any) -> bool:
    return type(value) in (list, tuple) and 0 < len(value) <= _GROUP_MOST and all(type(item) is str for item in value)


def _are_arguments(value: Any) -> bool:
    return type(value) in (list, tuple) and all(type(item) is str for item in value)


def _are_numbers(value: Any) -> bool:
    return (
        type(value) in (list, tuple)
        and len(value) <= _TREND_MOST
        and all(item is None or is_number(item) for item in value)
    )


def _are_tables(value: Any) -> bool:
    return type(value) in (list, tuple) and all(type(item) is dict for item in value)


_BY_TYPE: dict[str, Check] = {
    "int": is_whole,
    "int | str": lambda value: is_whole(value) or _is_text(value),
    "float": is_number,
    "str": _is_text,
    "bool": _is_flag,
    "dict[str, Any]": _is_table,
    "dict[str, str]": _is_table_of_texts,
    "Metrics": is_metric_table,
    "tuple[dict[str, Any], ...]": _are_tables,
    "tuple[str, ...]": _are_texts,
    "tuple[float | None, ...]": _are_numbers,
    "tuple[Failure, ...]": _are_tables,
    "TrainingPhase": _is_text,
    "RunState": _is_text,
    "Rollback": _is_table,
    "Path": _is_text,
}
_BY_NAME: dict[str, Check] = {
    **dict.fromkeys(_MOMENTS, _is_moment),
    **dict.fromkeys(DURATIONS, _is_duration),
    **dict.fromkeys(_COUNTS, _is_count),
    "command": _are_arguments,
}


def _or_none(rule: Check) -> Check:
    return lambda value: value is None or rule(value)


@cache
def _rules(of: type) -> dict[str, Check]:
    """The rule of each field of a dataclass, by its annotation and its name."""
    found = {}
    for field in dataclasses.fields(of):
        annotation = str(field.type)
        kind = annotation.removesuffix(" | None")
        rule = _BY_NAME.get(field.name) or _BY_TYPE[kind]
        found[field.name] = rule if kind == annotation else _or_none(rule)
    return found


_WHOLE_IN_EVENTS = (
    "attempt", "bytes", "epoch", "from_epoch", "requested", "seed", "step", "trial",
)  # fmt: skip
_NUMBERS_IN_EVENTS = (
    "best_loss", "diverged_epoch", "learning_rate", "learning_rate_factor", "loss", "loss_to_beat",
    "rollbacks", "steps_per_second", "threshold", "to_step", "validation_loss",
    "validation_metric", "validation_perplexity", "value",
)  # fmt: skip
_TEXTS_IN_EVENTS = (
    "device", "from", "hint", "id", "kind", "limited_by", "message", "mode", "model", "name", "outcome", "output",
    "path", "phase", "policy", "previous", "reason", "run", "settings", "state", "status", "traceback",
)  # fmt: skip
_MODEL = ("model", "index", "attempt")
_OF_EACH_EVENT: dict[str, tuple[str, ...]] = {
    "run_started": ("mode", "models", "epochs", "settings", "output"),
    "run_state_changed": ("state",),
    "phase_changed": (*_MODEL, "phase", "previous"),
    "worker_limit": ("requested", "workers", "policy", "reason", "limited_by"),
    "model_proposed": (*_MODEL, "trial", "combination"),
    "model_valued": (*_MODEL, "epoch", "value"),
    "model_started": (*_MODEL, "config", "seed", "parameters", "worker", "device", "threads"),
    "epoch_finished": (*_MODEL, "epoch", "epochs", "step", "best_loss"),
    "checkpoint_saved": (*_MODEL, "epoch", "step", "path", "bytes", "seconds"),
    "model_completed": (*_MODEL, "path"),
    "model_failed": (*_MODEL, "kind", "message"),
    "model_retried": (*_MODEL, "from_epoch", "reason"),
    "resource_warning": ("kind", "message"),
    "decision": ("kind", "reason"),
    "command": ("id", "name", "arguments", "from", "outcome"),
    "run_finished": ("status", "seconds", "models"),
}
# All may be None except those that are always counted or sorted by.
_OF_EVENTS: dict[str, Check] = {
    **dict.fromkeys(_WHOLE_IN_EVENTS, is_whole),
    **dict.fromkeys(_NUMBERS_IN_EVENTS, _or_none(is_number)),
    **dict.fromkeys(DURATIONS, _or_none(_is_duration)),
    **dict.fromkeys(_TEXTS_IN_EVENTS, _or_none(_is_text)),
    "arguments": _is_table,
    "baseline": is_metric_table,
    "combination": _is_table,
    "epochs": _or_none(is_whole),
    "config": _is_table,
    "group": _or_none(_are_texts),
    "index": _is_count,
    "metrics": is_metric_table,
    "parameters": _or_none(is_whole),
    "models": lambda value: _is_count(value) or _are_tables(value),
    "threads": _is_count,
    "time": _is_moment,
    "validation_accuracy": _or_none(_is_share),
    "place": _or_none(_is_table),
    "worker": _or_none(_BY_TYPE["int | str"]),
    "workers": _is_count,
}
