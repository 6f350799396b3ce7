"""`ensemble RUN`: a run's models beside their mean prediction, on the run's validation part."""

from __future__ import annotations

import argparse
import json

from forge_tui.printing import answers, say


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory or run id; without it the newest")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Print each completed model's validation figures, their mean, and those of the ensemble."""
    from forge_tui import session
    from forge_tui.ensemble import measure_ensemble

    with session.attach(arguments.run) as attached:
        found = measure_ensemble(attached)
    answers().write(json.dumps(found.to_record()) + "\n" if arguments.json else found.to_text())
    if changed := found.changed():
        others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        say(f"warning: {changed[0]}{others} had another validation loss when trained: the dataset has changed since")
    return 0
