"""The command that starts the same run without the screen."""

from __future__ import annotations

import json
from typing import Any

from forge_tui.safe_io.printing import shell_word
from forge_tui.settings.command import COMMAND
from forge_tui.settings.keys import FREE_TABLES, Key, toml_value
from forge_tui.settings.problems import shown
from forge_tui.settings.space import SPACE
from forge_tui.settings.space import TABLE as SEARCH
from forge_tui.settings.sweep import TABLE as SWEEP
from forge_tui.settings.sweep import values_text
from forge_tui.tui.form.fields import run_keys, same
from forge_tui.tui.form.form_values import Form

PROGRAM = ("forge-tui", "--no-ui")


def command(form: Form) -> str:
    """`forge-tui --no-ui …` in one line for a shell, with the settings that differ from their defaults.

    Settings that the user's file or the environment changes are written too if the form has another value.
    """
    plain = form.plain()
    varied = {**plain[SWEEP], **plain[SEARCH].get(SPACE, {})}
    given = [key for key in run_keys() if key.key not in varied and key.key != COMMAND]
    words = [word for key in given for word in _words(form, key)]
    for name, values in varied.items():
        text = values if isinstance(values, str) else values_text(values)
        words += ["--space" if form.searches else "--sweep", f"{name}={text}"]
    for table in FREE_TABLES:
        for name, value in plain[table].items():
            if f"{table}.{name}" not in varied:
                words += ["--set", f"{table}.{name}={_free(value)}"]
    own = form.values[COMMAND]
    return " ".join(shell_word(word) for word in (*PROGRAM, *words, *(("--", *own) if own else ())))


def _free(value: Any) -> str:
    """An argument of a custom function: text without quotes unless TOML would read it differently."""
    return value if isinstance(value, str) and toml_value(value) == value else json.dumps(value, ensure_ascii=False)


def _words(form: Form, key: Key) -> list[str]:
    value = key.default if form.hides(key.key) else form.values[key.key]
    if same(form.base[key.key], key.default) and (form.is_default(key.key) or same(value, key.default)):
        return []
    if value is None and key.type_words == "text":
        return []  # no flag can unset a text from a file
    if key.is_switch:
        return [key.flag if value else "--no-" + key.flag.removeprefix("--")]
    text = _text(value)
    # argparse takes a value that begins with a dash for a flag unless it is joined with `=`.
    return [f"{key.flag}={text}"] if text.startswith("-") else [key.flag, text]


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case list() | tuple():
            return ",".join(shown(item) for item in value)
        case _:
            return shown(value)
