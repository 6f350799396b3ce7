"""Loads the dataset named in settings."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from forge_tui.errors import ChangedError, DataError
from forge_tui.protocol.run_data import Fingerprint
from forge_tui.safe_io.printing import escaped, named
from forge_tui.settings.schema import Settings
from forge_tui.tables.encoder import Encoder
from forge_tui.tables.endings import TABLES, ending_of, how_to_convert
from forge_tui.tables.parquet_directory import is_partitioned
from forge_tui.tables.split_method import GIVEN_APART
from forge_tui.training import random_state
from forge_tui.training.data import fingerprint
from forge_tui.training.data.class_weights import balanced
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.data.modular import modular_dataset
from forge_tui.training.data.npy_file import npy_dataset
from forge_tui.training.data.npz_file import npz_dataset
from forge_tui.training.data.own_data import own_dataset
from forge_tui.training.data.synthetic import synthetic_dataset
from forge_tui.training.data.table_data import table_file_dataset, validation_file
from forge_tui.training.data.text_file import text_dataset

VERSION = 2
"""How data is read: of version 1 are runs of forge-tui 0.1, see `version_1`."""

_MADE: dict[str, Callable[[Settings], Dataset]] = {
    "synthetic": synthetic_dataset,
    "modular": modular_dataset,
}
# How often to read a file again that was replaced while it was read.
_READINGS = 2
# Settings that determine the content; the others only affect the split.
_DECISIVE = {"synthetic": ("samples", "features", "classes", "seed"), "modular": ("prime", "operation")}
_READERS: dict[str, Callable[..., Dataset]] = {
    **dict.fromkeys(TABLES, table_file_dataset),
    ".npy": npy_dataset,
    ".npz": npz_dataset,
    ".txt": text_dataset,
}


def load_dataset(
    settings: Settings,
    working_directory: Path,
    own: Callable[[], Any] | None = None,
    known: Sequence[Fingerprint] = (),
    version: int | None = None,
    encoder: Encoder | None = None,
    copies: Mapping[str, str] | None = None,
) -> Dataset:
    """Read `training.dataset`; a relative path is relative to `working_directory`. `run.seed` determines the split.

    `own` is the custom function if settings name one. The dataset has its fingerprint; a file unchanged since one of
    `known` is not hashed again. `version` is how it is read: by default as `known`, or the newest. `encoder`: of a
    table, for a model that has one (None: one is learned). `copies`: other places of files, by their paths. Raises
    `DataError` with the file and the place in it, `ChangedError` for a file that changes meanwhile, `SettingsError` for
    class weights without classes.
    """
    if version is None:
        version = known[0].version if known else VERSION
    if own is None:
        found = _read(settings, working_directory, known, version, encoder, copies or {})
    else:
        found = _call(own, settings, known, version, encoder)
    assert found.fingerprint is not None
    found = replace(found, drop_last=settings.data.drop_last, fingerprint=replace(found.fingerprint, version=version))
    return balanced(found) if settings.data.class_weights == "balanced" else found


def _call(
    function: Callable[[], Any], settings: Settings, known: Sequence[Fingerprint], version: int, encoder: Encoder | None
) -> Dataset:
    recorded = (one.threads for one in known if one.threads is not None)
    threads = next(recorded, torch.get_num_threads())
    with _same_conditions(settings.run.seed, threads):
        found = own_dataset(function(), settings, version, encoder)
    return replace(found, fingerprint=fingerprint.of_tensors(found, known, threads))


@contextmanager
def _same_conditions(seed: int, threads: int) -> Iterator[None]:
    """Seed every global generator and fix the number of threads, so that a dataset function gives equal results.

    The last bits of sums and products depend on the number of threads, which is not chosen yet when a run first reads
    its data.
    """
    before = torch.get_num_threads()
    random_state.seed_everything(seed)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read(
    settings: Settings,
    working_directory: Path,
    known: Sequence[Fingerprint],
    version: int,
    encoder: Encoder | None,
    copies: Mapping[str, str],
) -> Dataset:
    name = settings.training.dataset
    if name in _MADE:
        found = _MADE[name](settings)
        values = {key: settings.run.seed if key == "seed" else getattr(settings.data, key) for key in _DECISIVE[name]}
        return replace(found, fingerprint=fingerprint.of_settings({"dataset": name, **values}, found))
    path, held = (
        Path(copies.get(str(place), place))
        for place in (working_directory / Path(one).expanduser() for one in (name, settings.data.validation or ""))
    )
    if ending_of(held) in TABLES and held.is_file():
        settings = replace(settings, data=replace(settings.data, validation=str(held)))
    names, made = ", ".join(_READERS), ", ".join(f"`{word}`" for word in _MADE)
    reader = _READERS.get(".parquet" if is_partitioned(path) else ending_of(path))
    if reader is None:
        advice = how_to_convert(path)
        if advice is not None:
            raise DataError(f"--dataset {named(path)} {advice}")
        raise DataError(
            f"--dataset {escaped(name)}: unknown kind of dataset; give {made} or a file that ends in {names}, or a "
            "custom function (module:function or file.py:function)"
        )
    try:
        _check_file(path, names, working_directory)
        given = {} if encoder is None else {"encoder": encoder}
        return _from_file(path, settings, partial(reader, version=version, **given), known)
    except OSError as error:
        hint = "; check its permissions" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise DataError(f"--dataset {named(path)} cannot be read: {error.strerror or error}{hint}") from None


def _from_file(path: Path, settings: Settings, reader: Callable[..., Dataset], known: Sequence[Fingerprint]) -> Dataset:
    """The dataset of a file that does not change while it is read and hashed. Raises `ChangedError`, `OSError`."""
    for _ in range(_READINGS):
        begun, before = time.time(), fingerprint.file_state(path)
        found = reader(path, settings)
        of = fingerprint.of_file(before, begun, found, known)
        held = validation_file(path, settings) if found.split.get("method") == GIVEN_APART else None
        if held is not None:
            of = fingerprint.with_file(of, held)
        if fingerprint.file_state(path) == before:
            return replace(found, fingerprint=of)
    raise ChangedError(f"--dataset {named(path)} was changed while it was read; try again when nothing writes to it")


def _check_file(path: Path, names: str, working_directory: Path) -> None:
    """Raise `DataError` unless it is a file: opening a pipe could block for ever. Raises `OSError`."""
    name = f"--dataset {named(path)}"
    if not path.exists():
        counts = named(working_directory)
        raise DataError(f"{name}: there is no such file; check the path (relative to {counts})")
    if is_partitioned(path):
        return
    if path.is_dir():
        raise DataError(f"{name} is a directory; give a file that ends in {names}")
    if not path.is_file():
        raise DataError(f"{name} is a pipe, a socket or a device, not a file; save the data as a file")
