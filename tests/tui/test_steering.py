"""Pausing, cancelling, retrying and the number of workers, by their keys, answered by the runner's own steering."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_directories import RunMaker
from steered import SteeredRun
from textual.widgets import Static
from tui_host import Host, screen_text, until

from forge_tui import client
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.resources.lifetime import Ending
from forge_tui.tui import leaving
from forge_tui.tui.dialogs.questions import Ask, Question
from forge_tui.tui.screens.configure import ConfigureScreen
from forge_tui.tui.screens.watch import WatchScreen


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SteeredRun]:
    """Two models in training, a failed one and one that waits."""
    maker = RunMaker(tmp_path)
    models = [
        maker.model(1, TrainingPhase.TRAINING, epoch=20),
        maker.model(2, TrainingPhase.TRAINING, epoch=10),
        maker.failed(3),
        maker.model(4, TrainingPhase.QUEUED),
    ]
    with SteeredRun(tmp_path / "steered", models) as steered:
        yield steered


class Hand:
    """Drives Watch on one run by keys."""

    def __init__(self, directory: Path, first: type = WatchScreen) -> None:
        self.app = Host(first, run=client.attach(directory))

    @property
    def status(self) -> str:
        return self.app.status.plain

    async def __aenter__(self) -> Hand:
        self._running = self.app.run_test(size=(100, 30))
        self.pilot = await self._running.__aenter__()
        await until(self.pilot, lambda: self.app.controller.snapshot is not None)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._running.__aexit__(*error)  # type: ignore[arg-type]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until_status(self, text: str) -> None:
        await until(self.pilot, lambda: text in self.status)


async def test_p_pauses_and_lets_go_on(run: SteeredRun) -> None:
    async with Hand(run.directory.path) as hand:
        await hand.press("p")
        await hand.until_status("pause: done")
        await until(hand.pilot, lambda: hand.app.controller.snapshot.state is RunState.PAUSED)
        assert "paused" in screen_text(hand.app)
        await hand.press("p")
        await hand.until_status("continue: done")
        await until(hand.pilot, lambda: hand.app.controller.snapshot.state is RunState.RUNNING)


async def test_x_asks_and_cancels_the_selected_model(run: SteeredRun) -> None:
    async with Hand(run.directory.path) as hand:
        await hand.press("down", "x")
        await until(hand.pilot, lambda: isinstance(hand.app.screen, Question))
        assert "Cancel cognate_planner_2?" in screen_text(hand.app)
        await hand.press("enter")  # the first answer that is offered changes nothing
        await until(hand.pilot, lambda: not isinstance(hand.app.screen, Question))
        assert run.phase_of(2) is TrainingPhase.TRAINING
        await hand.press("x")
        await until(hand.pilot, lambda: isinstance(hand.app.screen, Question))
        await hand.press("x")
        await hand.until_status("cancel: done")
        assert run.phase_of(2) is TrainingPhase.CANCELLED
        assert run.phase_of(1) is TrainingPhase.TRAINING


async def test_x_cancels_all_selected_models_that_can_be(run: SteeredRun) -> None:
    async with Hand(run.directory.path) as hand:
        await hand.press("X", "X", "X", "X", "x")
        await until(hand.pilot, lambda: isinstance(hand.app.screen, Question))
        await hand.press("x")
        await hand.until_status("cancel: done")
        cancelled = [index for index in range(1, 5) if run.phase_of(index) is TrainingPhase.CANCELLED]
        assert cancelled == [1, 2, 4]


async def test_r_trains_a_failed_model_again_and_says_why_not_another(run: SteeredRun) -> None:
    async with Hand(run.directory.path) as hand:
        await hand.press("r")
        assert "only a failed or cancelled model" in hand.status
        await hand.press("down", "down", "r")
        await hand.until_status("retry: done")
        assert run.phase_of(3) is TrainingPhase.QUEUED
        assert run.journal.models[3].attempt == 3


async def test_w_asks_for_another_number_of_workers_and_tells_what_the_rules_say(run: SteeredRun) -> None:
    async with Hand(run.directory.path) as hand:
        await hand.press("w")
        await until(hand.pilot, lambda: isinstance(hand.app.screen, Ask))
        assert "Now 2 of 2 requested: half of 4 CPUs" in screen_text(hand.app)
        await hand.press("backspace", "9", "enter")
        await hand.until_status("workers: done: half of 8 CPUs")
        assert run.journal.info.requested == 9
        await hand.press("w")
        await until(hand.pilot, lambda: isinstance(hand.app.screen, Ask))
        await hand.press("x", "enter")
        await hand.until_status("is not a whole number")


async def test_the_number_of_workers_is_the_one_setting_of_a_live_run_that_opens(run: SteeredRun) -> None:
    run.directory.settings.write_text('[training]\ntraining_mode = "parallel"\n', encoding="utf-8")
    async with Hand(run.directory.path, ConfigureScreen) as hand:
        await hand.press("1")
        await until(hand.pilot, lambda: isinstance(hand.app.front, ConfigureScreen) and hand.app.front.is_there)
        await until(hand.pilot, lambda: hand.app.front.panel.read_only)
        hand.app.front.panel.pane.settings.select("training.epochs")
        await hand.press("enter")
        assert not isinstance(hand.app.screen, Ask)
        hand.app.front.panel.pane.settings.select("training.max_parallel_workers")
        await hand.press("enter")
        await until(hand.pilot, lambda: isinstance(hand.app.screen, Ask))


async def test_a_refusal_is_told_with_its_reason(tmp_path: Path) -> None:
    models = [RunMaker(tmp_path).model(1, TrainingPhase.TRAINING, epoch=5)]
    with SteeredRun(tmp_path / "series", models, mode="series") as steered:
        async with Hand(steered.directory.path) as hand:
            await hand.press("w")
            await until(hand.pilot, lambda: isinstance(hand.app.screen, Ask))
            await hand.press("enter")
            await hand.until_status("workers refused: the run is in series mode")


async def test_a_command_that_nobody_answers_is_told_after_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_tui.tui.run_controller.ANSWER_SECONDS", 0.2)
    models = [RunMaker(tmp_path).model(1, TrainingPhase.TRAINING, epoch=5)]
    with SteeredRun(tmp_path / "deaf", models, deaf=True) as steered:
        async with Hand(steered.directory.path) as hand:
            await hand.press("p")
            await hand.until_status("pausing… sent ")
            await hand.until_status("pause: no answer for 0.2 s; the command is kept for the runner")
            assert len(list(steered.directory.commands.glob("*.json"))) == 1


async def test_steering_an_ended_run_says_what_to_do_instead(tmp_path: Path) -> None:
    path = RunMaker(tmp_path).make(state=RunState.STOPPED)
    async with Hand(path) as hand:
        for key, word in (("p", "pause"), ("x", "cancel"), ("r", "retry")):
            await hand.press(key)
            await hand.until_status(f"Nothing to {word}: the run is stopped; R continues it.")


async def test_the_log_says_who_sent_what(run: SteeredRun) -> None:
    async with Hand(run.directory.path) as hand:
        await hand.press("l", "p")
        await hand.until_status("pause: done")
        await until(hand.pilot, lambda: "pause from ui ada@gpu7 accepted" in screen_text(hand.app))
        client.attach(run.directory.path).unpause(sender="bob@" + socket.gethostname())
        await until(hand.pilot, lambda: "continue from bob@" in screen_text(hand.app))


async def test_detaching_warns_where_the_run_would_be_ended(run: SteeredRun, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Ending("Slurm job 7", "Slurm ends all processes of a job", None)
    monkeypatch.setattr("forge_tui.tui.leaving.endings", lambda probe: (job,))
    assert leaving.what_would_end_a_run() == ["Slurm job 7"]
    async with Hand(run.directory.path) as hand:
        hand.app.controller.started_here = True
        await hand.press("q")
        await until(hand.pilot, lambda: isinstance(hand.app.screen, Question))
        question = hand.app.screen.query_one(".dialog-text", Static)
        assert str(question.content).endswith("continues without this terminal, but ends with this Slurm job 7.")
        await hand.press("enter")
    assert "It ends with this Slurm job 7" in str(hand.app.farewell)


async def test_the_bell_rings_when_a_model_fails_for_good_and_at_the_end(
    run: SteeredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[int] = []
    monkeypatch.setattr(Host, "bell", lambda self: rung.append(1))
    async with Hand(run.directory.path) as hand:
        run.journal.phase(1, TrainingPhase.FAILED, "for the test")
        await until(hand.pilot, lambda: len(rung) == 1)
        await hand.press("s")
        await until(hand.pilot, lambda: isinstance(hand.app.screen, Question))
        await hand.press("s")
        await until(hand.pilot, lambda: len(rung) == 2)
        assert hand.app.controller.snapshot.state is RunState.STOPPED
