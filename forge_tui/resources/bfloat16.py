"""Whether the CPU has bfloat16 instructions; without them torch emulates bfloat16 slowly."""

from __future__ import annotations

from forge_tui.resources.system_probe import SystemProbe

_FAST = frozenset({"avx512_bf16", "amx_bf16", "avx10_2"})


def multiplies_bfloat16(probe: SystemProbe | None = None) -> bool | None:
    """Whether the CPU has bfloat16 instructions (x86: AVX512_BF16 or AMX); None if its flags do not say.

    Only measured on x86: without them training is 5 to 9 times as slow as in float32.
    """
    try:
        text = (probe or SystemProbe()).read("/proc/cpuinfo") or ""
    except OSError:
        return None
    for line in text.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() == "flags":
            return not _FAST.isdisjoint(flags.split())
    return None


def slow_bfloat16(precisions: set[str], device: str, probe: SystemProbe | None = None) -> str | None:
    """A warning if one of these precisions trains slowly on the device, else None."""
    if "bfloat16" not in precisions or device != "cpu" or multiplies_bfloat16(probe) is not False:
        return None
    return (
        "--precision bfloat16: this CPU has neither AVX512_BF16 nor AMX, and trains 5 to 9 times as slowly in bfloat16 "
        "as in float32; leave it out here"
    )
