"""A run whose records are open for writing, new or continued."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from forge_tui.engines.base import Engine
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runner.code_copy import Code
from forge_tui.runner.halving import Reached
from forge_tui.runner.journal import Journal
from forge_tui.runner.prepare import Plan
from forge_tui.runner.search.trials import BestEpochs
from forge_tui.runs import registry, trust
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Location
from forge_tui.runs.lock import RunLock
from forge_tui.runs.store import RunStore
from forge_tui.settings.schema import Settings

RUNNER_LOG = "logs/runner.log"
"""The runner's log, by its path in the run directory."""


@dataclass(slots=True)
class Opened:
    """A run whose records are open for writing, with everything needed to carry it out."""

    directory: RunDirectory
    settings: Settings
    plan: Plan
    store: RunStore
    journal: Journal
    code: Code = field(default_factory=Code)
    engine: Engine | None = None
    selector: selectors.BaseSelector | None = None
    is_resumed: bool = False
    reached: tuple[Reached, ...] = ()
    epochs: Mapping[int, BestEpochs] = field(default_factory=dict)
    place: Location | None = None
    lock: RunLock | None = None
    is_gone: bool = False
    """Whether the directory, or its database, was deleted or replaced."""

    def attach(self, engine: Engine, selector: selectors.BaseSelector) -> None:
        """Set the engine and the selector it waits on."""
        self.engine, self.selector = engine, selector

    @property
    def path(self) -> Path:
        """The directory's present path."""
        return self.directory.path if self.place is None else self.place.path


def trusted(info: RunInfo, settings: Settings) -> tuple[RunInfo, str | None]:
    """The run's record with a key in this user's state directory, and a problem in words, if any.

    A run without custom code needs no key. Call it before the record is written.
    """
    if not trust.what_runs(settings):
        return info, None
    info = replace(info, key=info.key or trust.new_key())
    try:
        trust.record(info)
    except RunDirectoryError as error:
        return info, f"{error}: the run is not recorded as yours, and a resume will need --trust-code"
    return info, None


def distrust(info: RunInfo) -> None:
    """Remove the key of a run that did not begin."""
    with contextlib.suppress(RunDirectoryError):  # a leftover does not affect other runs
        trust.forget_key(info.key)


def report_code(journal: Journal, code: Code, untrusted: str | None) -> None:
    for words in code.notices:
        journal.warn("code", words)
    if untrusted is not None:
        journal.warn("trust", untrusted)


def register(journal: Journal) -> None:
    try:
        registry.register(journal.info)
    except RunDirectoryError as error:
        journal.warn("registry", f"{error}; the run is not in the list of known runs, name it by its directory")
