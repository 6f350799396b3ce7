"""Measure where the time of a step goes: `profile`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import named, say
from forge_tui.settings.amounts import real_number

_SECONDS = 3.0
_WHY = (
    "it measures loops in this program's own workers, and a command is a program of its own: use its profiler, such as "
    "torch.profiler"
)


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options: how long, where the trace goes, and all settings."""
    from forge_tui.settings.flags import add_flags, add_source_flags

    group = parser.add_argument_group("what to measure")
    group.add_argument(
        "--seconds", type=_positive, default=_SECONDS, metavar="S", help="how long each worker measures (default 3)"
    )
    group.add_argument("--trace", metavar="FILE", help="write phases and operations over time, for ui.perfetto.dev")
    add_source_flags(parser)
    add_flags(parser)


def run(arguments: argparse.Namespace, name: str) -> int:
    """Measure, and print tables and hints."""
    from forge_tui.reports.profile import measure
    from forge_tui.reports.profile_hints import hints
    from forge_tui.reports.profile_table import profile_text
    from forge_tui.settings.flags import resolve_arguments
    from forge_tui.settings.replacement import refuse_replacement

    settings = resolve_arguments(arguments).settings
    if settings.run.command:
        refuse_replacement(settings, "profile", _WHY)
    if settings.engine.name != "local":
        raise UsageError(f"profile measures on this machine; leave out --engine {settings.engine.name}")
    place = None if arguments.trace is None else Path(arguments.trace).expanduser()
    if place is not None and not place.parent.is_dir():
        raise UsageError(f"--trace {named(arguments.trace)}: there is no directory {named(place.parent)}")
    found = measure(settings, arguments.seconds, say)
    advice = hints(found.profiles, found.conditions)
    if place is not None:
        from forge_tui.reports.profile_trace import trace_json
        from forge_tui.safe_io.whole_files import write_atomically

        write_atomically(place, trace_json(found.workers).encode(), 0o666)
        say(f"{named(place)}: open it in https://ui.perfetto.dev or chrome://tracing")
    if settings.run.json:
        workers = [worker.to_record() for worker in found.profiles]
        print(json.dumps({"workers": workers, "hints": [hint.to_record() for hint in advice]}))
    else:
        sys.stdout.write(profile_text(found.profiles, advice))
    return 0


def _positive(text: str) -> float:
    number = real_number(text)
    if not 0 < number <= 3_600:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 3,600")
    return number
