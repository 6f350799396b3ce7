"""Pressure stall information: for how much of the time work waited for CPU, memory or disk.

Source: the kernel's Documentation/accounting/psi.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forge_tui.resources.cgroups import Group, Read

_RESOURCES = ("cpu", "memory", "io")


@dataclass(frozen=True, slots=True)
class Pressure:
    """Percent of the last 10 s in which some, or all, work waited for `resource`; `source` is the file."""

    resource: str
    some_percent: float
    full_percent: float | None
    source: str


def read_pressure(read: Read, groups: Sequence[Group] = ()) -> tuple[Pressure, ...]:
    """The machine's pressure and that of this process's own v2 control group; empty without kernel support.

    The root group's figures are the machine's, so only a group below it is read. Raises `OSError`, `ValueError`.
    """
    files = [(resource, f"/proc/pressure/{resource}") for resource in _RESOURCES]
    for group in groups:
        if group.version == 2 and len(group.directories) > 1:
            files += [(resource, f"{group.directories[0]}/{resource}.pressure") for resource in _RESOURCES]
    found = []
    for resource, file in files:
        text = read(file)
        if text:
            values = {kind: _average(rest) for kind, _, rest in (line.partition(" ") for line in text.splitlines())}
            found.append(Pressure(resource, values["some"], values.get("full"), file))
    return tuple(found)


def _average(text: str) -> float:
    """`avg10` of `avg10=0.03 avg60=0.04 avg300=0.00 total=6487627`."""
    return float(dict(pair.split("=", 1) for pair in text.split())["avg10"])
