"""Pictures of every screen in its important states: a change of a picture is to be looked at before it is accepted.

`pytest tests/tui/test_snapshots.py --snapshot-update` accepts what is drawn now; `snapshot_report.html` shows both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import textual
from picture_runs import RUN, make, mixed, several, swept, trained
from pictures import NOW, PictureApp, gpus, press, same_everywhere
from run_directories import RunMaker, write_checkpoint
from scripted_looks import Looks

from forge_tui.errors import DataError
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.tui.form import table_looks
from forge_tui.tui.form.source import FormSource

# Another version may draw a border or a colour otherwise; the pictures are taken anew when the version is raised.
TAKEN_WITH = "8.2.8"
pytestmark = pytest.mark.skipif(
    textual.__version__ != TAKEN_WITH, reason=f"the pictures were taken with Textual {TAKEN_WITH}"
)
SMALL, MEDIUM, WIDE = (80, 24), (120, 40), (200, 60)
EVERY_SIZE = pytest.mark.parametrize("size", [SMALL, MEDIUM, WIDE], ids=["80x24", "120x40", "200x60"])
TWO_SIZES = pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=["80x24", "120x40"])
LONG = "cognate_a_model_of_ones_own_with_a_name_that_does_not_end_{}"
Size = tuple[int, int]
Look = Callable[..., None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory on a machine that is the same everywhere."""
    same_everywhere(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def maker(home: Path) -> Iterator[RunMaker]:
    """Makes runs in ~/project/runs."""
    made = RunMaker(home / "project" / "runs", NOW)
    yield made
    made.close()


@pytest.fixture
def look(snap_compare: Callable[..., bool], home: Path) -> Look:
    """Start the app, press keys, wait for the texts `expected`, and compare the picture with the one before."""

    def compare(size: Size, *keys: str, expected: tuple[str, ...] = (), **app: Any) -> None:
        before = press(*keys, expected=expected)
        assert snap_compare(PictureApp(home / "ui.json", **app), terminal_size=size, run_before=before)

    return compare


# Configure


@EVERY_SIZE
def test_configure(look: Look, size: Size) -> None:
    look(size, expected=("Settings of the next run",))


def test_configure_with_the_verdict_of_the_rules(look: Look) -> None:
    look(SMALL, *["down"] * 3, "right", "down", "right", expected=("2 instead of 4",))


@TWO_SIZES
def test_configure_with_all_settings(look: Look, size: Size) -> None:
    look(size, "f", *["down"] * 11, expected=("▾ Training", "Learning rate"))


def test_configure_while_a_setting_is_searched(look: Look) -> None:
    look(SMALL, "slash", *"decay", expected=("filter decay", "Weight decay"))


def test_configure_while_a_setting_is_edited(look: Look) -> None:
    look(SMALL, *["down"] * 6, "enter", "2", "5", expected=("Enter keeps",))


def test_configure_with_errors_beside_the_fields(look: Look) -> None:
    assignments = ("training.dataset=measurements.csv",)
    keys = (*["down"] * 3, "right", "down", "enter", "0", "enter", "ctrl+r")
    look(SMALL, *keys, given=FormSource(assignments=assignments), expected=("not started",))


def test_configure_with_a_table_as_data(look: Look, home: Path) -> None:
    rows = "".join(f"{number},{number % 7},{number % 3},{'yes' if number % 2 else 'no'}\n" for number in range(40))
    (home / "project" / "measurements.csv").write_text("age,weight,dose,healed\n" + rows)
    given = FormSource(assignments=("training.dataset=measurements.csv",))
    look(SMALL, *["down"] * 2, given=given, expected=("say which one to predict",))


@TWO_SIZES
def test_configure_of_a_training_function(look: Look, home: Path, size: Size) -> None:
    code = 'def train(trial, lr=1e-3, width: int = 64):\n    """Two networks against each other."""\n'
    (home / "project" / "gan.py").write_text(code, encoding="utf-8")
    look(size, given=FormSource(flags={"training.train": "gan.py"}), expected=("Parameters", "width"))


def test_configure_of_a_training_function_that_is_not_chosen_yet(look: Look) -> None:
    look(SMALL, "left", "left", expected=("choose the function", "Your training loop"))


def test_configure_with_a_sweep(look: Look) -> None:
    given = FormSource(sweeps=("learning_rate=0.001,0.003,0.01", "optimizer=adam,muon"))
    look(SMALL, *["down"] * 8, "V", given=given, expected=("6 configs", "values separated by commas"))


@TWO_SIZES
def test_configure_of_a_live_run_is_read_only(look: Look, maker: RunMaker, size: Size) -> None:
    look(size, "1", run=mixed(maker), expected=("read only",))


# Data


@pytest.fixture
def table(home: Path, monkeypatch: pytest.MonkeyPatch) -> Looks:
    """A table that no process looks at."""
    script = Looks()
    monkeypatch.setattr(table_looks, "TableProcess", script)
    (home / "project" / "patients.csv").write_text("age;price\n1;2\n")
    return script


TABLE = FormSource(assignments=("training.dataset=patients.csv", "data.target=price", "data.categories=age"))


@EVERY_SIZE
def test_data(look: Look, table: Looks, size: Size) -> None:
    look(size, "c", *["down"] * 3, given=TABLE, expected=("most frequent: north",))


def test_data_on_the_smallest_terminal(look: Look, table: Looks) -> None:
    look((60, 15), "c", given=TABLE, expected=("MISSING",))


def test_data_that_cannot_be_read(look: Look, table: Looks) -> None:
    table.error = DataError("patients.csv cannot be read: Permission denied")
    look(SMALL, "c", given=TABLE, expected=("Permission denied",))


def test_data_with_a_refused_column(look: Look, table: Looks) -> None:
    given = FormSource(assignments=("training.dataset=patients.csv", "data.numbers=district"))
    look(SMALL, "c", *["down"] * 3, given=given, expected=("refused",))


def test_data_plain(look: Look, table: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    look(SMALL, "c", "down", given=TABLE, only_ascii=True, expected=("40 distinct",))


def test_configure_with_what_is_made_of_a_table(look: Look, table: Looks) -> None:
    look(SMALL, "c", "escape", *["down"] * 2, given=TABLE, expected=("classification: 3 classes",))


# Watch


@EVERY_SIZE
def test_watch_with_models_in_every_phase(look: Look, maker: RunMaker, size: Size) -> None:
    look(size, "down", "down", "down", "down", run=mixed(maker), expected=("cognate_planner_5",))


@TWO_SIZES
def test_watch_with_long_names(look: Look, maker: RunMaker, size: Size) -> None:
    look(size, run=mixed(maker, LONG), expected=("live",))


@EVERY_SIZE
def test_watch_of_a_sweep(look: Look, maker: RunMaker, size: Size) -> None:
    look(size, run=swept(maker), expected=("CONFIG",))


def test_configs_of_a_sweep_compared(look: Look, maker: RunMaker) -> None:
    swept(maker)
    look(SMALL, "3", "C", expected=("RANK",))


def test_watch_without_models(look: Look, maker: RunMaker) -> None:
    look(SMALL, run=make(maker, RUN, RunState.QUEUED, []))


def test_watch_without_a_run(look: Look) -> None:
    look(SMALL, "2", expected=("No run is watched",))


def test_watch_with_one_model(look: Look, maker: RunMaker) -> None:
    models = [trained(maker, 1, TrainingPhase.TRAINING, 61)]
    look(SMALL, run=make(maker, RUN, RunState.RUNNING, models), expected=("61/100",))


def test_watch_with_the_output_beside_the_chart(look: Look, maker: RunMaker) -> None:
    model = trained(maker, 1, TrainingPhase.TRAINING, 61)
    run = make(maker, RUN, RunState.RUNNING, [model], train="gan.py")
    log = run / "logs" / f"{model.name}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f"step {step}: discriminator 0.69, generator 0.71\n" for step in range(90)))
    look((120, 40), run=run, expected=("step 89",))


@TWO_SIZES
def test_watch_of_a_completed_run(look: Look, maker: RunMaker, size: Size) -> None:
    models = [trained(maker, index, TrainingPhase.COMPLETED, 100) for index in range(1, 4)]
    look(size, run=make(maker, RUN, RunState.COMPLETED, models), expected=("completed",))


def test_watch_of_a_run_that_died(look: Look, maker: RunMaker) -> None:
    models = [trained(maker, index, TrainingPhase.TRAINING, 20 * index) for index in range(1, 4)]
    look(SMALL, run=make(maker, RUN, RunState.DIED, models), expected=("died",))


def test_watch_before_the_first_epoch(look: Look, maker: RunMaker) -> None:
    models = [
        maker.model(1, TrainingPhase.INITIALIZING),
        maker.model(2, TrainingPhase.TRAINING),
        maker.model(3, TrainingPhase.QUEUED, started=None),
    ]
    look(SMALL, run=make(maker, RUN, RunState.RUNNING, models))


def test_watch_with_a_filter_that_nothing_matches(look: Look, maker: RunMaker) -> None:
    look(SMALL, "slash", *"reasoner", run=mixed(maker))


@TWO_SIZES
def test_watch_with_the_curves_of_marked_models(look: Look, maker: RunMaker, size: Size) -> None:
    look(
        size, "down", "down", "down", "space", "space", "down", "down", "space", run=mixed(maker), expected=("marked",)
    )


def test_watch_with_the_chart_on_the_whole_screen(look: Look, maker: RunMaker) -> None:
    look(SMALL, *["down"] * 4, "space", "tab", "z", run=mixed(maker))


def test_watch_with_the_values_at_an_epoch(look: Look, maker: RunMaker) -> None:
    keys = ("down", "down", "down", "space", "space", *["less_than_sign"] * 30)
    look(SMALL, *keys, run=mixed(maker), expected=("loss epoch ",))


@TWO_SIZES
def test_watch_with_all_metrics_as_small_charts(look: Look, maker: RunMaker, size: Size) -> None:
    look(size, *["down"] * 4, "V", run=mixed(maker), expected=("metrics", ">loss"))


def test_watch_with_a_pinned_metric_first(look: Look, maker: RunMaker) -> None:
    look(WIDE, *["down"] * 4, "v", "P", run=mixed(maker), expected=(">*accuracy",))


def test_watch_with_the_log_instead_of_the_chart(look: Look, maker: RunMaker) -> None:
    look(SMALL, "l", run=mixed(maker), expected=("[l Log]",))


def test_watch_with_the_log_on_the_whole_screen(look: Look, maker: RunMaker) -> None:
    look(SMALL, "l", "tab", "z", run=mixed(maker))


def test_watch_on_a_terminal_that_is_too_small(look: Look, maker: RunMaker) -> None:
    look((59, 14), run=mixed(maker), expected=("needs 60",))


def test_watch_on_the_smallest_terminal(look: Look, maker: RunMaker) -> None:
    look((60, 15), run=mixed(maker))


# Runs


def test_runs_when_there_are_none(look: Look) -> None:
    look(SMALL, "3", expected=("No runs yet",))


@EVERY_SIZE
def test_runs_in_every_state(look: Look, maker: RunMaker, size: Size) -> None:
    several(maker)
    look(size, "3", "down", "down", expected=("8 runs, 2 live", "without a word", "~/project/runs/20261123-110210"))


def test_runs_with_a_failed_one_selected(look: Look, maker: RunMaker) -> None:
    several(maker)
    look(SMALL, "3", *["down"] * 3, expected=("failed    ",))


# One model


@EVERY_SIZE
def test_model_in_training(look: Look, maker: RunMaker, size: Size) -> None:
    look(size, *["down"] * 4, "enter", run=mixed(maker), expected=("cognate_planner_5",))


@TWO_SIZES
def test_model_that_failed(look: Look, maker: RunMaker, size: Size) -> None:
    look(size, *["down"] * 6, "enter", run=mixed(maker), expected=("ATTEMPTS  2 failed",))


@TWO_SIZES
def test_model_that_is_completed(look: Look, maker: RunMaker, size: Size) -> None:
    models = [trained(maker, 1, TrainingPhase.COMPLETED, 100)]
    path = make(maker, RUN, RunState.COMPLETED, models)
    (path / "logs" / f"{models[0].name}.log").write_text("reading the data\nepoch 50: the learning rate is halved\n")
    for epoch in (90, 100):
        checkpoint = path / "checkpoints" / models[0].name / f"step-{20 * epoch:012}.safetensors"
        write_checkpoint(checkpoint, {"epoch": epoch, "step": 20 * epoch})
        os.utime(checkpoint, (NOW - 2000 + 10 * epoch, NOW - 2000 + 10 * epoch))
    look(size, "enter", "end", run=path, expected=("OUTPUT",))


# Dialogs, help, palette, the machine


@pytest.mark.parametrize(
    ("key", "expected"), [("s", "after a checkpoint"), ("K", "at once"), ("e", "CSV")], ids=["stop", "kill", "export"]
)
def test_dialog(look: Look, maker: RunMaker, key: str, expected: str) -> None:
    look(SMALL, key, run=mixed(maker), expected=(expected,))


def test_dialog_on_leaving_a_run_that_was_started_here(
    snap_compare: Callable[..., bool], maker: RunMaker, home: Path
) -> None:
    app = PictureApp(home / "ui.json", run=mixed(maker))
    app.controller.started_here = True
    assert snap_compare(app, terminal_size=SMALL, run_before=press("q", expected=("Detach",)))


def test_dialog_before_a_run_is_deleted(look: Look, maker: RunMaker) -> None:
    several(maker)
    look(SMALL, "3", *["down"] * 4, "D", expected=("Delete",))


def test_dialog_for_more_epochs(look: Look, maker: RunMaker) -> None:
    several(maker)
    look(SMALL, "3", *["down"] * 4, "R", expected=("how many epochs",))


@TWO_SIZES
def test_help(look: Look, maker: RunMaker, size: Size) -> None:
    look(size, "question_mark", run=mixed(maker), expected=("keys",))


def test_help_searched(look: Look, maker: RunMaker) -> None:
    look(SMALL, "question_mark", "slash", *"pin", run=mixed(maker), expected=("pin the metric",))


def test_what_can_be_copied(look: Look, maker: RunMaker) -> None:
    look(SMALL, *["down"] * 6, "Y", run=mixed(maker), expected=("The traceback of",))


def test_palette(look: Look, maker: RunMaker) -> None:
    look(SMALL, "colon", *"chart", run=mixed(maker), expected=("fewer epochs, in more detail",))


def test_command_to_copy(look: Look) -> None:
    look(SMALL, "right", "Y", expected=("forge-tui",))


def test_presets_to_load(look: Look) -> None:
    look(SMALL, "ctrl+o", expected=("headless",))


def test_resources_on_the_whole_screen(look: Look, maker: RunMaker) -> None:
    look(SMALL, "i", run=mixed(maker), expected=("MEMORY",))


def test_resources_with_eight_gpus_on_the_whole_screen(look: Look, maker: RunMaker) -> None:
    look(SMALL, "i", run=mixed(maker), gpus=gpus(8, RUN), expected=("8 × H100", "fallen off the bus", "SUGGESTED"))


@pytest.mark.parametrize("count", [2, 8])
def test_watch_with_gpus(look: Look, maker: RunMaker, count: int) -> None:
    look(MEDIUM, run=mixed(maker), gpus=gpus(count, RUN), expected=("H100 80GB HBM3",))


# Themes, colours, characters


@pytest.mark.parametrize("theme", ["light", "ansi"])
def test_theme(look: Look, maker: RunMaker, theme: str) -> None:
    look(SMALL, "down", "space", run=mixed(maker), theme=theme)


@pytest.mark.parametrize("screen", ["1", "2", "3"], ids=["configure", "watch", "runs"])
def test_plain(look: Look, maker: RunMaker, monkeypatch: pytest.MonkeyPatch, screen: str) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    path = mixed(maker) if screen == "2" else several(maker)
    look(SMALL, screen, "down", run=path, only_ascii=True)
