"""The fingerprint of a run's data: recorded at its start, compared by every worker and resume. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from forge_tui.errors import RunDirectoryError

if TYPE_CHECKING:
    from forge_tui.protocol.run_info import RunInfo

_DATASET = "training.dataset"
# Settings that may change the result of a dataset function or the split.
_TABLES = ("data.", "model.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file as it was when it was hashed. `mtime_ns` is None where a later write might not change it."""

    path: str
    size: int
    mtime_ns: int | None
    inode: int

    def is_untouched(self, now: SourceFile) -> bool:
        """Whether `now`, the file on the disk, is unchanged, so that it need not be hashed again."""
        mine, others = ((one.size, one.mtime_ns, one.inode) for one in (self, now))
        return self.mtime_ns is not None and mine == others

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SourceFile:
        """The file of a record that `Fingerprint.to_record` wrote."""
        mtime = record["mtime_ns"]
        return cls(
            path=str(record["path"]),
            size=int(record["size"]),
            mtime_ns=None if mtime is None else int(mtime),
            inode=int(record["inode"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """SHA-256 (hexadecimal) of the data's content and of its split, and the number of rows of both parts.

    `file`: the hashed file; None if the dataset is not a file. `threads`: threads that a dataset function had.
    `version`: how data was read (`training.data.load.VERSION`): a run keeps the way that it began with.
    """

    sha256: str
    rows: int
    split_sha256: str
    file: SourceFile | None = None
    threads: int | None = None
    version: int = 1

    def is_of_same_data(self, other: Fingerprint) -> bool:
        """Whether content and split are the same."""
        return self.to_public() == other.to_public()

    def to_public(self) -> dict[str, Any]:
        """What NAME.json says of the data."""
        return {"sha256": self.sha256, "rows": self.rows, "split_sha256": self.split_sha256}

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict of all of it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint of a record; unknown keys are ignored. Raises `ValueError`."""
        try:
            file = record.get("file")
            return cls(
                sha256=str(record["sha256"]),
                rows=int(record["rows"]),
                split_sha256=str(record["split_sha256"]),
                file=None if file is None else SourceFile.from_record(file),
                threads=None if record.get("threads") is None else int(record["threads"]),
                version=int(record.get("version", 1)),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no record of data: {error}") from None


@dataclass(frozen=True, slots=True)
class RunData:
    """The fingerprints of a run: the first model's, and those of sweep combinations that differ from it.

    `others` has these with the part of the combination that they belong to.
    """

    first: Fingerprint
    others: tuple[tuple[dict[str, Any], Fingerprint], ...] = ()

    @classmethod
    def of(cls, found: Iterable[tuple[Mapping[str, Any], Fingerprint]]) -> RunData:
        """From the fingerprint of each combination of a sweep, the first model's first."""
        (_, first), *more = found
        others: dict[str, tuple[dict[str, Any], Fingerprint]] = {}
        for combination, fingerprint in more:
            part = data_part(combination)
            if fingerprint != first:
                others.setdefault(json.dumps(part), (part, fingerprint))
        return cls(first, tuple(others.values()))

    def of_model(self, combination: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint of the data of a model with this combination."""
        part = data_part(combination)
        return next((fingerprint for known, fingerprint in self.others if known == part), self.first)

    def all(self) -> list[Fingerprint]:
        """Each fingerprint."""
        return [self.first, *(fingerprint for _, fingerprint in self.others)]

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict: the first model's fingerprint, and `others` where a sweep has any."""
        others = [{"combination": part, **fingerprint.to_record()} for part, fingerprint in self.others]
        return {**self.first.to_record(), **({"others": others} if others else {})}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RunData:
        """The data of a record. Raises `ValueError` for anything else."""
        first = Fingerprint.from_record(record)
        try:
            others = [(dict(one["combination"]), Fingerprint.from_record(one)) for one in record.get("others", ())]
        except (KeyError, TypeError) as error:
            raise ValueError(f"no record of data: {error}") from None
        return cls(first, tuple(others))


def recorded_data(info: RunInfo) -> RunData | None:
    """The data that the run was started with; None if not recorded. Raises `RunDirectoryError`."""
    try:
        return None if info.data is None else RunData.from_record(info.data)
    except ValueError as error:
        raise RunDirectoryError(f"run.db of run {info.run} is damaged ({error}); start the run anew") from None


def data_part(combination: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a sweep's combination that may change the data or its split, as JSON gives it back."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in combination.items()
        if name == _DATASET or name.startswith(_TABLES)
    }


def difference(before: Fingerprint, now: Fingerprint) -> str:
    """How the data has changed, in words."""
    if before.rows != now.rows:
        return f"{before.rows:,} rows → {now.rows:,}"
    if before.sha256 != now.sha256:
        return f"{now.rows:,} rows as before, but other values or another order"
    return "same content, another split"
