"""The ways to start a run: `forge-tui`, `demo` and `resume`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from forge_tui.errors import UsageError

_DEMO = {"training.epochs": "60", "training.training_mode": "parallel"}


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one way to start."""
    if name == "resume":
        parser.add_argument("run", metavar="RUN", help="run directory or run id")
        parser.add_argument("--epochs", type=int, metavar="N", help="train a finished run further, to N epochs")
        parser.add_argument("--no-ui", action="store_true", help="batch mode (what happens without a terminal)")
        parser.add_argument("--json", action="store_true", help="JSON lines on stdout")
        parser.add_argument("--detach", action="store_true", help="return when the run has begun")
        return
    from forge_tui.settings.flags import add_flags, add_source_flags

    parser.add_argument("--no-ui", action="store_true", help="batch mode: progress on stderr, results on stdout")
    parser.add_argument("--detach", action="store_true", help="return when the run has begun, and print its directory")
    parser.add_argument("--check", action="store_true", help="validate everything, train nothing")
    parser.add_argument(
        "--overwrite", action="store_true", help="move an earlier run's files in the output directory to previous-N/"
    )
    add_source_flags(parser)
    add_flags(parser)


def run(arguments: argparse.Namespace, name: str) -> int:
    """Start or resume, then watch in batch mode."""
    from forge_tui import session

    if name == "resume":
        started = session.resume(arguments.run, epochs=arguments.epochs, detach=True)
        return _watch(started, detach=arguments.detach, json_lines=arguments.json)

    settings = _settings(arguments, demo=name == "demo")
    if arguments.check:
        return _check(settings)
    if name != "demo" and not (arguments.no_ui or arguments.detach):
        raise UsageError("give --no-ui to train in batch mode, or a command: `forge-tui --help` lists them")
    started = session.start(settings, detach=True, previous="move" if arguments.overwrite else "refuse")
    return _watch(started, detach=arguments.detach, json_lines=settings.run.json)


def _settings(arguments: argparse.Namespace, *, demo: bool) -> Any:
    from forge_tui.settings.flags import flag_values
    from forge_tui.settings.layers import resolve

    given = flag_values(arguments)
    return resolve(
        preset=arguments.preset,
        settings_file=arguments.settings,
        flags={**_DEMO, **given} if demo else given,
        assignments=arguments.set,
    ).settings


def _watch(started: Any, *, detach: bool, json_lines: bool) -> int:
    from forge_tui import headless

    with started:
        if detach:
            if json_lines:
                print(json.dumps({"run": started.id, "output": str(started.path)}))
            else:
                print(started.path)
            return 0
        return headless.watch(started, json_lines=json_lines)


def _check(settings: Any) -> int:
    from forge_tui import session

    reply = session.check(settings)
    found, limit = reply.found or {}, reply.limit or {}
    if settings.run.json:
        print(json.dumps({"check": "passed", "found": found, "limit": limit}))
        return 0
    print(
        f"Everything is in order: {settings.run.models} {settings.training.model_type} models of "
        f"{found['parameters']:,} parameters, {found['train_samples']:,} training and "
        f"{found['validation_samples']:,} validation samples ({found['task']})."
    )
    print(f"Workers at once: {limit['workers']} of {limit['requested']} ({limit['reason']})", file=sys.stderr)
    return 0
