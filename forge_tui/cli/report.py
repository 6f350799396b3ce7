"""`report RUN`: one run as text, JSON, CSV or event files; with `--against OTHER` two or more side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from forge_tui.safe_io.printing import answer, answers, say, shell_word


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory or run id; without it the newest")
    parser.add_argument(
        "--format",
        choices=("text", "json", "csv", "tensorboard"),
        help="csv: every epoch of every model; tensorboard: the same as event files, in a new directory here",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--against",
        metavar="OTHER",
        action="append",
        help="compare with another run: settings that differ, final metrics side by side (up to three times)",
    )


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write the report to stdout; for TensorBoard the path of the new directory."""
    from forge_tui import client
    from forge_tui.reports.run_report import FORMATS, write_report

    form = arguments.format or ("json" if arguments.json else "text")
    if arguments.against:
        return _compare([arguments.run, *arguments.against], form)
    with client.attach(arguments.run) as attached:
        if form in FORMATS:
            write_report(attached, form, answers())
        else:
            from forge_tui.exporters.tensorboard import write_event_files

            path = write_event_files(attached, Path())
            answer(str(path))
            say(f"`tensorboard --logdir {shell_word(str(path))}` shows them")
        for problem in attached.snapshot().problems:
            say(f"warning: {problem}")
    return 0


def _compare(which: list[str | None], form: str) -> int:
    """Write a comparison to stdout; the exit status is 4 if a run or its settings cannot be read."""
    from forge_tui import client
    from forge_tui.errors import RunDirectoryError, UsageError
    from forge_tui.reports.comparison import MOST_RUNS, Comparer, write_comparison

    if form not in ("text", "json"):
        kind = {"csv": "CSV", "tensorboard": "event files"}[form]
        raise UsageError(f"a comparison has no {kind}; use --format text or --format json")
    if len(which) > MOST_RUNS:
        raise UsageError(f"at most {MOST_RUNS} runs are compared, not {len(which)}")
    paths = [client.find(run) for run in which]
    if len(set(paths)) < len(paths):
        raise UsageError("a run is compared with itself; name another one with --against")
    with Comparer(paths) as comparer:
        comparison = comparer.look()
    write_comparison(comparison, "json" if form == "json" else "text", answers())
    unreadable = any(run.problem or run.settings_problem for run in comparison.runs)
    return RunDirectoryError.exit_status if unreadable else 0
