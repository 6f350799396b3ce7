"""Checks that a model is trained on the data that its run was started with."""

from __future__ import annotations

from collections.abc import Callable

from forge_tui.errors import ChangedError
from forge_tui.protocol.run_data import Fingerprint, difference
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.stored import StoredRows

_THEN = "put it back as it was and resume the run, or resume it with --accept-changes"


def require_same(
    named: str, dataset: Dataset, recorded: Fingerprint | None, again: Callable[[], Dataset] | None
) -> None:
    """Raise `ChangedError`, with the difference, if the data is not as `recorded` (None: unknown).

    `named` is `training.dataset`; `again` calls a dataset function again, which may give other data each time.
    """
    now = dataset.fingerprint
    assert now is not None
    if recorded is None or now.is_of_same_data(recorded):
        return
    what = difference(recorded, now)
    if again is not None and not _gives_same(again, now):
        raise ChangedError(
            f"--dataset {named} gives other data each time it is called ({what}), so models would not be trained and "
            "validated on the same rows: draw random numbers from a generator with a fixed seed, such as "
            "numpy.random.default_rng(seed) (a parameter `seed` gets the run's), and sort what has no order of its own"
        )
    source = named if now.file is None else now.file.path
    raise ChangedError(f"--dataset {source} is not what the run was started with ({what}): {_THEN}")


def require_untouched(dataset: Dataset) -> None:
    """Raise `ChangedError` if the file of rows on disk was written since it was loaded."""
    rows, fingerprint = dataset.train_inputs, dataset.fingerprint
    if not isinstance(rows, StoredRows) or fingerprint is None or fingerprint.file is None:
        return
    if rows.is_rewritten(fingerprint.sha256):
        raise ChangedError(
            f"--dataset {fingerprint.file.path} was written to while a model was trained on it: {_THEN}; "
            "replace a file instead of writing into it, and a running model keeps the one that it has"
        )


def _gives_same(again: Callable[[], Dataset], before: Fingerprint) -> bool:
    """Whether a second call gives the same as the first; a failing call counts as the same."""
    try:
        found = again().fingerprint
    except Exception:  # the function may not support a second call; the change is reported anyway
        return True
    return found is not None and found.is_of_same_data(before)
