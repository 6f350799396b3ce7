"""The form as rows of a list: every setting as a line of text, with details below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forge_tui.errors import ForgeError
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.policy import WorkerLimit
from forge_tui.settings.command import COMMAND, command_line
from forge_tui.settings.devices import DEVICE
from forge_tui.settings.keys import Key
from forge_tui.settings.problems import shown
from forge_tui.settings.search import TRIALS
from forge_tui.settings.setting_layers import Layer, Source
from forge_tui.settings.sweep import TABLE as SWEEP
from forge_tui.settings.sweep import combination_count
from forge_tui.tui.form.fields import DATASET, FIRST_SECTION, MODE, MODELS, OUTPUT, TARGET, WORKERS, Section, title_of
from forge_tui.tui.form.folding import Folding, row_of
from forge_tui.tui.form.form_values import Changed, Form
from forge_tui.tui.form.kinds import KIND, Kind
from forge_tui.tui.form.settings_rows import Detail, Heading, Item, Tone
from forge_tui.tui.widgets.glyphs import Glyphs

if TYPE_CHECKING:
    from forge_tui.protocol.table_look import TableLook

MODE_WORDS = {"series": "Series (Safe, Default)", "parallel": "Parallel (Faster, More Memory)"}
_MODE_HELP = {
    "series": "Original single-threaded behavior: one model after another",
    "parallel": "Multi-threaded with resource validation: several models at once",
}
_UNSET = {
    OUTPUT: "a new directory in runs/",
    "run.max_seconds": "no limit",
}
_WORKER_CELLS = 5
_SLIDER_LARGEST = 12


def items(
    form: Form,
    errors: Mapping[str, str],
    resources: SystemResources | None,
    glyphs: Glyphs,
    read_only: bool = False,
    table: TableLook | ForgeError | None = None,
    workers_can_change: bool = True,
    folding: Folding | None = None,
) -> tuple[Heading | Item, ...]:
    """The form from top to bottom. `resources`: the machine's, None during detection. `table`: what its table is.

    A read-only form shows the settings of a live run, without verdict and errors. `workers_can_change`: of that run.
    `folding`: which settings are listed, by default all.
    """
    limit = None if resources is None else form.verdict(resources)
    searched = folding is not None and bool(folding.filter_text)
    rows: list[Heading | Item] = [] if searched else [_kind_item(form, read_only)]
    problems = () if read_only else tuple(errors)
    whole = [(section, section.keys) for section in form.sections()]
    for section, keys in whole if folding is None else folding.listed(form, problems):
        if section.title != FIRST_SECTION:
            rows.append(_heading(section, keys, folding))
        for key in keys:
            details: list[Detail] = []
            if key.key in errors and not read_only:
                details.append(Detail(key_problem(errors[key.key]), Tone.ERROR))
            elif key.key == WORKERS and not read_only:
                details = verdict(form, limit, resources)
            elif key.key == DEVICE and resources is not None and not read_only:
                details = _devices(form, resources)
            elif key.key == MODELS:
                details = _configs(form)
            elif key.key == DATASET and table is not None:
                details = [about_table(table)]
            note = _note(form, key.key, read_only, workers_can_change)
            rows.append(_item(form, key, limit, tuple(details), glyphs, read_only, note))
    return tuple(rows)


def verdict(form: Form, limit: WorkerLimit | None, resources: SystemResources | None) -> list[Detail]:
    """The resource rules' verdict on the chosen workers, in the same words as in the log and in Python."""
    if resources is None:
        return [Detail("detecting what this machine allows…", Tone.QUIET)]
    if limit is None:
        return []
    fewer = form.values[MODE] == "parallel" and limit.workers < limit.requested
    threads = "1 thread" if limit.threads_allowed == 1 else f"up to {limit.threads_allowed} threads"
    threads += " each" if limit.workers > 1 else ""
    words = limit.reason
    if limit.hint is not None:
        words += f". {'To lift it' if fewer else 'For more'}: {limit.hint}"
    details = [Detail(f"{words} ({threads})", Tone.WARNING if fewer else Tone.GOOD)]
    said = {limit.reason}
    for warning in limit.warnings:
        plain = warning.partition(": ")[2]
        if not any(plain in words or words in warning for words in said):
            details.append(Detail(warning, Tone.WARNING))
            said.add(warning)
    models = form.values[MODELS]
    if isinstance(models, int):
        models *= _config_count(form)
    if not fewer and form.values[MODE] == "parallel" and isinstance(models, int) and models < limit.workers:
        details.append(Detail(f"there are only {models} models, so at most {models} workers have work", Tone.QUIET))
    return details


def _devices(form: Form, resources: SystemResources) -> list[Detail]:
    """Where models would be trained, if it can be elsewhere than on the CPU."""
    found = form.rules().devices(resources)
    tone = Tone.WARNING if found.is_refused else Tone.QUIET
    return [Detail(found.reason, tone)] if found.reason else []


def _configs(form: Form) -> list[Detail]:
    """The number of models of a sweep or a search."""
    seeds, configs = form.values[MODELS], _config_count(form)
    if not (form.sweep() or form.searches) or not isinstance(seeds, int):
        return []
    what = "trials (searched)" if form.searches else "configs (swept)"
    each = f"{seeds:,} seed{'' if seeds == 1 else 's'}"
    return [Detail(f"{configs:,} {what} × {each}: {configs * seeds:,} models", Tone.QUIET)]


def _config_count(form: Form) -> int:
    trials = form.values.get(TRIALS)
    return trials if form.searches and isinstance(trials, int) else combination_count(form.sweep())


def about_table(table: TableLook | ForgeError) -> Detail:
    """What a run makes of the table: rows, task, classes, target, rows left out, split; or why it makes nothing."""
    if isinstance(table, ForgeError):
        return Detail(key_problem(str(table)), Tone.WARNING)
    if table.problem is not None:
        return Detail(key_problem(table.problem.removeprefix(f"{table.file}: ")), Tone.WARNING)
    from forge_tui.text.table_lines import table_facts

    return Detail(" · ".join(table_facts(table)), Tone.QUIET)


def about(form: Form, key: Key | None, read_only: bool = False) -> tuple[str, str]:
    """Two lines about a setting: its purpose; and allowed values, default, flag and source. None: what is trained."""
    if key is None:
        return form.kind.help, f"one of: {', '.join(Kind)} · the settings below are those that matter for it"
    first = (key.help[:1].upper() + key.help[1:]).replace("`", "")
    if key.key == MODE:
        first = _MODE_HELP.get(str(form.values[MODE]), first)
    default = key.default if key.key == MODE else "not set" if key.default is None else _shown(key, key.default)
    if key.is_free:
        written = form.arguments().get(key.name)
        flag = f"--set {key.key}=VALUE"
        return first, " · ".join([flag, *([f"default {written}"] if written is not None else [])])
    parts = [key.flag, *([key.allowed] if key.allowed else [key.type_words]), f"default {default}"]
    if not read_only:
        swept = f"{SWEEP}.{key.key}"
        if (lock := form.site.lock_of(key.key)) is not None:
            parts.append(f"locked by {lock.place}")
        parts.append(source_text(form.sources[swept if swept in form.values else key.key], short=False))
    return first, " · ".join(dict.fromkeys(part for part in parts if part != "default"))


def key_problem(problem: str) -> str:
    """A problem on one line."""
    return " ".join(problem.split("\n"))


def source_text(source: Source | Changed, short: bool = True) -> str:
    """The source of a value. The short form has no directories, and is empty for a default."""
    if not short or isinstance(source, Changed):
        return source.text
    match source.layer:
        case Layer.DEFAULT:
            return ""
        case Layer.SITE if source.file is not None:
            return f"site {source.file.name}:{source.line}" if source.line else f"site {source.file.name}"
        case Layer.USER | Layer.FILE if source.file is not None:
            return f"{source.file.name}:{source.line}" if source.line else source.file.name
        case Layer.PRESET:
            return f"preset {source.name}"
        case Layer.ENVIRONMENT:
            return "environment"
    return source.text


def slider(value: int, allowed: int, largest: int, glyphs: Glyphs) -> str:
    """`1 ━━●─┄┄ 6`: a number between 1 and `largest`; numbers that the machine does not allow are dotted."""
    step = 2 if largest <= _SLIDER_LARGEST else 1
    last = min(largest, 2 * _SLIDER_LARGEST)
    place = (min(max(value, 1), last) - 1) * step
    cells = [
        glyphs.live
        if cell == place
        else glyphs.line_dotted
        if cell > (allowed - 1) * step
        else glyphs.bar_done
        if cell < place
        else glyphs.bar_left
        for cell in range((last - 1) * step + 1)
    ]
    return f"1 {''.join(cells)} {last}"


def _kind_item(form: Form, read_only: bool) -> Item:
    """The first row: what is trained."""
    note = "" if read_only else f"{list(Kind).index(form.kind) + 1} of {len(Kind)}"
    return Item(KIND, "Train", str(form.kind), note, changed=form.kind is not Kind.BUILT_IN)


def _item(
    form: Form,
    key: Key,
    limit: WorkerLimit | None,
    details: tuple[Detail, ...],
    glyphs: Glyphs,
    read_only: bool,
    note: str,
) -> Item:
    name, value = key.key, form.values.get(key.key)
    unused, locked = form.unused(name), form.holds(name) and not read_only
    wrong = bool(details) and details[0].tone is Tone.ERROR
    swept = form.swept(name)
    text = glyphs.unknown if name == TARGET and unused else _shown(key, value) if swept is None else _listed(key, swept)
    if name == TARGET and value is None and not unused:
        text = _default_target(form)
    if key.is_free and value is None and swept is None:
        text = form.arguments().get(key.name) or "no default: give a value"
    if locked:
        text = f"{text} (locked)"
    elif name == WORKERS and not wrong and not read_only:
        largest = form.values["resources.max_suggested_workers"]
        shown_largest = largest if isinstance(largest, int) and 2 <= largest <= 2 * _SLIDER_LARGEST else 6
        most = shown_largest if limit is None else _most(form, limit)
        text = f"{text:<{_WORKER_CELLS}}{slider(form.values[name], most, shown_largest, glyphs)}"
    return Item(
        name=name,
        title=title_of(name),
        value=text,
        note=note,
        tone=Tone.ERROR if wrong else Tone.QUIET if unused or (value is None and not swept) else Tone.PLAIN,
        changed=form.differs(key),
        details=details,
        editor_cells=_WORKER_CELLS if name == WORKERS else None,
    )


def _note(form: Form, name: str, read_only: bool, workers_can_change: bool) -> str:
    """The note after a value: why it has no effect, or its source."""
    if read_only:
        return (
            "w changes them" if name == WORKERS and workers_can_change else form.unused(name) or _sweep_note(form, name)
        )
    source = form.sources.get(name)
    if name == DATASET and form.is_default(name):
        return "Enter picks a file"
    return form.unused(name) or _sweep_note(form, name) or ("" if source is None else source_text(source))


def _sweep_note(form: Form, name: str) -> str:
    values = form.swept(name)
    if form.searches and values is not None:
        return "searched" if isinstance(values, str) else f"searched: {len(values)} values"
    return f"swept: {len(values)} values" if isinstance(values, list | tuple) else ""


def _default_target(form: Form) -> str:
    """The target that is predicted by default."""
    found = form.dataset_found
    if found is None or found.default_target is None or found.default_target not in found.columns:
        return "not chosen"
    return f"{found.default_target} (by its name)"


def _most(form: Form, limit: WorkerLimit) -> int:
    """The most workers that the machine allows, according to the verdict."""
    if form.values[MODE] == "series":
        return 1
    if limit.workers < limit.requested:
        return limit.workers
    match (limit.hint or "").split():
        case ["--workers", number]:
            return int(number)
    return limit.workers


def _shown(key: Key, value: Any) -> str:
    if key.key == MODE and value in MODE_WORDS:
        return MODE_WORDS[value]
    if value is None:
        return _UNSET.get(key.key, "not set")
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value
    if isinstance(value, int) and value < 10**15:
        return f"{value:,}"
    if isinstance(value, list | tuple):
        if key.key == COMMAND:
            return command_line(value)
        return ", ".join(str(item) if key.key == DEVICE else shown(item) for item in value)
    return shown(value)


def _listed(key: Key, values: Any) -> str:
    """The values of a sweep, or the typed text."""
    if isinstance(values, str):
        return values
    several = isinstance(key.default, list | tuple)
    return ", ".join(f"[{_shown(key, one)}]" if several else _shown(key, one) for one in values)


def about_section(form: Form, title: str) -> str:
    """What is in a section."""
    section = next((each for each in form.sections() if each.title == title), None)
    titles = [] if section is None else [title_of(key.key) for key in section.keys]
    return f"{len(titles)} settings: {', '.join(titles)}"


def _heading(section: Section, keys: Sequence[Key], folding: Folding | None) -> Heading:
    if folding is None or folding.filter_text or not section.folds:
        return Heading(section.title)
    is_open, more = folding.is_open(section), len(section.keys) - len(keys)
    note = "" if is_open else f"{more} {'more ' if keys else ''}setting{'' if more == 1 else 's'}"
    return Heading(section.title, row_of(section.title), note, is_open)
