"""What is wrong with the values of a form, one by one and together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_tui.errors import SettingsError
from forge_tui.settings.devices import CPUS_PER_MODEL, DEVICE, DEVICES_PER_MODEL, device_problems
from forge_tui.settings.keys import Key
from forge_tui.settings.schema import keys_by_name
from forge_tui.settings.search import METHOD, TRIALS, too_many_trials
from forge_tui.settings.space import is_range, space_key
from forge_tui.settings.sweep import too_many
from forge_tui.tui.form.fields import DATASET, MODELS, TARGET
from forge_tui.tui.form.kinds import missing

if TYPE_CHECKING:
    from forge_tui.tui.form.form_values import Form


def errors_of(form: Form) -> dict[str, str]:
    """Errors by full name, in the form's order."""
    problems: dict[str, str] = {}
    devices = _device_problems(form)
    for section in form.sections():
        for key in section.keys:
            problem = missing(form.kind, key.key, form.all_values(key.key)) or _own_problem(form, key)
            problem = problem or _data_problem(form, key.key) or _sweep_problem(form, key) or devices.get(key.key)
            problem = problem or _search_problem(form, key.key)
            if problem is not None:
                problems[key.key] = problem
    return problems


def _own_problem(form: Form, key: Key) -> str | None:
    """What is wrong with the value itself. An argument of custom code may be left out if it has a default."""
    value = form.values.get(key.key)
    if not key.is_free or value is not None:
        return key.problem(value)
    is_needed = form.arguments().get(key.name, "") is None
    return "give a value: it has no default" if is_needed and form.swept(key.key) is None else None


def _sweep_problem(form: Form, key: Key) -> str | None:
    values = form.swept(key.key)
    if values is not None:
        if not form.searches and isinstance(values, str) and is_range(values):
            return "a range is searched: set the search method below to random or tpe, or list values"
        try:
            return form.varied_key(key.key).problem(values)
        except SettingsError as error:
            return str(error)
    seeds, trials = form.values[MODELS], form.values.get(TRIALS)
    if key.key != MODELS or not isinstance(seeds, int):
        return None
    if form.searches:
        return too_many_trials(trials, seeds) if isinstance(trials, int) else None
    return too_many(form.sweep(), seeds)


def _search_problem(form: Form, name: str) -> str | None:
    """What is wrong with the search as a whole."""
    if not form.searches or name not in (METHOD, TRIALS):
        return None
    space = form.space()
    if name == METHOD:
        return None if space else "nothing to search: V on a setting gives it a range (1e-5..1e-1:log) or values"
    keys, trials, size = keys_by_name(), form.values[TRIALS], 1.0
    for searched, value in space.items():
        try:
            size *= space_key(searched, keys).dimension(value).size
        except SettingsError:
            return None  # an error of that setting
    if space and isinstance(trials, int) and trials > size:
        return f"the space has {size:,.0f} different configs, and none is trained twice"
    return None


def _data_problem(form: Form, name: str) -> str | None:
    found = form.dataset_found
    if found is None:
        return None
    if name == DATASET:
        return found.problem
    return found.target_problem(form.values[TARGET]) if name == TARGET else None


def _device_problems(form: Form) -> dict[str, str]:
    names = (DEVICE, DEVICES_PER_MODEL, CPUS_PER_MODEL)
    keys = [keys_by_name()[name] for name in names]
    values = [key.default if form.hides(key.key) else form.values[key.key] for key in keys]
    if any(key.problem(value) is not None for key, value in zip(keys, values, strict=True)):
        return {}
    device, devices_per_model, cpus_per_model = values
    return device_problems(form.kind.trains, device, devices_per_model, cpus_per_model)
