"""Events in words, one line each: for the log pane and for batch mode."""

from __future__ import annotations

import time
from typing import Any

from forge_tui.safe_io.printing import printable
from forge_tui.text.device_names import device_in_words
from forge_tui.text.figures import epochs_text, number

# They come with every checkpoint; notable changes have an event of their own.
_ROUTINE = ("initializing", "training", "checkpointing", "saving", "completed")


# Events to report to a user who does not watch, beside the progress.
_NOTABLE = ("model_failed", "model_retried", "resource_warning", "command")
_NOTABLE_DECISIONS = ("hold", "shrink", "grow", "requeue", "prune")


def is_notable(record: dict[str, Any]) -> bool:
    """Whether the event is out of the ordinary."""
    if record.get("event") == "decision":
        return record.get("kind") in _NOTABLE_DECISIONS
    return record.get("event") in _NOTABLE


def log_line(record: dict[str, Any]) -> tuple[str, str] | None:
    """(line, severity): `information`, `warning` or `error`; None for an event without a line."""
    if record.get("event") == "phase_changed" and record.get("phase") in _ROUTINE and not record.get("reason"):
        return None
    if record.get("event") == "checkpoint_saved":  # several a second of small models; the model's screen lists them
        return None
    text, severity = _words(record)
    clock = time.strftime("%H:%M:%S", time.localtime(record.get("time", 0.0)))
    return printable(f"{clock} {text}"), severity


def _words(record: dict[str, Any]) -> tuple[str, str]:
    get = record.get
    model = get("model", "")
    match get("event"):
        case "run_started":
            return f"run started: {get('models')} models{epochs_text(get('epochs'))}, {get('mode')}", "information"
        case "run_state_changed":
            return f"run {get('state')}" + (f": {get('reason')}" if get("reason") else ""), "information"
        case "phase_changed":
            return f"{model} {get('phase')}" + (f": {get('reason')}" if get("reason") else ""), "information"
        case "worker_limit":
            return f"workers {get('workers')} of {get('requested')}: {get('reason')}", "information"
        case "model_proposed":
            from forge_tui.text.config_tables import combination_text  # a viewer's start needs none of it

            return f"{model}, trial {get('trial')}: {combination_text(get('combination', {}))}", "information"
        case "model_valued":
            return f"{model} value {number(get('value'))}, of epoch {get('epoch')}", "information"
        case "model_started":
            threads = f"{get('threads')} thread" + ("s" if get("threads", 1) > 1 else "")
            device = device_in_words(str(get("device")), get("place"))
            parameters = get("parameters")  # unknown for a training function
            size = "" if parameters is None else f"{parameters:,} parameters, "
            place = get("place")
            # On this machine a worker's name is its process id.
            node = f", node {place.get('host')}" if isinstance(get("worker"), str) and isinstance(place, dict) else ""
            return f"{model} started: {size}seed {get('seed')}, {threads} on {device}{node}", "information"
        case "model_completed":
            loss = "" if get("loss") is None else f"loss {number(get('loss'))}, "
            return f"{model} completed: {loss}{get('path')}", "information"
        case "model_failed":
            again = "; it is tried again" if get("will_retry") else ""
            message = str(get("message")).rstrip(".")
            return f"{model} failed ({get('kind')}): {message}{again}", "error"
        case "model_retried":
            return f"{model} attempt {get('attempt')} from epoch {get('from_epoch')}", "warning"
        case "resource_warning":
            return f"warning: {get('message')}", "warning"
        case "decision":
            return f"{get('kind')}: {get('reason')}", "information"
        case "command":
            reason = f": {get('reason')}" if get("reason") else ""
            severity = "warning" if get("outcome") in ("refused", "failed") else "information"
            return f"{get('name')} from {get('from')} {get('outcome')}{reason}", severity
        case "run_finished":
            return f"run {get('status')} after {number(get('seconds'), 3)} s", "information"
    return str(get("event")), "information"
