"""The two state machines, over all pairs, and the commands over all states."""

from __future__ import annotations

from itertools import product

import pytest

from forge_tui.protocol import transitions
from forge_tui.protocol.phases import RunState, TrainingPhase

R, M = RunState, TrainingPhase

# Written out again, so that a change of the table is a change in two places.
RUN_PAIRS = {
    (R.QUEUED, R.RUNNING), (R.QUEUED, R.STOPPING),
    (R.RUNNING, R.PAUSED), (R.RUNNING, R.STOPPING), (R.RUNNING, R.COMPLETED), (R.RUNNING, R.FAILED),
    (R.PAUSED, R.RUNNING), (R.PAUSED, R.STOPPING), (R.PAUSED, R.COMPLETED), (R.PAUSED, R.FAILED),
    (R.STOPPING, R.STOPPING), (R.STOPPING, R.STOPPED), (R.STOPPING, R.KILLED), (R.STOPPING, R.COMPLETED),
    (R.STOPPING, R.FAILED),
    (R.COMPLETED, R.QUEUED), (R.FAILED, R.QUEUED), (R.STOPPED, R.QUEUED), (R.KILLED, R.QUEUED), (R.DIED, R.QUEUED),
}  # fmt: skip
ACTIVE = (M.INITIALIZING, M.TRAINING, M.PAUSED, M.CHECKPOINTING, M.SAVING)
MODEL_PAIRS = {
    *product(ACTIVE, (M.QUEUED, M.FAILED, M.CANCELLED)),
    (M.QUEUED, M.QUEUED), (M.QUEUED, M.INITIALIZING), (M.QUEUED, M.FAILED), (M.QUEUED, M.CANCELLED),
    (M.INITIALIZING, M.TRAINING), (M.INITIALIZING, M.SAVING), (M.INITIALIZING, M.COMPLETED),
    (M.TRAINING, M.PAUSED), (M.TRAINING, M.CHECKPOINTING), (M.TRAINING, M.SAVING),
    (M.PAUSED, M.TRAINING), (M.PAUSED, M.CHECKPOINTING),
    (M.CHECKPOINTING, M.TRAINING), (M.CHECKPOINTING, M.PAUSED), (M.CHECKPOINTING, M.SAVING),
    (M.SAVING, M.SAVING), (M.SAVING, M.COMPLETED), (M.SAVING, M.CHECKPOINTING),
    (M.COMPLETED, M.QUEUED), (M.FAILED, M.QUEUED), (M.CANCELLED, M.QUEUED),
}  # fmt: skip
COMMANDS_IN = {
    R.QUEUED: {"stop", "kill", "cancel", "retry", "workers"},
    R.RUNNING: {"stop", "kill", "pause", "cancel", "retry", "workers"},
    R.PAUSED: {"stop", "kill", "continue", "cancel", "retry", "workers"},
    R.STOPPING: {"kill"},
}


def test_every_pair_of_run_states() -> None:
    allowed = {pair for pair in product(RunState, RunState) if transitions.may_follow_run(*pair)}
    assert allowed == RUN_PAIRS


def test_every_pair_of_model_phases() -> None:
    allowed = {pair for pair in product(TrainingPhase, TrainingPhase) if transitions.may_follow_model(*pair)}
    assert allowed == MODEL_PAIRS


@pytest.mark.parametrize("state", RunState)
def test_every_command_in_every_state_is_followed_or_refused_in_words(state: RunState) -> None:
    for command in transitions.COMMANDS:
        told = transitions.refusal(command, state)
        if command in COMMANDS_IN.get(state, set()):
            assert told is None, (command, state)
        else:
            assert told, (command, state)
    assert "there is no command 'dance'" in str(transitions.refusal("dance", state))


@pytest.mark.parametrize("phase", TrainingPhase)
def test_cancel_takes_what_is_not_final_and_retry_what_has_failed_or_was_cancelled(phase: TrainingPhase) -> None:
    assert (transitions.model_refusal("cancel", "m", phase) is None) == (not phase.is_final)
    assert (transitions.model_refusal("retry", "m", phase) is None) == (phase in (M.FAILED, M.CANCELLED))


def test_every_state_and_phase_can_be_left_and_the_final_ones_only_to_the_queue() -> None:
    for state in RunState:
        if not state.is_live:
            assert transitions.RUN[state] == {R.QUEUED}
    for phase in TrainingPhase:
        if phase.is_final:
            assert transitions.MODEL[phase] == {M.QUEUED}
