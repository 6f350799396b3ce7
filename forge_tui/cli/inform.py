"""Show the machine and the settings: `doctor` and `config`."""

from __future__ import annotations

import argparse
import json
import sys

from forge_tui.safe_io.printing import answers


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command."""
    if name == "config":
        from forge_tui.settings.flags import add_flags, add_source_flags

        add_source_flags(parser)
        add_flags(parser)
    else:
        parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Carry out one command."""
    return _doctor(arguments.json) if name == "doctor" else _config(arguments)


def _doctor(as_json: bool) -> int:
    from forge_tui.resources.doctor import doctor_text
    from forge_tui.resources.manager import ResourceManager
    from forge_tui.resources.policy import DefaultThresholds
    from forge_tui.tui.options import read_resources

    report = ResourceManager(settings=DefaultThresholds(**read_resources())).generate_resource_report()
    answers().write(json.dumps(report) + "\n" if as_json else doctor_text(report))
    return 0


def _config(arguments: argparse.Namespace) -> int:
    from forge_tui.settings.config_rows import config_rows
    from forge_tui.settings.flags import resolve_arguments
    from forge_tui.text.figures import table

    resolved = resolve_arguments(arguments)
    rows = config_rows(resolved)
    if resolved.settings.run.json:
        print(json.dumps([{"key": key, "value": value, "source": source} for key, value, source in rows]))
    else:
        sys.stdout.write(table(("KEY", "VALUE", "FROM"), rows))
    return 0
