"""A line for every event, whatever of it is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from forge_tui.protocol.record_fields import _OF_EACH_EVENT, _OF_EVENTS, check_event
from forge_tui.text.event_lines import is_notable, log_line

VALUES: tuple[Any, ...] = (None, 1, "x", {}, [])


def record(event: str, *, is_known: bool) -> dict[str, Any]:
    """An event with all that it has to have; the fields that may be unknown are so unless `is_known`."""
    fields: dict[str, Any] = {"v": 1, "event": event, "time": 0.0, "run": "r"}
    for name in _OF_EACH_EVENT[event]:
        allowed = [value for value in VALUES if name not in _OF_EVENTS or _OF_EVENTS[name](value)]
        fields[name] = next((value for value in allowed if value is not None), None) if is_known else allowed[0]
    check_event(fields)
    return fields


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("event", _OF_EACH_EVENT)
def test_an_event_has_a_line_whatever_of_it_is_unknown(event: str, is_known: bool) -> None:
    found = log_line(record(event, is_known=is_known))
    is_notable(record(event, is_known=is_known))
    if event in ("epoch_finished", "checkpoint_saved"):
        return
    assert found is not None
    line, severity = found
    assert severity in ("information", "warning", "error")
    assert "\n" not in line


def test_a_model_of_a_training_function_starts_without_a_number_of_parameters() -> None:
    started = {"event": "model_started", "time": 0.0, "model": "cognate_gan_1", "parameters": None, "seed": 4,
               "threads": 2, "device": "cpu"}  # fmt: skip
    line, _ = log_line(started) or ("", "")
    assert line.partition(" ")[2] == "cognate_gan_1 started: seed 4, 2 threads on cpu"
    place = {"host": "server", "device": "GPU-5f2a6c1e-0000-0000-0000-000000000000"}
    line, _ = log_line({**started, "device": "cuda", "place": place}) or ("", "")
    assert line.endswith("2 threads on cuda (GPU-5f2a6c1e)")
    line, _ = log_line({**started, "device": "cuda", "place": place, "worker": "server:4711"}) or ("", "")
    assert line.endswith("2 threads on cuda (GPU-5f2a6c1e), node server")
    line, _ = log_line({**started, "parameters": 1500, "threads": 1}) or ("", "")
    assert line.partition(" ")[2] == "cognate_gan_1 started: 1,500 parameters, seed 4, 1 thread on cpu"
