"""Which devices fit what is trained: GPUs and CPUs per model, and Apple's GPU."""

from __future__ import annotations

from collections.abc import Sequence

from forge_tui.errors import SettingsError
from forge_tui.settings.problems import shown
from forge_tui.settings.replacement import Trains, what_trains
from forge_tui.settings.schema import Settings

DEVICE, DEVICES_PER_MODEL, CPUS_PER_MODEL = (
    "resources.device",
    "resources.devices_per_model",
    "resources.cpus_per_model",
)
PER_MODEL = (DEVICES_PER_MODEL, CPUS_PER_MODEL)
"""Settings of training functions and commands only."""

_WITHOUT_FLOAT64 = (
    "the built-in training loop sums losses in float64, which Apple's GPU does not have; use --device cpu, or train by "
    "a training function (--train) or a command"
)


def device_problems(
    trains: Trains, device: str | Sequence[str], devices_per_model: int, cpus_per_model: int | None
) -> dict[str, str]:
    """What does not fit, in words, by the full name of the setting; empty if all fits. The values must be valid."""
    found: dict[str, str] = {}
    if trains is Trains.MODEL:
        if device == "mps":
            found[DEVICE] = _WITHOUT_FLOAT64
        if devices_per_model > 1:
            found[DEVICES_PER_MODEL] = (
                "the built-in training loop trains a model on one GPU; only training functions (--train) and commands "
                "may have several"
            )
        if cpus_per_model is not None:
            found[CPUS_PER_MODEL] = (
                "the built-in training loop uses as many CPUs as a worker has threads (--threads); only training "
                "functions (--train) and commands may have others"
            )
    elif devices_per_model > 1 and device in ("cpu", "mps"):
        found[DEVICES_PER_MODEL] = f"with device = {device} a model has no GPUs to share; leave one of the two out"
    elif not isinstance(device, str) and len(device) < devices_per_model:
        found[DEVICES_PER_MODEL] = f"a model is to have {devices_per_model} GPUs, and device lists only {len(device)}"
    return found


def problems_in(settings: Settings) -> dict[str, str]:
    """As `device_problems`, of all settings."""
    own = settings.resources
    return device_problems(what_trains(settings), own.device, own.devices_per_model, own.cpus_per_model)


def require_devices_fit(settings: Settings) -> None:
    """Raise `SettingsError` naming each setting that does not fit."""
    problems = [
        f"{name} = {shown(getattr(settings.resources, name.partition('.')[2]))}: {words}"
        for name, words in problems_in(settings).items()
    ]
    if problems:
        raise SettingsError("\n".join(problems))
