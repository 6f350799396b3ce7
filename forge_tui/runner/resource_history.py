"""Thins the samples of the machine that are recorded with a run: a day of 8 GPUs at one row every two seconds is 75 MB.

A report needs mean use and the most memory and heat. So after a first minute in full, a row stands for 30 seconds: the
mean of what is in percent, the most of memory and temperature, the least of what is available, the last of the rest.
`samples` says for how many samples a row stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

FULL_ROWS = 30
SAMPLES_PER_ROW = 15
_MEANS = ("cpu_percent", "others_cpu_percent", "utilization_percent")
_MOST = ("memory_used", "memory_pressure_percent", "own_memory", "temperature", "workers")
_LEAST = ("memory_available",)


class ResourceHistory:
    """Takes the samples by their numbers, and passes rows on; the last one when it is closed."""

    def __init__(self, keep: Callable[[Mapping[str, Any]], None]) -> None:
        self._keep = keep
        self._rows = 0
        self._row: dict[str, Any] | None = None
        self._number = 0

    def add(self, number: int, record: Mapping[str, Any]) -> None:
        """Take a sample; the same one again, if its workers have reported more memory since."""
        row = self._row
        if row is None:
            self._begin(record)
        elif number == self._number:
            self._row = _merged(row, record, 0)
        elif row["samples"] >= (1 if self._rows < FULL_ROWS else SAMPLES_PER_ROW):
            self.close()
            self._begin(record)
        else:
            self._row = _merged(row, record, row["samples"])
        self._number = number

    def close(self) -> None:
        """Pass on what is left."""
        if self._row is not None:
            self._keep(self._row)
            self._rows += 1
            self._row = None

    def _begin(self, record: Mapping[str, Any]) -> None:
        self._row = {**record, "samples": 1}


def _merged(row: dict[str, Any], record: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """The row of `samples` samples with one more; 0: the record is of the row's last sample, whose means it has."""
    merged = _with(row, record, samples)
    gpus = {_identity(gpu): gpu for gpu in row["gpus"]}
    for gpu in record["gpus"]:
        known = gpus.get(_identity(gpu))
        gpus[_identity(gpu)] = dict(gpu) if known is None else _with(known, gpu, samples)
    return {**merged, "gpus": list(gpus.values()), "samples": max(row["samples"], samples + 1)}


def _with(before: Mapping[str, Any], record: Mapping[str, Any], samples: int) -> dict[str, Any]:
    merged = dict(record)
    for name, value in record.items():
        earlier = before.get(name)
        if name in _MEANS and samples == 0:
            merged[name] = earlier
        elif earlier is None or name not in (*_MEANS, *_MOST, *_LEAST):
            continue
        elif value is None:
            merged[name] = earlier
        elif name in _MEANS:
            merged[name] = (earlier * samples + value) / (samples + 1)
        elif name in _MOST:
            merged[name] = max(earlier, value)
        else:
            merged[name] = min(earlier, value)
    return merged


def _identity(gpu: Mapping[str, Any]) -> object:
    return gpu["uuid"] or gpu["index"]
