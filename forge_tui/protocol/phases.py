"""The phases of a model and the states of a run."""

from __future__ import annotations

from enum import StrEnum

WAITING = "waiting for a place: "
"""How the reason of a queued model begins whose worker is requested and not placed; then what it needs."""


class TrainingPhase(StrEnum):
    """The phase of one model. `checkpointing`: training waits for a checkpoint; most are written while it continues."""

    QUEUED = "queued"
    INITIALIZING = "initializing"
    TRAINING = "training"
    PAUSED = "paused"
    CHECKPOINTING = "checkpointing"
    SAVING = "saving"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """Whether a worker is busy with the model."""
        return self in _ACTIVE

    @property
    def is_final(self) -> bool:
        """Whether the run will not train the model further by itself."""
        return self in _FINAL


_ACTIVE = {
    TrainingPhase.INITIALIZING,
    TrainingPhase.TRAINING,
    TrainingPhase.PAUSED,
    TrainingPhase.CHECKPOINTING,
    TrainingPhase.SAVING,
}
_FINAL = {TrainingPhase.COMPLETED, TrainingPhase.FAILED, TrainingPhase.CANCELLED}


class RunState(StrEnum):
    """The state of a run. `DIED` is never recorded: it follows from a free lock without a recorded end."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    KILLED = "killed"
    DIED = "died"

    @property
    def is_live(self) -> bool:
        """Whether a runner is at work on the run."""
        return self in _LIVE


_LIVE = {RunState.QUEUED, RunState.RUNNING, RunState.PAUSED, RunState.STOPPING}
