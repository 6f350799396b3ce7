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
    """Raise `ChangedError` where the data is not as `recorded` (None: not known), in words that say what differs.

    `named` is `training.dataset`; `again` calls a dataset function anew: it may give other data each time.
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
    """Raise `ChangedError` where rows stay on disk and their file was written to since it was loaded."""
    rows, fingerprint = dataset.train_inputs, dataset.fingerprint
    if not isinstance(rows, StoredRows) or fingerprint is None or fingerprint.file is None:
        return
    if rows.is_rewritten(fingerprint.sha256):
        raise ChangedError(
            f"--dataset {fingerprint.file.path} was written to while a model was trained on it: {_THEN}; "
            "replace a file instead of writing into it, and a running model keeps the one that it has"
        )


def _gives_same(again: Callable[[], Dataset], before: Fingerprint) -> bool:
    """Whether a second call gives what the first one gave; where it fails, that is not known to be otherwise."""
    try:
        found = again().fingerprint
    except Exception:  # whatever a function does that is not made to be called twice; the change is reported anyway
        return True
    return found is not None and found.is_of_same_data(before)
