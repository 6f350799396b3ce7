"""Measure what parallel training gains on this machine: `bench`."""

from __future__ import annotations

import argparse
import json
import sys

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import say
from forge_tui.settings.amounts import whole_number


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options: what is compared, and all settings."""
    from forge_tui.settings.flags import add_flags, add_source_flags

    group = parser.add_argument_group("what to compare")
    group.add_argument("--sizes", type=_numbers, metavar="N,N", help="model sizes; default: the configured size")
    group.add_argument("--counts", type=_numbers, metavar="N,N", help="numbers of models; default: the configured one")
    group.add_argument("--rounds", type=_number, default=1, metavar="N", help="runs of each; the table has medians")
    add_source_flags(parser)
    add_flags(parser)


def run(arguments: argparse.Namespace, name: str) -> int:
    """Train both ways, and print the table."""
    from forge_tui.reports.bench import bench_table, compare_modes
    from forge_tui.settings.flags import resolve_arguments
    from forge_tui.settings.replacement import refuse_replacement

    settings = resolve_arguments(arguments).settings
    refuse_replacement(settings, "bench", "it compares ways to train built-in models")
    if settings.sweep:
        raise UsageError(
            f"bench measures one configuration; leave out the sweep of {', '.join(settings.sweep)}, or time it by "
            "starting it"
        )
    sizes = arguments.sizes or [settings.training.model_size]
    counts = arguments.counts or [settings.run.models]
    if settings.search.method != "none":
        raise UsageError("bench measures one configuration; leave out --search")
    found = compare_modes(settings, sizes, counts, arguments.rounds, _tell)
    if settings.run.json:
        print(json.dumps([one.to_record() for one in found]))
    else:
        sys.stdout.write(bench_table(found))
    return 0


def _tell(words: str) -> None:
    say(words)


def _number(text: str) -> int:
    number = whole_number(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _numbers(text: str) -> list[int]:
    return [_number(part) for part in text.split(",")]
