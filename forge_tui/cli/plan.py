"""Measure the fastest way to carry out the configured run here: `plan`."""

from __future__ import annotations

import argparse
import json
import sys

from forge_tui.safe_io.printing import answer


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options: all settings, as for a start."""
    from forge_tui.settings.flags import add_flags, add_source_flags

    add_source_flags(parser)
    add_flags(parser)


def run(arguments: argparse.Namespace, name: str) -> int:
    """Measure, and print the ways, the best first."""
    from forge_tui import client
    from forge_tui.reports.plan_table import plan_table
    from forge_tui.settings.flags import resolve_arguments

    settings = resolve_arguments(arguments).settings
    plan = client.plan(settings)
    if settings.run.json:
        print(json.dumps(plan.to_record()))
        return 0
    sys.stdout.write(plan_table(plan))
    if plan.warning:
        answer(f"warning: {plan.warning}")
    if plan.limit:
        answer(f"workers: {plan.limit}")
    answer(f"best: {plan.best.way.flags}  ({plan.reason}; measured in {plan.measured_seconds:.1f} s)")
    return 0
