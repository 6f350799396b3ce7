"""`[search.space]`: the ranges and lists of values that a search draws from, by the settings' full names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forge_tui.errors import SettingsError
from forge_tui.safe_io.printing import escaped, named
from forge_tui.settings.amounts import real_number, whole_number
from forge_tui.settings.keys import Key
from forge_tui.settings.problems import shown
from forge_tui.settings.sweep import SweepKey, setting_to_vary

if TYPE_CHECKING:
    from forge_tui.settings.schema import Settings

TABLE, SPACE = "search", "space"

_RANGE = re.compile(r"(?P<low>[-+]?\.?\d[-+.\w]*?)\s*\.\.\s*(?P<high>[^\s:,]+)(?P<marks>(?:\s*:\s*[^\s:,]*)*)")
_EXAMPLE = "such as 1e-5..1e-1:log, 64..512:int or 16,32,64"
_ROUNDING = 1e-3
"""At most this part of its range is a fraction rounded by."""
_MOST_STEPS = 2**53
"""Whole numbers of a wider range are not all floats."""
# Settings of [data] that change how the same samples of the same split are used.
_SAME_DATA = frozenset({"data.normalise", "data.scaling", "data.class_weights", "data.drop_last"})
_NOT_SEARCHED = {
    "training.model_type": "models are named after it; sweep it, or start a search of each",
    "training.loss": "trials are compared by one loss; sweep it, or start a search of each",
    "training.metric": "trials are compared by one metric",
    "training.dataset": "trials are compared on the same data; sweep it, or start a search of each",
}


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers from `low` to `high`, both included; `whole` ones only; `log`: evenly over their logarithms."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def size(self) -> float:
        """How many different values it has."""
        return self.high - self.low + 1 if self.whole else math.inf

    def at(self, share: float) -> float | int:
        """The value at a share of the range, from 0 to below 1: evenly distributed shares give a random value."""
        below = 0.5 if self.whole else 0.0  # every whole number has a place of its own
        low, high = self.low - below, self.high + below
        if self.log:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        value = min(max(value, self.low), self.high)
        return math.floor(value + 0.5) if self.whole else self.rounded(value)

    def rounded(self, value: float) -> float:
        """A fraction with four significant digits, or more where the range is narrow: what is shown is what is used."""
        for digits in (4, 6, 9, 12):
            found = min(max(float(f"{value:.{digits}g}"), self.low), self.high)
            if abs(found - value) <= _ROUNDING * (self.high - self.low):
                return found
        return value

    def has(self, value: Any) -> bool:
        """Whether a value is one of the range."""
        is_number = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high

    @property
    def ends(self) -> tuple[Any, ...]:
        """Its lowest and its highest value."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Choices:
    """A list of different values."""

    values: tuple[Any, ...]

    @property
    def size(self) -> float:
        """How many values it has."""
        return len(self.values)

    def at(self, share: float) -> Any:
        """The value at a share of the list, from 0 to below 1."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def has(self, value: Any) -> bool:
        """Whether a value is one of the list."""
        return json.dumps(value) in map(json.dumps, self.values)

    def place_of(self, value: Any) -> int:
        """The place of a value in the list, from 0; 1, 1.0 and true are three. Raises `ValueError` if it is none."""
        return [json.dumps(one) for one in self.values].index(json.dumps(value))

    @property
    def ends(self) -> tuple[Any, ...]:
        """All its values."""
        return self.values


Dimension = Range | Choices


@dataclass(frozen=True, slots=True)
class SpaceKey:
    """A key of `[search.space]`: the setting whose range or values it has. Used like `Key` in files and flags."""

    searched: Key

    @property
    def table(self) -> str:
        """Its table in a settings file."""
        return TABLE

    @property
    def name(self) -> str:
        """The full name of the setting."""
        return self.searched.key

    @property
    def key(self) -> str:
        """Its full name, such as `search.space.training.learning_rate`."""
        return f"{TABLE}.{SPACE}.{self.searched.key}"

    @property
    def flag(self) -> str:
        """The flag that gives it."""
        return "--space"

    def problem(self, value: Any) -> str | None:
        """What is wrong with a range or a list of values, or None."""
        try:
            self.dimension(value)
        except SettingsError as error:
            return str(error)
        return None

    def parse(self, text: str) -> Any:
        """The value of a text in a flag or a variable: a range stays text, a list is one as in a sweep."""
        stripped = text.strip()
        return stripped if is_range(stripped) else SweepKey(self.searched).parse(stripped)

    def dimension(self, value: Any) -> Dimension:
        """The range or the choices of a value. Raises `SettingsError` with what is wrong with it."""
        if isinstance(value, str):
            if not is_range(value):
                raise SettingsError(f"must be a range LOW..HIGH or a list of values, {_EXAMPLE}")
            return self._range(value)
        wrong = SweepKey(self.searched).problem(value)
        if wrong is not None:
            raise SettingsError(wrong)
        if len(value) < 2:
            raise SettingsError(f"one value is no choice; give several ({_EXAMPLE}), or set {self.name} itself")
        return Choices(tuple(tuple(one) if isinstance(one, list) else one for one in value))

    def _range(self, text: str) -> Range:
        found = _RANGE.fullmatch(text.strip())
        assert found is not None
        marks = [mark.strip() for mark in found["marks"].split(":")[1:]]
        unknown = next((mark for mark in marks if mark not in ("log", "int")), None)
        if unknown is not None:
            raise SettingsError(f"{named(unknown) or 'nothing'} after the colon; a range may be :log, :int or both")
        if not (self.searched.is_free or self._is_number):
            raise SettingsError(f"only numbers have a range; list the values of {self.name}, such as A,B")
        is_whole = "int" in marks or not (self.searched.is_free or self._takes_fractions)
        low, high = self._end(found["low"], is_whole), self._end(found["high"], is_whole)
        if low >= high:
            raise SettingsError("the lower end comes first, and the upper end is above it: LOW..HIGH")
        if "log" in marks and low <= 0:
            raise SettingsError(f"a logarithmic range begins above 0, not at {shown(low)}")
        if is_whole and high - low >= _MOST_STEPS:
            raise SettingsError("a range of whole numbers is narrower than 2^53")
        return Range(low, high, log="log" in marks, whole=is_whole)

    def _end(self, text: str, is_whole: bool) -> float:
        """One end of a range."""
        try:
            value: float = whole_number(text) if is_whole else real_number(text)
        except ValueError:
            what = "a whole number" if is_whole else "a number"
            raise SettingsError(f"{escaped(text)} is not {what}; write LOW..HIGH, {_EXAMPLE}") from None
        wrong = self.searched.problem(value)
        if wrong is not None:
            raise SettingsError(f"{shown(value)} {wrong}")
        if not math.isfinite(value):
            raise SettingsError(f"{escaped(text)} is not a finite number")
        return value

    @property
    def _is_number(self) -> bool:
        return not self.searched.is_switch and "number" in self.searched.type_words.split(" or ")[0]

    @property
    def _takes_fractions(self) -> bool:
        return self.searched.type_words.split(" or ")[0] == "number"


def is_range(text: str) -> bool:
    """Whether a text is meant as a range: it begins with a number and two dots."""
    return _RANGE.fullmatch(text.strip()) is not None


def space_key(name: str, keys: Mapping[str, Key]) -> SpaceKey:
    """The key of `[search.space]` for a setting's full name, or its short name if only one table has it.

    Raises `SettingsError` for an unknown name, and for a setting that all trials must have in common.
    """
    found = setting_to_vary(name, keys, f"{TABLE}.{SPACE}", "searched")
    why = _NOT_SEARCHED.get(found.key)
    if why is None and found.table == "data" and found.key not in _SAME_DATA:
        why = "trials are compared on the same data; sweep it, or start a search of each"
    if why is not None:
        raise SettingsError(f"{found.key} cannot be searched: {why}")
    return SpaceKey(found)


def checked_space(given: Any, keys: Mapping[str, Key], problems: list[str]) -> dict[str, Any]:
    """The ranges and lists of a `[search.space]` table by full names; adds to `problems` what is invalid."""
    found: dict[str, Any] = {}
    if not isinstance(given, Mapping):
        problems.append(f"{TABLE}.{SPACE} = {shown(given)}: must be a table")
        return found
    for name, value in given.items():
        try:
            key = space_key(str(name), keys)
        except SettingsError as error:
            problems.append(str(error))
            continue
        wrong = "is given twice" if key.name in found else key.problem(value)
        same = next((other for other in found if _short(other) == _short(key.name)), None)
        if wrong is None and same is not None:
            wrong = f"{same} is searched too, and both are called {_short(same)} in tables; rename one of them"
        if wrong is not None:
            problems.append(f"{key.key} = {shown(value)}: {wrong}")
        else:
            found[key.name] = value.strip() if isinstance(value, str) else tuple(value)
    return found


def dimensions(settings: Settings) -> dict[str, Dimension]:
    """The ranges and choices of valid settings by full names."""
    from forge_tui.settings.schema import keys_by_name

    keys = keys_by_name()
    return {name: space_key(name, keys).dimension(value) for name, value in settings.search.space.items()}


def put(values: MutableMapping[str, Any], key: Key | SweepKey | SpaceKey, value: Any) -> None:
    """Put a key's value into nested plain settings."""
    table = values.setdefault(key.table, {})
    if isinstance(key, SpaceKey):
        table = table.setdefault(SPACE, {})
    table[key.name] = value


def full_names(settings: Settings, combination: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's values by the settings' full names, from those by their short names."""
    return {name: combination[short] for name in settings.search.space if (short := _short(name)) in combination}


def _short(name: str) -> str:
    return name.rpartition(".")[2]
