"""The energy of a run in words: joules, watt-hours and CO2, and what of it is not known, with the reason."""

from __future__ import annotations

import re

from forge_tui.protocol.energy import Energy

_UNITS = ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"))
_JOULES_PER_WH = 3_600.0


def joules_text(joules: float) -> str:
    """Joules with a unit: `950 J`, `41.2 kJ`."""
    for size, unit in _UNITS:
        if joules >= size * 0.9995:  # what rounds to it
            return f"{joules / size:.3g} {unit}"
    return f"{joules:.3g} J"


def co2_text(grams: float) -> str:
    """A mass of CO2: `250 mg CO2`, `3.21 g CO2`, `1.2 kg CO2`."""
    if grams >= 1e3:
        return f"{grams / 1e3:.3g} kg CO2"
    return f"{grams:.3g} g CO2" if grams >= 1 else f"{grams * 1e3:.3g} mg CO2"


def energy_lines(energy: Energy | None) -> list[str]:
    """The lines of a report: the sum, then what it is made of. None (an older run): no line."""
    if energy is None:
        return []
    parts = "; ".join(filter(None, (_cpu(energy), _gpus(energy))))
    return [f"Energy: {_sum(energy)}", f"Energy by part: {parts}"]


def energy_in_short(energy: Energy, *, reasons: bool = True) -> list[str]:
    """The lines of the sidebar (30 cells): the sum, its parts, and with `reasons` why something is unknown."""
    joules, grams = energy.joules, energy.grams
    if joules is None:
        return ["unknown", *(_reasons(energy) if reasons else ())]
    least = "" if energy.is_whole else "at least "
    lines = [f"{least}{joules_text(joules)}" + ("" if grams is None else f", {co2_text(grams)}")]
    if energy.cpu is not None and energy.packages is not None:
        lines.append(f"CPU {joules_text(energy.cpu)} of {joules_text(energy.packages)}")
    if energy.gpus:
        lines.append(f"GPU{'s' if len(energy.gpus) > 1 else ''} {joules_text(sum(energy.gpus.values()))}")
    return [*lines, *(_reasons(energy) if reasons else ())]


def _reasons(energy: Energy) -> list[str]:
    """Why something is unknown, each without what helps: the report has that."""
    return [re.split("[:;] ", words)[0] for words in (energy.cpu_unknown, energy.gpu_unknown) if words]


def _sum(energy: Energy) -> str:
    joules, grams = energy.joules, energy.grams
    if joules is None:
        return "unknown"
    least = "" if energy.is_whole else "at least "
    text = f"{least}{joules_text(joules)} ({joules / _JOULES_PER_WH:.3g} Wh)"
    if grams is None or energy.intensity is None:
        return text
    return f"{text}, {least}{co2_text(grams)} at {energy.intensity:g} g/kWh"


def _cpu(energy: Energy) -> str:
    if energy.cpu is None or energy.packages is None:
        return f"CPU unknown: {energy.cpu_unknown or 'it was not read'}"
    known = f"CPU {joules_text(energy.cpu)}, this run's share by CPU time of {joules_text(energy.packages)} in all"
    return known if energy.cpu_unknown is None else f"{known} (not all of it is known: {energy.cpu_unknown})"


def _gpus(energy: Energy) -> str | None:
    found = [f"{uuid} {joules_text(joules)}" for uuid, joules in energy.gpus.items()]
    known = f"whole GPUs while it was on them: {', '.join(found)}" if found else None
    if energy.gpu_unknown is None:
        return known
    return f"GPU unknown: {energy.gpu_unknown}" if known is None else f"{known} (not all: {energy.gpu_unknown})"
