"""The commands: help, module and parser of each."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forge_tui.safe_io.printing import say

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True, slots=True)
class CommandWord:
    """A command: its help, and the module with its `configure` and `run`."""

    name: str
    help: str
    module: str

    @property
    def has_settings(self) -> bool:
        """Whether it takes the settings of a run, and so a command after `--`."""
        return self.name in ("", "demo", "plan", "profile", "bench", "config")


GROUPS: dict[str, tuple[CommandWord, ...]] = {
    "Train": (
        CommandWord("demo", "train three small models at once, in seconds", "start"),
        CommandWord("resume", "continue a run that was stopped or has died", "start"),
        CommandWord("plan", "measure how long the configured run would take, in each mode", "plan"),
        CommandWord("profile", "measure where the time of a training step goes, with hints", "profile"),
        CommandWord("bench", "measure what parallel training gains on this machine", "bench"),
        CommandWord("data", "show what is in a table, and what becomes of each column", "data"),
        CommandWord("new", "write an example of custom code: a model and its data", "new"),
    ),
    "Watch": (
        CommandWord("attach", "open the UI on a run, live or finished", "ui"),
        CommandWord("serve", "open the UI in a browser, on this machine or through ssh", "serve"),
        CommandWord("runs", "list the known runs", "look"),
        CommandWord("status", "show the models of one run", "look"),
        CommandWord("logs", "show the output of a run or of one model", "look"),
        CommandWord("prometheus", "show runs to Prometheus: text, a file or a port", "prometheus"),
        CommandWord("wait", "block until a run ends, with its exit status", "look"),
        CommandWord("label", "give a run a name and a note, or print them", "label"),
    ),
    "Control": (
        CommandWord("stop", "stop a live run after a checkpoint", "steer"),
        CommandWord("kill", "end a live run at once", "steer"),
        CommandWord("pause", "pause a live run: memory is kept, the CPU is free", "steer"),
        CommandWord("continue", "continue a paused run", "steer"),
        CommandWord("cancel", "end one model of a live run", "steer"),
        CommandWord("retry", "train a failed or cancelled model of a live run again", "steer"),
        CommandWord("workers", "change the number of workers of a live run", "steer"),
        CommandWord("rm", "delete runs", "steer"),
    ),
    "Results": (
        CommandWord("report", "report a run as text, JSON, CSV, a page or pictures", "report"),
        CommandWord("export", "keep a run in TensorBoard, MLflow, W&B or CSV", "export"),
        CommandWord("best", "print the path of a run's best model", "best"),
        CommandWord("ensemble", "compare a run's models with their mean prediction", "ensemble"),
        CommandWord("predict", "predict for the rows of a table with a run's model", "predict"),
        CommandWord("sample", "generate text with a run's language model", "sample"),
    ),
    "Machine and settings": (
        CommandWord("doctor", "show this machine's resources and limits", "inform"),
        CommandWord("config", "show every setting, its value and its source", "inform"),
        CommandWord("completion", "print completion code for bash, zsh or fish", "completion"),
        CommandWord("help", "show the help of a command: forge-tui help COMMAND", "overview"),
    ),
}
COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)
START = CommandWord("", "start a run", "start")


def parser_of(command: CommandWord) -> argparse.ArgumentParser:
    """The parser of a command and its options; the parser of `START` has every setting."""
    import argparse

    from forge_tui.cli.parser import Parser

    parser = Parser(
        prog=f"forge-tui {command.name}".strip(),
        description=f"{command.help[:1].upper()}{command.help[1:]}.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module = importlib.import_module(f"forge_tui.cli.{command.module}")
    if command is START:
        from forge_tui import __version__

        parser.usage = "forge-tui [--no-ui] [OPTIONS] [-- PROGRAM ARGUMENTS] | forge-tui COMMAND [OPTIONS]"
        parser.description = "Train several PyTorch models, in series or in parallel, without overloading the machine."
        parser.epilog = "`forge-tui --help` lists the commands."
        parser.add_argument("--help-all", action="help", help="show this help message and exit")
        parser.add_argument("-V", "--version", action="version", version=f"forge-tui {__version__}")
    module.configure(parser, command.name)
    return parser


def unknown_command(word: str) -> int:
    """Report an unknown command with a suggestion; returns the exit status."""
    import difflib

    near = difflib.get_close_matches(word, [command.name for command in COMMANDS], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "; `forge-tui --help` lists the commands"
    say(f"forge-tui: there is no command {word!r}{hint}")
    return 2
