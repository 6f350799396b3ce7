"""`report RUN`: one run as text, JSON or CSV; with `--against OTHER` two or more side by side."""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory or run id; without it the newest")
    parser.add_argument("--format", choices=("text", "json", "csv"), help="csv: every epoch of every model")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--against",
        metavar="OTHER",
        action="append",
        help="compare with another run: settings that differ, final metrics side by side (up to three times)",
    )


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write the report to stdout."""
    from forge_tui import session
    from forge_tui.report import ReportFormat, write_report

    form: ReportFormat = arguments.format or ("json" if arguments.json else "text")
    if arguments.against:
        return _compare([arguments.run, *arguments.against], form)
    with session.attach(arguments.run) as attached:
        write_report(attached, form, sys.stdout)
        for problem in attached.snapshot().problems:
            print(f"warning: {problem}", file=sys.stderr)
    return 0


def _compare(which: list[str | None], form: str) -> int:
    """Write a comparison to stdout; 4 where a run or its settings cannot be read."""
    from forge_tui import session
    from forge_tui.comparison import MOST_RUNS, Comparer, write_comparison
    from forge_tui.errors import RunDirectoryError, UsageError

    if form == "csv":
        raise UsageError("a comparison has no CSV; use --format text or --format json")
    if len(which) > MOST_RUNS:
        raise UsageError(f"at most {MOST_RUNS} runs are compared, not {len(which)}")
    paths = [session.find(run) for run in which]
    if len(set(paths)) < len(paths):
        raise UsageError("a run is compared with itself; name another one with --against")
    with Comparer(paths) as comparer:
        comparison = comparer.look()
    write_comparison(comparison, "json" if form == "json" else "text", sys.stdout)
    unreadable = any(run.problem or run.settings_problem for run in comparison.runs)
    return RunDirectoryError.exit_status if unreadable else 0
