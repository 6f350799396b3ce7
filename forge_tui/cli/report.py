"""`report RUN`: a run's models, metrics and failures as text, JSON or CSV."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
from typing import Any

from forge_tui.progress.snapshot import Snapshot

_EPOCH_COLUMNS = (
    "model", "index", "attempt", "epoch", "step", "time", "loss", "best_loss", "validation_loss",
    "validation_accuracy", "validation_perplexity", "learning_rate", "seconds", "steps_per_second",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory or run id; without it the newest")
    parser.add_argument("--format", choices=("text", "json", "csv"), help="csv: every epoch of every model")
    parser.add_argument("--json", action="store_true", help="the same as --format json")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write the report to stdout."""
    from forge_tui import session

    form = arguments.format or ("json" if arguments.json else "text")
    with session.attach(arguments.run) as attached:
        snapshot = attached.snapshot()
        match form:
            case "csv":
                _write_csv(attached, snapshot)
            case "json":
                print(json.dumps(_report(attached, snapshot)))
            case _:
                sys.stdout.write(_text(attached, snapshot))
    return 0


def _report(attached: Any, snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot, the epochs of every model, and the events that explain what happened."""
    from forge_tui.progress.events import finite

    record = snapshot.to_record()
    for model, state in zip(record["models"], snapshot.models, strict=True):
        model["history"] = [finite(dataclasses.asdict(epoch)) for epoch in attached.history(state.index)]
    record["events"] = _remarkable(attached)
    return record


def _remarkable(attached: Any) -> list[dict[str, Any]]:
    wanted = ("worker_limit", "decision", "resource_warning", "model_failed", "model_retried", "command")
    since, found = 0, []
    while events := attached.events(since):
        found += [record for _, record in events if record["event"] in wanted]
        since = events[-1][0]
    return found


def _write_csv(attached: Any, snapshot: Snapshot) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(_EPOCH_COLUMNS)
    for model in snapshot.models:
        for epoch in attached.history(model.index):
            values = (getattr(epoch, column) for column in _EPOCH_COLUMNS)
            writer.writerow(["" if value is None else value for value in values])


def _text(attached: Any, snapshot: Snapshot) -> str:
    from forge_tui.headless import result_table
    from forge_tui.text import duration, printable

    info = snapshot.run
    lines = [
        f"Run {info.run}: {snapshot.state}" + (f" ({info.reason})" if info.reason else ""),
        f"{len(snapshot.models)} {info.model_type} models, {info.epochs} epochs, {info.mode}, policy {info.policy}",
        f"Workers {info.workers} of {info.requested}, {info.threads} thread{'s' if info.threads > 1 else ''} each: "
        f"{info.limit_reason}",
        f"Took {duration(snapshot.elapsed_seconds)}; directory {info.path}",
        "",
    ]
    text = "\n".join(lines) + "\n" + result_table(snapshot)
    for record in _remarkable(attached):
        if record["event"] == "model_failed":
            failed = f"{record['model']} attempt {record['attempt']} failed ({record['kind']}): {record['message']}"
            text += printable(failed) + "\n"
        elif record["event"] == "resource_warning":
            text += printable(f"warning: {record['message']}") + "\n"
    return text
