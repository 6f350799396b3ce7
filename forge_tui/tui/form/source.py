"""Sources of the form's values: the layers of settings, the last form, a preset or file, a run's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.read_only import refuse_if_read_only

if TYPE_CHECKING:
    from forge_tui.tui.form.form_values import Form


@dataclass(frozen=True, slots=True)
class FormSource:
    """The command line's settings: arguments of `settings.setting_layers.resolve_settings`."""

    preset: str | None = None
    settings_file: str | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()

    @property
    def gives_something(self) -> bool:
        """Whether anything was given: then the form starts with exactly that."""
        return self != FormSource()


@dataclass(frozen=True, slots=True)
class Filled:
    """A form, and the problem of a file or variable that should have filled it."""

    form: Form
    problem: str | None = None


@dataclass(slots=True)
class Draft:
    """The settings of the next run while they are edited; kept when their screen is closed.

    `form` is None until it is filled. `remembers`: whether it may start with the values of the last form, only for a
    plain `forge-tui`. `refusals` are a runner's reasons not to begin, by setting. `beside` is the live run whose
    settings were hidden for the draft.
    """

    source: FormSource = field(default_factory=FormSource)
    remembers: bool = True
    form: Form | None = None
    problem: str | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    beside: str | None = None


@dataclass(frozen=True, slots=True)
class Preset:
    """A settings file that can be loaded: name, path and purpose. `shipped`: `--preset` takes it."""

    name: str
    path: Path
    summary: str
    shipped: bool = True


def fill_form(source: FormSource, last: Mapping[str, Any]) -> Filled:
    """The form at the start: the values of files, variables and flags.

    If no preset, file, flag or variable was given, the values of the `last` form override the user's settings
    file, and are marked as such.

    Reads files and imports the schema: call it in a worker thread. An invalid file or variable is a `problem`.
    """
    from dataclasses import replace

    from forge_tui.settings.keys import free_key
    from forge_tui.settings.setting_layers import Layer, resolve_settings
    from forge_tui.settings.sweep import TABLE as SWEEP
    from forge_tui.tui.form.form_values import Changed, form_key, form_of

    try:
        base = resolve_settings()
        resolved = resolve_settings(
            preset=source.preset,
            settings_file=source.settings_file,
            flags=source.flags,
            assignments=source.assignments,
            sweeps=source.sweeps,
            spaces=source.spaces,
        )
    except SettingsError as error:
        return Filled(_without_what_users_give(), str(error))
    form = replace(form_of(resolved.settings, dict(resolved.sources), base.settings), site=resolved.site)
    below = (Layer.DEFAULT, Layer.SITE, Layer.USER)
    if source.gives_something or any(given.layer not in below for given in resolved.sources.values()):
        return Filled(form)
    for name, value in last.items():
        if name.startswith(f"{SWEEP}.") or (name not in resolved.sources and free_key(name) is None):
            continue
        if form_key(name).problem(value) is None:
            form = form.with_values({name: value}, {name: Changed(last_time=True)})
    return Filled(replace(form, refused=()))


def _without_what_users_give() -> Form:
    """The form of the site-wide settings; of the defaults if these are what is wrong, since nothing starts then."""
    from dataclasses import replace

    from forge_tui.settings.schema import Settings, fields_of
    from forge_tui.settings.setting_layers import Layer, Source, resolve_settings
    from forge_tui.tui.form.form_values import form_of

    try:
        resolved = resolve_settings(environment={}, use_user_file=False)
    except SettingsError:
        return form_of(Settings(), {key.key: Source(Layer.DEFAULT) for key in fields_of()})
    return replace(form_of(resolved.settings, dict(resolved.sources), resolved.settings), site=resolved.site)


def load_file(form: Form, path: Path, preset: str | None = None) -> Form:
    """The form with the values of a settings file. Raises `SettingsError` naming file, line and key."""
    from forge_tui.settings.files import read_values
    from forge_tui.settings.setting_layers import Layer, Source

    layer = Layer.FILE if preset is None else Layer.PRESET
    return form.overlay(read_values(path), Source(layer, path, None, preset))


def run_form(path: Path, base: Form) -> Form:
    """The settings that a run was started with. Raises `SettingsError` if they cannot be read."""
    from dataclasses import replace

    from forge_tui.settings.files import read_values
    from forge_tui.settings.schema import Settings, fields_of
    from forge_tui.settings.setting_layers import Layer, Source
    from forge_tui.tui.form.form_values import form_of

    empty = form_of(Settings(), {key.key: Source(Layer.DEFAULT) for key in fields_of()})
    return replace(empty.overlay(read_values(path), Source(Layer.FILE, path)), base=base.base, site=base.site)


def user_presets() -> Path:
    """The directory of the user's presets; it may not exist."""
    from forge_tui.settings.user_file import user_settings_file

    return user_settings_file().parent / "presets"


def presets() -> tuple[Preset, ...]:
    """The presets that ship with the package, then the user's own. Raises `SettingsError` if they are missing."""
    from forge_tui.settings.presets import preset_names, preset_path, preset_summary

    shipped = [Preset(name, preset_path(name), preset_summary(name)) for name in preset_names()]
    directory = user_presets()
    own = sorted(directory.glob("*.toml")) if directory.is_dir() else []
    return (*shipped, *(Preset(path.stem, path, f"your own: {path}", False) for path in own))


def preset_file(name: str) -> Path:
    """The file for saving a preset of this name or path: a plain name is put among the user's own presets.

    Raises `SettingsError` for an empty name and for a directory.
    """
    text = name.strip()
    if not text:
        raise SettingsError("a preset needs a name, such as mine, or the path of a .toml file")
    path = Path(text).expanduser()
    if path.suffix != ".toml":
        path = path.with_name(path.name + ".toml")
    path = user_presets() / path if len(path.parts) == 1 else path.absolute()
    if path.is_dir():
        raise SettingsError(f"{named(path)} is a directory; give the path of a .toml file")
    return path


def save_form(form: Form, path: Path) -> None:
    """Write the form's settings as a TOML file, readable by this user only, without those of the screen.

    Raises `SettingsError` for an invalid value, `RunDirectoryError` if the file cannot be written.
    """
    refuse_if_read_only("save settings")
    import tomllib

    import tomli_w

    from forge_tui.safe_io.whole_files import make_private, write_atomically
    from forge_tui.settings.files import settings_text
    from forge_tui.settings.keys import FREE_TABLES
    from forge_tui.settings.sweep import TABLE as SWEEP
    from forge_tui.tui.form.fields import run_keys

    tables = {*(key.table for key in run_keys()), *FREE_TABLES, SWEEP}
    plain = tomllib.loads(settings_text(form.settings()))
    text = tomli_w.dumps({table: values for table, values in plain.items() if table in tables})
    try:
        make_private(path.parent)
    except OSError as error:
        raise SettingsError(f"{named(path.parent)}: cannot be made: {error.strerror or error}") from None
    write_atomically(path, text.encode())
