"""Checks a dataset for the form before a run reads it: whether the file exists, and its columns.

Only the header is read. The runner reads the data itself, and reports problems in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forge_tui.errors import DataError
from forge_tui.settings.own_names import named_function
from forge_tui.tables.endings import TABLES, TEXT, ending_of, how_to_convert
from forge_tui.text.figures import short_path

SYNTHETIC = "synthetic"
MODULAR = "modular"
MADE = {
    SYNTHETIC: "made from the seed; needs no file",
    MODULAR: "results modulo a prime; needs no file",
}
ENDINGS = (*TABLES, ".npy", ".npz", ".txt")
_FEATURES = "features"
_BEGINNINGS = {
    ".parquet": ("is not a Parquet file; write it again", b"PAR1"),
    ".npy": ("is not a .npy file; write it with numpy.save", b"\x93NUMPY"),
}


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """A checked dataset: `problem` in words, or the columns that may be the target.

    `ending` is empty if it is not a file; `default_target` is predicted if no target is given.
    """

    name: str
    ending: str = ""
    problem: str | None = None
    columns: tuple[str, ...] = ()
    default_target: str | None = None

    def target_problem(self, target: str | None) -> str | None:
        """What is wrong with a target for this dataset, or None."""
        if self.problem is not None or not (self.ending == ".npz" or (self.ending in TEXT and self.columns)):
            return None
        kind = "array" if self.ending == ".npz" else "column"
        wanted = target or self.default_target
        if wanted is None or wanted in self.columns:
            return None
        if target is None:
            return f"{self.name} has no {kind} {wanted!r}: say which one to predict; there are {_listed(self.columns)}"
        return f"{self.name} has no {kind} {target!r}; there are {_listed(self.columns)}"


def without_a_file(name: str) -> DatasetFile | None:
    """The dataset `name` if it is made, by us or by a function; None for a file."""
    return DatasetFile(name) if name in MADE or named_function(name) is not None else None


def examine(name: str, working_directory: Path) -> DatasetFile:
    """Check the dataset `name`; a relative path is relative to `working_directory`. Reads the disk, never raises."""
    made = without_a_file(name)
    if made is not None:
        return made
    try:
        path = working_directory / Path(name).expanduser()
        ending = ending_of(path)
        known, words = ", ".join(ENDINGS), ", ".join(f"`{word}`" for word in MADE)
        if path.is_dir():
            from forge_tui.tables.parquet_directory import is_partitioned

            if is_partitioned(path):
                return DatasetFile(name, ".parquet")
            return DatasetFile(name, problem=f"is a directory; give a file that ends in {known}")
        if ending not in ENDINGS:
            advice = how_to_convert(path)
            if advice is not None:
                return DatasetFile(name, problem=advice)
            problem = f"unknown kind of dataset; give {words} or a file that ends in {known}"
            return DatasetFile(name, problem=problem)
        if not path.exists():
            words = f"there is no such file; check the path (relative to {short_path(working_directory)})"
            return DatasetFile(name, ending, words)
        if not path.is_file():  # opening a pipe could block for ever
            words = "is a pipe, a socket or a device, not a file; save the data as a file"
            return DatasetFile(name, ending, words)
        return _read(name, path, ending)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return DatasetFile(name, problem=f"cannot be read: {reason}; check its permissions")


def _read(name: str, path: Path, ending: str) -> DatasetFile:
    if ending in TEXT:
        from forge_tui.tables.header import column_names

        try:
            columns = column_names(path)
        except DataError as error:
            return DatasetFile(name, ending, str(error).partition(f"{path} ")[2] or str(error))
        return DatasetFile(name, ending, None, columns, "target")
    if ending == ".npz":
        import zipfile

        try:
            with zipfile.ZipFile(path) as archive:
                arrays = tuple(entry.removesuffix(".npy") for entry in archive.namelist() if entry.endswith(".npy"))
        except zipfile.BadZipFile:
            return DatasetFile(
                name, ending, "is not a .npz archive; write it with numpy.savez(path, features=…, targets=…)"
            )
        others = tuple(array for array in arrays if array != _FEATURES)
        return DatasetFile(name, ending, None, others, "targets" if "targets" in arrays else None)
    with path.open("rb") as file:
        # The worker checks the columns of these: reading them needs polars and numpy.
        words, beginning = _BEGINNINGS.get(ending, ("", b""))
        if file.read(len(beginning)) != beginning:
            return DatasetFile(name, ending, words)
        return DatasetFile(name, ending)


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    if not names:
        return "none"
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
