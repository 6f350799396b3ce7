"""`report RUN`: a run's models, metrics and failures as text, JSON or CSV."""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory or run id; without it the newest")
    parser.add_argument("--format", choices=("text", "json", "csv"), help="csv: every epoch of every model")
    parser.add_argument("--json", action="store_true", help="the same as --format json")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write the report to stdout."""
    from forge_tui import session
    from forge_tui.report import ReportFormat, write_report

    form: ReportFormat = arguments.format or ("json" if arguments.json else "text")
    with session.attach(arguments.run) as attached:
        write_report(attached, form, sys.stdout)
    return 0
