"""Which GPUs a worker sees. No torch here: the worker of a command uses this too."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence


def see_only(devices: Sequence[str], environment: MutableMapping[str, str]) -> None:
    """Let this process and what it starts see only the GPUs with these UUIDs; empty: nothing is changed.

    CUDA reads it when it starts, so before that. Numbers would depend on CUDA_DEVICE_ORDER, which is set for programs
    that compare CUDA's order with the driver's.
    """
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
