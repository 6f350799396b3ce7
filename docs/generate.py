"""Write the pages of the reference that follow from the code: `python docs/generate.py` (`--check`: only compare).

Settings come from the schema, commands and options from the parsers of the command line (so does the manual page), the
Python interface from `forge_tui.__all__` and its docstrings, events and tables of `run.db` from their definitions.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from manual_page import manual_page

import forge_tui
from forge_tui.cli.command_table import GROUPS, START, CommandWord, parser_of
from forge_tui.protocol import transitions
from forge_tui.protocol.events import KINDS, Event, ModelEvent
from forge_tui.runs import tables as database
from forge_tui.settings import schema
from forge_tui.settings.keys import Key
from forge_tui.settings.problems import shown

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Generated from the code by docs/generate.py: do not edit. -->"
_LONGEST_DEFAULT = 60


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    reference = DOCS / "reference"
    files, architecture = reference / "files.md", DOCS / "architecture.md"
    return {
        reference / "settings.md": settings_page(),
        reference / "commands.md": commands_page(),
        reference / "python.md": python_page(),
        DOCS / "forge-tui.1": manual_page(DOCS / "guide" / "start.md"),
        files: filled(files, {"tables": tables_of_run_db, "events": events}),
        architecture: filled(architecture, {"run_states": run_states, "model_states": model_states}),
    }


def filled(page: Path, parts: dict[str, Callable[[], str]]) -> str:
    """The text of `page` with what lies between `<!-- generated: NAME -->` and `<!-- end -->` made anew."""

    def part(match: re.Match[str]) -> str:
        return f"<!-- generated: {match[1]} -->\n{parts[match[1]]()}\n<!-- end -->"

    return re.sub(
        r"<!-- generated: (\w+) -->\n.*?<!-- end -->", part, page.read_text(encoding="utf-8"), flags=re.DOTALL
    )


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown; `|` within cells is escaped."""
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- settings


def settings_page() -> str:
    """Every setting: key, flag, default, what is allowed, and its meaning."""
    keys: dict[str, list[Key]] = {}
    for key in schema.fields_of():
        keys.setdefault(key.table, []).append(key)
    parts = [
        f"# Settings\n\n{NOTE}",
        "Each key of a settings file is also a flag, an environment variable (`training.epochs` is\n"
        "`FORGE_TUI_TRAINING__EPOCHS`) and an assignment (`--set training.epochs=5`). Where several give a value,\n"
        "[the last source wins](../guide/start.md#where-a-value-comes-from). Numbers may be typed as `1e6`, `100k` or\n"
        "`2M` in flags and in the form; settings files are TOML.",
    ]
    for name, members in keys.items():
        rows = [
            (
                f"`{key.key}`",
                f"`{key.flag}`" + (f", `--no-{key.flag[2:]}`" if key.is_switch and key.default is True else ""),
                "—" if key.default is None else f"`{shown(key.default)}`",
                key.allowed or key.type_words,
                key.help,
            )
            for key in members
        ]
        head = ("key", "flag", "default", "allowed", "meaning")
        parts.append(f"## [{name}]\n\n{sentence(members[0].owner.__doc__)}\n\n{table(head, rows)}")
    parts.append(
        "## [model]\n\nArguments of [custom code](../guide/custom-code.md): any name that one of the functions has a\n"
        "parameter for. Flag: `--set model.NAME=VALUE`."
    )
    parts.append(
        "## [sweep]\n\nLists of values by key: one configuration is trained for each\n"
        "[combination](../guide/sweeps.md). Flag: `--sweep KEY=VALUE,VALUE`."
    )
    parts.append(
        "## [search.space]\n\nA range or a list of values by key, for the settings that a\n"
        "[search](../guide/sweeps.md#search) varies. Flag: `--space KEY=LOW..HIGH[:log][:int]` or `--space KEY=A,B,C`."
    )
    return "\n\n".join(parts) + "\n"


def sentence(text: str | None) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


# --- commands


def commands_page() -> str:
    """Every command with its arguments and options."""
    settings = schema.keys_by_name()
    parts = [
        f"# Commands\n\n{NOTE}",
        "RUN is a run directory, a run id (the directory's name) or the beginning of one; where it stands in brackets\n"
        "it may be left out: the newest run. MODEL is a model's name or its number. `forge-tui --help` lists the\n"
        "commands, `forge-tui help COMMAND` the options of one.",
        f"## forge-tui\n\nStart a run: in the UI, or with `--no-ui` in batch mode.\n\n{_command(START, settings)}",
    ]
    for title, commands in GROUPS.items():
        parts.append(f"## {title}")
        for command in commands:
            heading = f"### forge-tui {command.name}"
            parts.append(f"{heading}\n\n{command.help[:1].upper()}{command.help[1:]}.\n\n{_command(command, settings)}")
    return "\n\n".join(parts) + "\n"


def _command(command: CommandWord, settings: Mapping[str, Key]) -> str:
    parser = parser_of(command)
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    own = [action for action in actions if action.dest not in settings]
    usage = ["forge-tui", *filter(None, [command.name]), *(_shown(action) for action in actions if _positional(action))]
    if len(own) < len(actions):
        usage.append("[SETTINGS]")
    if any(not _positional(action) for action in own):
        usage.append("[OPTIONS]")
    rows = [(", ".join(f"`{name}`" for name in _names(action)), action.help or "") for action in own]
    parts = [f"```\n{' '.join(usage)}\n```"]
    if rows:
        parts.append(table(("argument or option", "what"), rows))
    if len(own) < len(actions):
        parts.append("It also takes every [setting](settings.md) as a flag.")
    if parser.epilog and command is not START:
        parts.append(f"```\n{parser.epilog}\n```")
    return "\n\n".join(parts)


def _positional(action: argparse.Action) -> bool:
    return not action.option_strings


def _shown(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest)
    return f"[{name}]" if action.nargs in ("?", "*") else name


def _names(action: argparse.Action) -> list[str]:
    if _positional(action):
        return [str(action.metavar or action.dest)]
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return [name if action.nargs == 0 else f"{name} {value}" for name in action.option_strings]


# --- files


def tables_of_run_db() -> str:
    """The tables of `run.db` and their columns."""
    rows = [
        (f"`{name}`", ", ".join(f"`{column}`" for column in columns))
        for name, columns in database.columns(database.VERSION).items()
    ]
    return f"The format is {database.VERSION}.\n\n{table(('table', 'columns'), rows)}"


def events() -> str:
    """The events and their fields."""
    common = {field.name for kind in (Event, ModelEvent) for field in dataclasses.fields(kind)}
    rows = []
    for name, kind in KINDS.items():
        own = [field.name for field in dataclasses.fields(kind) if field.name not in common]
        fields = [_RENAMED.get(field, field) for field in own]
        rows.append((f"`{name}`", "model" if issubclass(kind, ModelEvent) else "run", _listed(fields)))
    return table(("event", "of a", "further fields"), rows)


_RENAMED = {"sender": "from"}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# --- the state machines


def run_states() -> str:
    """What a run may become, and which commands it follows."""
    rows = []
    for state, following in transitions.RUN.items():
        followed = [name for name, states in transitions.COMMANDS.items() if state in states]
        rows.append((f"`{state}`", _listed(sorted(following)), _listed(followed) or "—"))
    return table(("state", "may become", "commands"), rows)


def model_states() -> str:
    """What a model may become, and which commands it follows."""
    rows = []
    for phase, following in transitions.MODEL.items():
        followed = [name for name, phases in transitions.MODEL_COMMANDS.items() if phase in phases]
        rows.append((f"`{phase}`", _listed(sorted(following)), _listed(followed) or "—"))
    return table(("phase", "may become", "commands"), rows)


# --- the Python interface


def python_page() -> str:
    """Every public name of `forge_tui`, with its signature and docstring."""
    names = [name for name in vars(forge_tui)["__all__"] if not name.startswith("_")]
    parts = [
        f"# Python interface\n\n{NOTE}",
        "The public names of `forge_tui`; names with an underscore may change. `import forge_tui` imports neither\n"
        "torch nor textual. [From Python](../guide/python.md) shows how they are used.",
        *(_documented(name, getattr(forge_tui, name)) for name in names),
    ]
    return "\n\n".join(parts) + "\n"


def _documented(name: str, value: Any) -> str:
    if not inspect.isclass(value):
        return "\n\n".join((f"## {name}", _code(f"{name}{_signature(value)}"), _docstring(value)))
    parts = [f"## {name}", _docstring(value)]
    if issubclass(value, enum.Enum):
        parts.append("Members: " + ", ".join(f"`{member.name}`" for member in value) + ".")
    elif name in _SETTINGS:
        parts.append(f"Fields: [settings](settings.md{_SETTINGS[name]}).")
    elif dataclasses.is_dataclass(value):
        parts.append(table(("field", "type"), _fields(value)))
    else:
        parts.append(_code(f"{name}{_signature(value)}"))
    for member, kind, found in _members(value):
        shown_as = f"{name}.{member}" if kind == "property" else f"{name}.{member}{_signature(found)}"
        parts.append(f"### {name}.{member}\n\n{_code(shown_as)}\n\n{_docstring(found)}")
    return "\n\n".join(parts)


_SETTINGS = {
    "Settings": "", "TrainingConfig": "#training", "RunSettings": "#run", "DataSettings": "#data",
    "ResourceSettings": "#resources", "EngineSettings": "#engine", "SearchSettings": "#search", "UiSettings": "#ui",
}  # fmt: skip


def _fields(value: Any) -> list[tuple[str, ...]]:
    return [(f"`{field.name}`", f"`{_type(field.type)}`") for field in dataclasses.fields(value)]


def _members(owner: type) -> Iterator[tuple[str, str, Any]]:
    """Public methods and properties with a docstring, as (name, kind, function), in the order of the source."""
    for name, found in vars(owner).items():
        if name.startswith("_"):
            continue
        if isinstance(found, property) and found.fget is not None:
            yield name, "property", found.fget
        elif hasattr(found, "func"):  # a cached property
            yield name, "property", found.func
        elif isinstance(found, (staticmethod, classmethod)):
            yield name, "method", found.__func__
        elif inspect.isfunction(found):
            yield name, "method", found


def _signature(value: Any) -> str:
    found = inspect.signature(value)
    parameters = [_plain(one) for one in found.parameters.values() if one.name not in ("self", "cls")]
    returns = found.empty if inspect.isclass(value) else _Shown(found.return_annotation)
    return str(found.replace(parameters=parameters, return_annotation=returns))


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    if inspect.isfunction(parameter.default):
        parameter = parameter.replace(default=_Shown("…"))
    if parameter.annotation is parameter.empty:
        return parameter
    return parameter.replace(annotation=_Shown(parameter.annotation))


class _Shown:
    """An annotation that is shown as it was written, without quotes."""

    def __init__(self, annotation: Any) -> None:
        self._text = _type(annotation)

    def __repr__(self) -> str:
        return self._text


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _docstring(value: Any) -> str:
    text = value.__doc__ or ""
    if not text:
        raise SystemExit(f"{value} is public and has no docstring")
    return inspect.cleandoc(text)


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description="Write the generated pages of the reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    arguments = parser.parse_args()
    old = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in old:
        print(f"{'out of date' if arguments.check else 'written'}: {path.relative_to(DOCS.parent)}")
        if not arguments.check:
            path.write_text(pages()[path], encoding="utf-8")
    return 1 if arguments.check and old else 0


if __name__ == "__main__":
    sys.exit(main())
