"""`report RUN`: one run as text, data, a page or pictures; with `--against OTHER` two or more side by side."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from forge_tui.safe_io.printing import answer, answer_bytes, answers, say, shell_word

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.reports.run_report import ReportFormat


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory, name or run id; without it the newest")
    parser.add_argument(
        "--format",
        choices=("text", "json", "csv", "html", "svg", "png", "tensorboard"),
        help="csv: every epoch of every model; html: a page with curves, sweep, mistakes, resources and failures; "
        "svg, png (extra plots): the curves; tensorboard: as `export --to tensorboard`",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="the file to write, which is replaced; - is standard output. Without it text, json and csv go to standard "
        "output, html, svg and png to a new file here",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        action="append",
        default=[],
        help="of svg and png: a metric to draw, named as in csv (may be given several times)",
    )
    parser.add_argument(
        "--against",
        metavar="OTHER",
        action="append",
        help="compare with another run: settings that differ, final metrics side by side (up to three times)",
    )


def run(arguments: argparse.Namespace, name: str) -> int:
    """Write the report; for a new file or directory its path goes to stdout."""
    from forge_tui import client

    form: ReportFormat | Literal["tensorboard"] = arguments.format or ("json" if arguments.json else "text")
    _require_fitting(arguments, form)
    if arguments.against:
        return _compare([arguments.run, *arguments.against], form, arguments.output)
    with client.attach(arguments.run) as attached:
        if form == "tensorboard":
            from forge_tui.exporters.tensorboard import write_event_files

            path = write_event_files(attached, Path())
            answer(str(path))
            say(f"`tensorboard --logdir {shell_word(str(path))}` shows them")
        else:
            _write(attached, form, arguments.output, arguments.metric)
        for problem in attached.snapshot().problems:
            say(f"warning: {problem}")
    return 0


def _require_fitting(arguments: argparse.Namespace, form: str) -> None:
    """Raise `UsageError` for an option that means nothing with the others."""
    from forge_tui.errors import UsageError

    if arguments.metric and form not in ("svg", "png"):
        raise UsageError("--metric chooses the curves of a picture; add --format svg or --format png")
    if arguments.output is not None and form == "tensorboard":
        raise UsageError(
            "--output names a file, and event files are a directory; use `export --to tensorboard --output DIR`"
        )
    if form == "png" and arguments.output == "-" and sys.stdout.isatty():
        raise UsageError("--output -: a picture in PNG is not for a terminal; name a file, or redirect the output")


def _write(attached: Run, form: ReportFormat, output: str | None, metrics: Sequence[str]) -> None:
    from forge_tui.reports.run_report import export_report, report_bytes, write_report

    if output is None and form in ("html", "svg", "png"):
        answer(str(export_report(attached, form, Path(), metrics).absolute()))
    elif output not in (None, "-"):
        _replace(Path(str(output)), report_bytes(attached, form, metrics))
    elif form == "svg" or form == "png":
        answer_bytes(report_bytes(attached, form, metrics))
    else:
        write_report(attached, form, answers())


def _replace(path: Path, content: bytes) -> None:
    """Write a file that is whole or as it was."""
    from forge_tui.safe_io.whole_files import write_atomically

    path = path.expanduser()
    write_atomically(path, content, 0o666)
    answer(str(path))


def _compare(which: list[str | None], form: str, output: str | None) -> int:
    """Write a comparison; the exit status is 4 if a run or its settings cannot be read."""
    from forge_tui import client
    from forge_tui.errors import RunDirectoryError, UsageError
    from forge_tui.reports.comparison import MOST_RUNS, Comparer, write_comparison

    if form not in ("text", "json"):
        kind = {"csv": "CSV", "tensorboard": "event files", "html": "page"}.get(form, "picture")
        raise UsageError(f"a comparison has no {kind}; use --format text or --format json")
    if len(which) > MOST_RUNS:
        raise UsageError(f"at most {MOST_RUNS} runs are compared, not {len(which)}")
    paths = [client.find(run) for run in which]
    if len(set(paths)) < len(paths):
        raise UsageError("a run is compared with itself; name another one with --against")
    with Comparer(paths) as comparer:
        comparison = comparer.look()
    as_form: Literal["text", "json"] = "json" if form == "json" else "text"
    if output in (None, "-"):
        write_comparison(comparison, as_form, answers())
    else:
        content = io.StringIO()
        write_comparison(comparison, as_form, content)
        _replace(Path(str(output)), content.getvalue().encode("utf-8", "replace"))
    unreadable = any(run.problem or run.settings_problem for run in comparison.runs)
    return RunDirectoryError.exit_status if unreadable else 0
