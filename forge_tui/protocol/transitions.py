"""The state machines of run and model, and which command is allowed when.

A run (`died` follows from a free lock and is never recorded; a resume leads from it to `queued` too)::

    queued ──▶ running ◀──▶ paused
      │          │  │          │
      │          │  └──────────┼──▶ completed, failed ──┐
      └──────────┴──▶ stopping ◀┘                        │ resume
                         └──▶ stopped, killed, ─────────┴──▶ queued
                              completed, failed

A model (`active` stands for initializing, training, paused, checkpointing and saving)::

    queued ──▶ initializing ──▶ training ◀──▶ paused, checkpointing
      ▲  │            │            └──▶ saving ──▶ completed ── trained further ──▶ queued
      │  │            └──▶ completed (its files were there already)
      │  └──▶ cancelled ◀── active
      ├── active (stopped, requeued, or to be tried again)
      └── failed, cancelled (retry) ;  failed ◀── active
"""

from __future__ import annotations

from collections.abc import Mapping

from forge_tui.protocol.phases import RunState, TrainingPhase

_R, _M = RunState, TrainingPhase
_LIVE_WORK = frozenset({_M.QUEUED, _M.FAILED, _M.CANCELLED})

RUN: Mapping[RunState, frozenset[RunState]] = {
    _R.QUEUED: frozenset({_R.RUNNING, _R.STOPPING}),
    _R.RUNNING: frozenset({_R.PAUSED, _R.STOPPING, _R.COMPLETED, _R.FAILED}),
    _R.PAUSED: frozenset({_R.RUNNING, _R.STOPPING, _R.COMPLETED, _R.FAILED}),
    # A kill after a stop: the same state with another reason.
    _R.STOPPING: frozenset({_R.STOPPING, _R.STOPPED, _R.KILLED, _R.COMPLETED, _R.FAILED}),
    _R.COMPLETED: frozenset({_R.QUEUED}),
    _R.FAILED: frozenset({_R.QUEUED}),
    _R.STOPPED: frozenset({_R.QUEUED}),
    _R.KILLED: frozenset({_R.QUEUED}),
    _R.DIED: frozenset({_R.QUEUED}),
}
"""The states that may follow each state of a run."""

MODEL: Mapping[TrainingPhase, frozenset[TrainingPhase]] = {
    # Queued again: a resume gives it another reason.
    _M.QUEUED: frozenset({_M.QUEUED, _M.INITIALIZING, _M.FAILED, _M.CANCELLED}),
    _M.INITIALIZING: frozenset({_M.TRAINING, _M.SAVING, _M.COMPLETED}) | _LIVE_WORK,
    _M.TRAINING: frozenset({_M.PAUSED, _M.CHECKPOINTING, _M.SAVING}) | _LIVE_WORK,
    _M.PAUSED: frozenset({_M.TRAINING, _M.CHECKPOINTING}) | _LIVE_WORK,
    # Writing to a full disk is retried: from saving back to the checkpoint, and saving with a reason.
    _M.CHECKPOINTING: frozenset({_M.TRAINING, _M.PAUSED, _M.SAVING}) | _LIVE_WORK,
    _M.SAVING: frozenset({_M.SAVING, _M.COMPLETED, _M.CHECKPOINTING}) | _LIVE_WORK,
    _M.COMPLETED: frozenset({_M.QUEUED}),
    _M.FAILED: frozenset({_M.QUEUED}),
    _M.CANCELLED: frozenset({_M.QUEUED}),
}
"""The phases that may follow each phase of a model."""

COMMANDS: Mapping[str, frozenset[RunState]] = {
    "stop": frozenset({_R.QUEUED, _R.RUNNING, _R.PAUSED}),
    "kill": frozenset({_R.QUEUED, _R.RUNNING, _R.PAUSED, _R.STOPPING}),
    "pause": frozenset({_R.RUNNING}),
    "continue": frozenset({_R.PAUSED}),
    "cancel": frozenset({_R.QUEUED, _R.RUNNING, _R.PAUSED}),
    "retry": frozenset({_R.QUEUED, _R.RUNNING, _R.PAUSED}),
    "workers": frozenset({_R.QUEUED, _R.RUNNING, _R.PAUSED}),
}
"""The commands to a live run, and the states in which each is allowed."""

MODEL_COMMANDS: Mapping[str, frozenset[TrainingPhase]] = {
    "cancel": frozenset(phase for phase in TrainingPhase if not phase.is_final),
    "retry": frozenset({_M.FAILED, _M.CANCELLED}),
}
"""The commands about one model, and the phases in which each is allowed."""

_INSTEAD = {
    "pause": {_R.PAUSED: "it is paused already", _R.QUEUED: "it has not begun; stop ends it"},
    "continue": {_R.RUNNING: "it is not paused", _R.QUEUED: "it waits for another run, not for you"},
    "stop": {_R.STOPPING: "it is ending already"},
}


def may_follow_run(before: RunState, after: RunState) -> bool:
    """Whether a run in `before` may become `after`."""
    return after in RUN[before]


def may_follow_model(before: TrainingPhase, after: TrainingPhase) -> bool:
    """Whether a model in `before` may become `after`."""
    return after in MODEL[before]


def refusal(command: str, state: RunState) -> str | None:
    """Why a run in `state` refuses `command`, in words; None if it does not."""
    if command not in COMMANDS:
        return f"there is no command {command!r}; there are {', '.join(COMMANDS)}"
    if state in COMMANDS[command]:
        return None
    refused = _INSTEAD.get(command, {}).get(state)
    if refused is None:
        refused = "the run is ending" if state is _R.STOPPING else f"the run is {state}: there is nothing to {command}"
    return refused


def model_refusal(command: str, model: str, phase: TrainingPhase) -> str | None:
    """Why a model in `phase` refuses `command`, in words; None if it does not."""
    if phase in MODEL_COMMANDS[command]:
        return None
    if command == "retry":
        return f"{model} is {phase}: only a failed or cancelled model can be tried again"
    return f"{model} is {phase} already"
