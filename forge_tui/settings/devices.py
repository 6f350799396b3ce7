"""Which devices fit what is trained: GPUs and CPUs per model, and Apple's GPU."""

from __future__ import annotations

from collections.abc import Mapping

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


def device_problems(settings: Settings) -> Mapping[str, str]:
    """What does not fit, in words, by the full name of the setting; empty if all fits."""
    resources = settings.resources
    trains, count, device = what_trains(settings), resources.devices_per_model, resources.device
    found: dict[str, str] = {}
    if trains is Trains.MODEL:
        if device == "mps":
            found[DEVICE] = _WITHOUT_FLOAT64
        if count > 1:
            found[DEVICES_PER_MODEL] = (
                "the built-in training loop trains a model on one GPU; only training functions (--train) and commands "
                "may have several"
            )
        if resources.cpus_per_model is not None:
            found[CPUS_PER_MODEL] = (
                "the built-in training loop uses as many CPUs as a worker has threads (--threads); only training "
                "functions (--train) and commands may have others"
            )
    elif count > 1 and device in ("cpu", "mps"):
        found[DEVICES_PER_MODEL] = f"with device = {device} a model has no GPUs to share; leave one of the two out"
    elif isinstance(device, tuple) and len(device) < count:
        found[DEVICES_PER_MODEL] = f"a model is to have {count} GPUs, and device lists only {len(device)}"
    return found


def require_devices_fit(settings: Settings) -> None:
    """Raise `SettingsError` naming each setting that does not fit."""
    problems = [
        f"{name} = {shown(getattr(settings.resources, name.partition('.')[2]))}: {words}"
        for name, words in device_problems(settings).items()
    ]
    if problems:
        raise SettingsError("\n".join(problems))
