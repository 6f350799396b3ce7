"""The first message to every node agent."""

from __future__ import annotations

import os
from pathlib import Path

from forge_tui.engines.ray.data_files import data_files
from forge_tui.engines.ray.frames import Message
from forge_tui.engines.ray.marker import Marker
from forge_tui.settings.replacement import Trains, what_trains
from forge_tui.settings.schema import Settings, to_plain

# What training code and its libraries read, and Ray changes in its processes.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED")
# What is visible on a node follows from how the node was started (`node_gpus`).
_OF_THE_NODE = ("RAY_", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


def setup_of(settings: Settings, directory: Path, marker: Marker, nice: int) -> Message:
    """The setup of a run in `directory`; `nice`: the priority of its workers."""
    return {
        "do": "setup",
        "settings": to_plain(settings),
        "directory": str(directory),
        "marker": marker.name,
        "mark": marker.text,
        "nice": nice,
        "environment": _environment(settings),
        "data": data_files(settings),
    }


def _environment(settings: Settings) -> dict[str, str | None]:
    """Variables for the nodes (None: unset); a command has the environment of the start, as on one machine."""
    found: dict[str, str | None] = {}
    if what_trains(settings) is Trains.COMMAND:
        found |= {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_NODE)}
    return {**found, **{name: os.environ.get(name) for name in _VARIABLES}}
