"""The CPU's microarchitecture: linear algebra libraries choose kernels by it, and kernels differ in rounding."""

from __future__ import annotations

import functools
import platform

_X86 = ("vendor_id", "cpu family", "model")
_ARM = ("CPU implementer", "CPU part", "CPU variant")
_HEAD = 4096  # bytes: the first CPU's paragraph; reading those of hundreds of CPUs takes 50 ms


@functools.cache
def processor() -> str:
    """Identifies this machine's CPU model, such as `x86_64 AuthenticAMD 25 17`."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return processor_named(platform.machine(), file.read(_HEAD))
    except OSError:
        return processor_named(platform.machine(), "")


def processor_named(machine: str, cpuinfo: str) -> str:
    """`machine` with vendor, family and model, or ARM's part numbers, from the first paragraph of /proc/cpuinfo."""
    lines = cpuinfo.split("\n\n", 1)[0].splitlines()
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    for names in (_X86, _ARM):
        values = [found[name] for name in names if name in found]
        if len(values) == len(names):
            return " ".join([machine, *values])
    return " ".join([machine, platform.processor()]).strip()
