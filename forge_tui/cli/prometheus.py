"""`prometheus`: the state of runs for Prometheus, on stdout, in a file for node_exporter, or over HTTP."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from forge_tui.errors import RunDirectoryError, UsageError
from forge_tui.safe_io.printing import answer, answers, named, say

if TYPE_CHECKING:
    from forge_tui.exporters.prometheus_runs import Collector

_RUNS, _MODELS = 20, 100


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="*",
        help="run directory, name or run id; without any the live runs and the newest others",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--textfile",
        metavar="FILE",
        help="write a file, whole or not at all, for the textfile collector of node_exporter; its name ends in .prom",
    )
    where.add_argument(
        "--listen",
        metavar="PORT",
        type=int,
        help="answer http://127.0.0.1:PORT/metrics until a signal; 0: any free port",
    )
    parser.add_argument(
        "--runs", metavar="N", type=int, default=_RUNS, help=f"runs to show when none is named, by default {_RUNS}"
    )
    parser.add_argument(
        "--models",
        metavar="N",
        type=int,
        default=_MODELS,
        help=f"models of a run with metrics of their own, by default {_MODELS}; 0: none",
    )


def run(arguments: argparse.Namespace, name: str) -> int:
    """Show the metrics once, or until a signal. The exit status is 4 if a run that was named cannot be read."""
    textfile = _checked(arguments)
    from forge_tui import client
    from forge_tui.exporters.prometheus_runs import Collector

    paths = list(dict.fromkeys(client.find(one) for one in arguments.run))
    collector = Collector(paths, arguments.runs, arguments.models)
    try:
        if arguments.listen is not None:
            _listen(arguments.listen, collector)
            return 0
        if textfile is not None:
            from forge_tui.safe_io.whole_files import write_atomically

            write_atomically(textfile, collector.collect().encode(), 0o644)
        else:
            answers().write(collector.collect())
    finally:
        collector.close()
    return RunDirectoryError.exit_status if paths and collector.unreadable else 0


def _checked(arguments: argparse.Namespace) -> Path | None:
    """The path of the text file. Raises `UsageError` for values that mean nothing."""
    if arguments.runs < 1:
        raise UsageError(f"--runs {arguments.runs}: must be at least 1")
    if arguments.models < 0:
        raise UsageError(f"--models {arguments.models}: must be at least 0")
    if arguments.textfile is None:
        return None
    path = Path(arguments.textfile).expanduser()
    if path.suffix != ".prom":
        raise UsageError(f"--textfile {named(path)}: node_exporter reads only files whose names end in .prom")
    return path


def _listen(port: int, collector: Collector) -> None:
    """Answer until SIGINT or SIGTERM."""
    from forge_tui.exporters.prometheus_server import MetricsServer

    server, ended = MetricsServer(port, collector.collect), threading.Event()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        answer(server.address)
        sys.stdout.flush()
        say("every user of this machine can read it there; Ctrl+C ends it")
        server.serve_until(ended)
    finally:
        server.close()
