"""The manual page `forge-tui.1`, from the parsers that print `--help`; `docs/generate.py` writes and checks it."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from forge_tui import __version__
from forge_tui.cli import overview
from forge_tui.cli.command_table import GROUPS, START, CommandWord, parser_of
from forge_tui.settings import schema
from forge_tui.settings.keys import Key
from forge_tui.settings.problems import shown

_WIDTH = 78
_SPECIAL = {"\\": r"\e", "-": r"\-", "~": r"\(ti", "^": r"\(ha", "`": r"\(ga", "'": r"\(aq", '"': r"\(dq"}


def manual_page(start: Path) -> str:
    """The page in the man macros of roff. `start`: the page of the guide that has the table of exit statuses."""
    settings = schema.keys_by_name()
    parts = [
        r".\" Generated from the code by docs/generate.py: do not edit.",
        f'.TH FORGE\\-TUI 1 "" "forge\\-tui {roff(__version__)}" "User Commands"',
        *_section("NAME", [r"forge\-tui \- train several PyTorch models in series or in parallel"]),
        *_section("SYNOPSIS", _synopsis()),
        *_section("DESCRIPTION", _description()),
        *_section("EXAMPLES", _entries((roff(command), roff(words)) for command, words in overview.EXAMPLES)),
        *_section("COMMANDS", _commands(settings)),
        *_section("OPTIONS", _options(parser_of(START), settings)),
        *_section("SETTINGS", _settings()),
        *_section("EXIT STATUS", _entries(map(_both, exit_statuses(start.read_text(encoding="utf-8"))))),
        *_section("ENVIRONMENT", _entries(_ENVIRONMENT)),
        *_section("FILES", _entries(_FILES)),
        *_section("SEE ALSO", [r".BR nvidia\-smi (1),", r".BR systemd\-run (1),", r".BR tmux (1)"]),
    ]
    return "\n".join(_wrapped(parts)) + "\n"


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    """The lines, long ones divided as roff joins them again; requests and tags are one line each."""
    before = ""
    for line in lines:
        if line.startswith(".") or before == ".TP":
            yield line
        else:
            for part in textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False):
                yield f"\\&{part}" if part.startswith((".", "'")) else part
        before = line


def roff(text: str) -> str:
    """`text` as roff shows it: every character itself, hyphens as typed, and no line that begins with a request."""
    words = " ".join(text.split())
    found = "".join(_SPECIAL.get(char, char if char.isascii() else f"\\[u{ord(char):04X}]") for char in words)
    return f"\\&{found}" if found.startswith((".", "\\(aq")) else found


def exit_statuses(page: str) -> list[tuple[str, str]]:
    """The statuses and their meanings from the table of a page. Raises `ValueError` if it has none."""
    match = re.search(r"^\| exit status \| means \|\n\|[ -|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    if match is None:
        raise ValueError("the page has no table `exit status | means`")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in match[1].splitlines()]
    return [(status, meaning) for status, meaning in rows]


_ENVIRONMENT = (
    (r"\fBFORGE_TUI_\fITABLE\fB_\|_\fIKEY\fR", r"A setting, such as FORGE_TUI_TRAINING_\|_EPOCHS; flags are stronger."),
    (r"\fBFORGE_TUI_STATE\fR", "The directory of the list of runs and of the keys of trusted code."),
    (r"\fBNO_COLOR\fR", "Set: no colours."),
)
_FILES = (
    (r"\fIruns/DATE\-TIME\-TYPE/\fR", r"A run: \fIrun.db\fR, \fIsettings.toml\fR, models, checkpoints and logs."),
    (
        r"\fI$XDG_CONFIG_HOME/forge\-tui/settings.toml\fR",
        r"Your own defaults for every run; \fBforge\-tui config\fR names the path.",
    ),
    (
        r"\fI$XDG_CONFIG_DIRS/forge\-tui/settings.toml\fR",
        "Defaults and locked settings for all users of this machine.",
    ),
)


def _both(pair: tuple[str, str]) -> tuple[str, str]:
    return roff(pair[0]), roff(pair[1])


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return [f'.SH "{title}"', *lines]


def _entries(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Indented paragraphs, each with its tag. The arguments are roff already."""
    for tag, words in entries:
        yield ".TP"
        yield tag if tag.startswith(("\\f", ".")) else f"\\fB{tag}\\fR"
        yield words


def _synopsis() -> Iterator[str]:
    yield r".B forge\-tui"
    yield r"[\fIOPTIONS\fR] [\fB\-\-\fR \fIPROGRAM ARGUMENTS\fR]"
    yield ".br"
    yield r".B forge\-tui"
    yield r"\fICOMMAND\fR [\fIOPTIONS\fR]"


def _description() -> Iterator[str]:
    yield r"Trains PyTorch models, several at once where the machine allows it, and says why where it does not."
    yield r"A run is a directory: it continues without a terminal, and is watched, stopped and resumed from any."
    yield ".PP"
    yield r"\fIRUN\fR is a run directory, a run id (the directory\(aqs name) or the beginning of one; where it stands"
    yield r"in brackets it may be left out: the newest run. \fIMODEL\fR is a model\(aqs name or its number."


def _commands(settings: Mapping[str, Key]) -> Iterator[str]:
    for title, commands in GROUPS.items():
        yield f".SS {roff(title)}"
        for command in commands:
            yield from _command(command, settings)


def _command(command: CommandWord, settings: Mapping[str, Key]) -> Iterator[str]:
    parser = parser_of(command)
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    given = [_argument(action) for action in actions if not action.option_strings]
    takes_settings = any(action.dest in settings for action in actions)
    own = [action for action in actions if action.dest not in settings]
    if any(action.option_strings for action in own):
        given.append(r"[\fIOPTIONS\fR]")
    if takes_settings:
        given.append(r"[\fISETTINGS\fR]")
    yield ".TP"
    yield " ".join([f"\\fB{roff(command.name)}\\fR", *given])
    yield f"{roff(command.help[:1].upper() + command.help[1:])}."
    if own:
        yield ".RS"
        yield from _entries(map(_described, own))
        yield ".RE"


def _options(parser: argparse.ArgumentParser, settings: Mapping[str, Key]) -> Iterator[str]:
    yield r"Of \fBforge\-tui\fR without a command. Every setting is an option, too."
    own = (action for action in parser._actions if action.dest not in settings)
    yield from _entries(map(_described, own))


def _settings() -> Iterator[str]:
    yield r"Options of a start, keys of a settings file, and variables of the environment."
    table = None
    for key in schema.fields_of():
        if key.table != table:
            table = key.table
            yield f".SS [{roff(table)}]"
        facts = [key.allowed or key.type_words, *([] if key.default is None else [f"default {shown(key.default)}"])]
        yield from _entries([(f"\\fB{roff(key.flag)}\\fR", f"{roff(key.help)} ({roff('; '.join(facts))})")])


def _described(action: argparse.Action) -> tuple[str, str]:
    words = roff(action.help or "")
    if not action.option_strings:
        return _argument(action), words
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    names = ", ".join(f"\\fB{roff(name)}\\fR" for name in action.option_strings)
    return (names if action.nargs == 0 else f"{names} \\fI{roff(str(value))}\\fR"), words


def _argument(action: argparse.Action) -> str:
    name = f"\\fI{roff(str(action.metavar or action.dest))}\\fR"
    return f"[{name}]" if action.nargs in ("?", "*") else name
