"""A model's metrics as values per epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_tui.analysis.spread import NO_NUMBER, SeedValues

if TYPE_CHECKING:
    from forge_tui.runs.reader import RunReader

_PAGE = 5_000


def read_curves(reader: RunReader, index: int) -> dict[str, SeedValues]:
    """Every metric of model `index` (1…N) by name; of epochs repeated by a retry the newer ones."""
    found: dict[str, SeedValues] = {}
    since = 0
    while True:
        page = reader.epoch_page(index, since, _PAGE)
        for epoch, metrics in page.epochs:
            for name, value in metrics.items():
                if (values := found.get(name)) is None:
                    values = found[name] = SeedValues()
                values.put(epoch, value, NO_NUMBER, alone=page.replaces_alone)
        since = page.since
        if not page.may_be_more:
            return found
