"""`ensemble RUN`: a run's models beside their mean prediction, on the run's validation split."""

from __future__ import annotations

import argparse
import json

from forge_tui.safe_io.printing import answers, say


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory, name or run id; without it the newest")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--trust-code", action="store_true", help="run custom code of a run that you have not started")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Print each completed model's validation metrics, their mean, and the ensemble's."""
    from forge_tui import client
    from forge_tui.reports.ensemble import measure_ensemble

    with client.attach(arguments.run) as attached:
        found = measure_ensemble(attached, arguments.trust_code)
    answers().write(json.dumps(found.to_record()) + "\n" if arguments.json else found.to_text())
    if changed := found.changed():
        name, difference = changed[0]
        models = f"{name} and {len(changed) - 1} more" if len(changed) > 1 else name
        say(
            f"warning: the data has changed since the training of {models} ({difference}): these figures are not from "
            "the same validation split"
        )
    return 0
