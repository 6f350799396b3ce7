"""The command line: `forge-tui [COMMAND] [OPTIONS]`.

Each command lies in a module of its own that is imported when the command is given, so that none pays for another.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from forge_tui.errors import ForgeError
from forge_tui.safe_io.descriptors import open_closed
from forge_tui.safe_io.printing import fit_streams_to_locale, say


@dataclass(frozen=True, slots=True)
class Command:
    """A word of the command line: what it does, and the module with its `configure` and `run`."""

    name: str
    help: str
    module: str


COMMANDS = (
    Command("demo", "train three planners, seconds long, at once", "start"),
    Command("attach", "open the UI on a run that is there, live or finished", "ui"),
    Command("runs", "the known runs", "look"),
    Command("status", "one run's models", "look"),
    Command("report", "summary of a run as text, JSON, CSV or files for TensorBoard", "report"),
    Command("best", "the path of a run's best model, by validation where there is one", "best"),
    Command("ensemble", "a run's models beside their mean prediction, on its validation part", "ensemble"),
    Command("sample", "text from a run's language model", "sample"),
    Command("logs", "the output of a run or of one model", "look"),
    Command("wait", "block until a run ends, with its exit status", "look"),
    Command("stop", "stop a live run after a checkpoint", "steer"),
    Command("kill", "end a live run at once", "steer"),
    Command("pause", "hold a live run: its memory is kept, the CPU is free", "steer"),
    Command("continue", "go on with a paused run", "steer"),
    Command("cancel", "end one model of a live run", "steer"),
    Command("retry", "train a failed or cancelled model of a live run again", "steer"),
    Command("workers", "change how many workers a live run asks for", "steer"),
    Command("resume", "go on with a run that was stopped or has died", "start"),
    Command("plan", "how long the configured run would take here in each way, measured", "plan"),
    Command("bench", "what parallel training gains on this machine: both ways in full", "bench"),
    Command("rm", "delete a run", "steer"),
    Command("new", "write a starting point for a model and data of your own", "new"),
    Command("doctor", "what this machine has and allows", "inform"),
    Command("config", "every setting, its value and where it came from", "inform"),
)
_START = Command("", "start a run", "start")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    open_closed()
    arguments = list(sys.argv[1:] if argv is None else argv)
    fit_streams_to_locale(os.environ)
    commands = {command.name: command for command in COMMANDS}
    try:
        if arguments[:1] == ["attach"] and len(arguments) <= 2 and not arguments[-1].startswith("-"):
            return _attach(arguments[1:])
        if arguments and not arguments[0].startswith("-"):
            command = commands.get(arguments[0])
            if command is None:
                return _unknown(arguments[0])
            return _run(command, arguments[1:])
        if not arguments:
            # The most common start builds no flags and reads no settings before the first paint.
            from forge_tui.cli import ui

            ui.require_terminal()
            return ui.open_ui()
        return _run(_START, arguments)
    except ForgeError as error:
        say(f"forge-tui: {error}")
        return error.exit_status
    except BrokenPipeError:
        # The reader of a pipe has left (`| head`): nothing more to say, and nothing for the exit to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


def _run(command: Command, arguments: list[str]) -> int:
    import argparse

    from forge_tui.cli.parser import Parser

    module = importlib.import_module(f"forge_tui.cli.{command.module}")
    parser = Parser(
        prog=f"forge-tui {command.name}".strip(),
        description=command.help[:1].upper() + command.help[1:] + ".",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if command is _START:
        from forge_tui import __version__

        parser.usage = "forge-tui [--no-ui] [OPTIONS] | forge-tui COMMAND [OPTIONS]"
        parser.description = "Train several PyTorch models, in series or in parallel, without overloading the machine."
        parser.epilog = _command_list()
        parser.add_argument("--version", action="version", version=f"forge-tui {__version__}")
    module.configure(parser, command.name)
    return module.run(parser.parse_args(arguments), command.name)


def _attach(run: list[str]) -> int:
    """`attach` without options is the second most common start, and builds no flags either."""
    from forge_tui.cli import ui

    ui.require_terminal()
    from forge_tui import client

    return ui.open_ui(run=client.attach(*run))


def _command_list() -> str:
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name.ljust(width)}  {command.help}" for command in COMMANDS]
    return "\n".join(["commands (`forge-tui COMMAND --help` tells more):", *lines])


def _unknown(word: str) -> int:
    import difflib

    near = difflib.get_close_matches(word, [command.name for command in COMMANDS], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "; `forge-tui --help` lists the commands"
    say(f"forge-tui: there is no command {word!r}{hint}")
    return 2
