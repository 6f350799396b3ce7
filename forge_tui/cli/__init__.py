"""The command line: `forge-tui [COMMAND] [OPTIONS]`.

Each command's module is imported only when the command is given, which keeps the start fast.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forge_tui.cli.command_table import COMMANDS, START, CommandWord, parser_of, unknown_command
from forge_tui.errors import ForgeError, UsageError
from forge_tui.safe_io.descriptors import open_closed
from forge_tui.safe_io.printing import fit_streams_to_locale, say

if TYPE_CHECKING:
    import argparse

# The command line is cut at the first of these: what follows is the user's own command.
_CUT = "--"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    open_closed()
    arguments = list(sys.argv[1:] if argv is None else argv)
    fit_streams_to_locale(os.environ)
    commands = {command.name: command for command in COMMANDS}
    try:
        if "_ARGCOMPLETE" in os.environ:
            from forge_tui.cli import completion

            return completion.complete_line()
        if arguments[:1] in (["--help"], ["-h"]):
            from forge_tui.cli import overview

            return overview.show()
        if arguments[:1] == ["attach"] and len(arguments) <= 2 and not arguments[-1].startswith("-"):
            return _attach(arguments[1:])
        if arguments and not arguments[0].startswith("-"):
            command = commands.get(arguments[0])
            if command is None:
                return unknown_command(arguments[0])
            return _run(command, arguments[1:])
        if not arguments:
            # The most common start builds no flags and reads no settings before the first paint.
            from forge_tui.cli import ui

            ui.require_terminal()
            return ui.open_ui()
        return _run(START, arguments)
    except ForgeError as error:
        say(f"forge-tui: {error}")
        return error.exit_status
    except BrokenPipeError:
        # The reader of the pipe has closed it (`| head`): write nothing more, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


def _run(command: CommandWord, arguments: list[str]) -> int:
    own = None
    if command.has_settings and _CUT in arguments:
        place = arguments.index(_CUT)
        arguments, own = arguments[:place], arguments[place + 1 :]
    module = importlib.import_module(f"forge_tui.cli.{command.module}")
    namespace = parser_of(command).parse_args(arguments)
    if own is not None:
        _take_command(namespace, own)
    status: int = module.run(namespace, command.name)
    return status


def _take_command(namespace: argparse.Namespace, own: list[str]) -> None:
    """Set `run.command` to what follows `--`. Raises `UsageError`."""
    if not own:
        raise UsageError("after -- comes the command that trains each model, as in -- python train.py --seed {seed}")
    if "run.command" in namespace:
        raise UsageError("the command is given twice, by --command and after --; give it once")
    setattr(namespace, "run.command", own)


def _attach(run: list[str]) -> int:
    """`attach` without options is the second most common start, and builds no flags either."""
    from forge_tui.cli import ui

    ui.require_terminal()
    from forge_tui import client

    return ui.open_ui(run=client.attach(*run))
