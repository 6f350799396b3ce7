"""The command line's flags: one per setting, made from the schema."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from typing import Any

from forge_tui.errors import SettingsError
from forge_tui.settings.keys import Key
from forge_tui.settings.presets import preset_names
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import fields_of, keys_by_name, tables, unknown
from forge_tui.settings.setting_layers import Resolved, resolve_settings
from forge_tui.settings.site import read_site


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--settings`, `--preset`, `--set`, `--sweep` and `--space`."""
    group = parser.add_argument_group("where settings come from")
    group.add_argument("--settings", metavar="FILE", default=None, help="a TOML settings file")
    group.add_argument(
        "--preset", metavar="NAME", default=None, help=f"settings that ship with forge-tui: {', '.join(preset_names())}"
    )
    group.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="any setting by its full name, such as training.epochs=5; may be repeated",
    )
    group.add_argument(
        "--sweep",
        metavar="KEY=VALUE,VALUE",
        action="append",
        default=[],
        help="train models with each of these values, such as learning_rate=0.001,0.003; repeat for combinations",
    )
    group.add_argument(
        "--space",
        metavar="KEY=LOW..HIGH[:log][:int]",
        action="append",
        default=[],
        help="with --search: where a setting's values are searched, such as learning_rate=1e-5..1e-1:log, "
        "model.width=64..512:int or batch_size=16,32,64; repeat for several settings",
    )


def add_flags(parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
    """Add a flag per setting, in a group per table; or only for `names` (such as `training.epochs`).

    Values stay texts: `resolve_settings` parses and checks them, so that flags, files and variables agree. A flag that
    is not given leaves nothing in the namespace. Raises `SettingsError` for an unknown name.
    """
    for name in names or ():
        if name not in keys_by_name():
            raise SettingsError(unknown(name))
    for table, owner in tables().items():
        keys = [key for key in fields_of() if key.table == table and (names is None or key.key in names)]
        if not keys:
            continue
        group = parser.add_argument_group(table, (owner.__doc__ or "").strip().partition("\n")[0])
        for key in keys:
            _add_flag(group, key)


def flag_values(namespace: argparse.Namespace) -> dict[str, Any]:
    """The values of the flags of `add_flags`, by full name, for `resolve_settings(flags=...)`."""
    given: Mapping[str, Any] = vars(namespace)
    return {key.key: given[key.key] for key in fields_of() if key.key in given}


def resolve_arguments(namespace: argparse.Namespace, beneath: Mapping[str, str] | None = None) -> Resolved:
    """The settings from the flags of `add_source_flags` and `add_flags`, over the values `beneath` (by full name).

    Of those `beneath`, which are nobody's wish, locked ones are left out. Raises `SettingsError`.
    """
    if beneath:
        site = read_site()
        beneath = {name: value for name, value in beneath.items() if site.lock_of(name) is None}
    return resolve_settings(
        preset=namespace.preset,
        settings_file=namespace.settings,
        flags={**(beneath or {}), **flag_values(namespace)},
        assignments=namespace.set,
        sweeps=namespace.sweep,
        spaces=namespace.space,
    )


def _add_flag(group: argparse._ArgumentGroup, key: Key) -> None:
    if key.is_switch:
        group.add_argument(
            key.flag,
            dest=key.key,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=_help(key),
        )
    else:
        group.add_argument(key.flag, dest=key.key, metavar=_metavar(key), default=argparse.SUPPRESS, help=_help(key))


def _help(key: Key) -> str:
    """The description, what is allowed, and the default. argparse formats it with `%`."""
    notes = [] if key.is_switch or not key.allowed else [key.allowed]
    if key.default is not None:
        notes.append(f"default {key.default if isinstance(key.default, str) else shown(key.default)}")
    words = f"{key.help} ({'; '.join(notes)})" if notes else key.help
    return words.replace("%", "%%")


def _metavar(key: Key) -> str:
    if key.type_words.startswith("list"):
        return "LIST"
    if "number" in key.type_words:
        return "|".join(["N", *key.words])
    if key.type_words == "word or list":
        return "WORD|LIST"
    return "WORD" if key.words else "TEXT"
