"""Batch mode from the outside: output, exit status, and what is left in the run directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from depth import deep
from running import SMALL, begin, epochs_of, events, forge, processes_of, wait_until, weights

# A signal after three epochs comes before the last one, on a fast machine too.
_EPOCHS = "300"
_TO_STOP = ("--no-ui", "--epochs", _EPOCHS, "--models", "1", "--checkpoint-interval", "50", *SMALL)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended: what it printed, and its directory."""

    stdout: str
    stderr: str
    directory: Path


@pytest.fixture(scope="module")
def private_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What every test has, for runs that several tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="module")
def finished(private_state: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two models of two epochs, told as JSON lines."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    done = forge("--no-ui", "--json", "--epochs", "2", "--models", "2", *SMALL, "--output", directory)
    return Finished(done.stdout, done.stderr, directory)


@pytest.fixture(scope="module")
def in_an_open_directory(private_state: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two models of one epoch, told to a user, in a directory that was there and that others may look into."""
    directory = tmp_path_factory.mktemp("open") / "run"
    directory.mkdir()
    directory.chmod(0o755)
    done = forge("--no-ui", "--epochs", "1", "--models", "2", *SMALL, "--output", directory)
    return Finished(done.stdout, done.stderr, directory)


@pytest.fixture
def copied(finished: Finished, run_directory: Path) -> Path:
    """A copy of that finished run, for a test that changes it."""
    return Path(shutil.copytree(finished.directory, run_directory))


@pytest.fixture(scope="module")
def left_alone(private_state: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The weights of the run that is stopped elsewhere, left alone."""
    directory = tmp_path_factory.mktemp("alone") / "run"
    forge(*_TO_STOP, "--output", directory)
    return weights(directory)


def test_digits_in_parallel_and_in_series_give_good_and_equal_models(digits_csv: Path, tmp_path: Path) -> None:
    import polars
    import torch

    from forge_tui import load_model
    from forge_tui.training.data.split import split_stratified

    arguments = (
        "--no-ui", "--json", "--dataset", digits_csv, "--target", "target", "--workers", "2", "--threads", "1",
        "--fuse", "1", "--policy", "dedicated", "--epochs", "30",
    )  # fmt: skip
    parallel = forge(*arguments, "--mode", "parallel", "--output", tmp_path / "parallel")
    finished = events(parallel.stdout)[-1]
    assert (finished["event"], finished["status"], len(finished["models"])) == ("run_finished", "completed", 3)
    for model in finished["models"]:
        assert model["validation_accuracy"] >= 0.95
        record = json.loads(Path(model["path"] + ".json").read_text(encoding="utf-8"))
        frame = polars.read_csv(digits_csv)
        # Pixels that are 0 in every image are left out.
        assert len(record["features"]) == 61
        features = torch.tensor(frame.select(record["features"]).to_numpy(), dtype=torch.float32)
        labels = torch.tensor(frame["target"].to_numpy())
        split = record["split"]
        _train, held_back = split_stratified(labels, split["validation_fraction"], split["seed"])
        assert len(held_back) == split["validation_samples"]
        with torch.inference_mode():
            predicted = load_model(model["path"])(features[held_back]).argmax(-1)
        accuracy = (predicted == labels[held_back]).double().mean().item()
        assert accuracy == pytest.approx(model["validation_accuracy"], abs=1e-9)
    forge(*arguments, "--mode", "series", "--output", tmp_path / "series")
    assert len(weights(tmp_path / "parallel")) == 3
    assert weights(tmp_path / "series") == weights(tmp_path / "parallel")


def test_events_are_complete_and_in_order(finished: Finished) -> None:
    records = events(finished.stdout)
    assert all({"v", "event", "time", "run"} <= set(record) for record in records)
    assert records[0]["event"] == "run_started"
    assert records[-1]["event"] == "run_finished"
    for index in (1, 2):
        phases = [record["phase"] for record in records if record.get("index") == index and "phase" in record]
        assert phases[0] == "initializing"
        assert phases[-2:] == ["saving", "completed"]
        epochs = [record for record in records if record["event"] == "epoch_finished" and record["index"] == index]
        assert [record["epoch"] for record in epochs] == [1, 2]
        assert all(record["loss"] > 0 and 0 <= record["validation_accuracy"] <= 1 for record in epochs)


def test_events_alone_give_the_recorded_models(finished: Finished) -> None:
    from forge_tui.client.run import Run
    from forge_tui.protocol.events import from_record
    from forge_tui.protocol.model_state import ModelState, apply

    with Run(finished.directory) as run:
        recorded = run.snapshot().models
    models = {
        model.index: ModelState(name=model.name, index=model.index, seed=model.seed, epochs=2) for model in recorded
    }
    for record in events(finished.stdout):
        if "index" in record:
            models[record["index"]] = apply(models[record["index"]], from_record(record))
    assert tuple(models.values()) == recorded


def test_stdout_is_a_table_and_stderr_has_no_control_codes(in_an_open_directory: Finished) -> None:
    lines = in_an_open_directory.stdout.splitlines()
    assert lines[0].split()[:2] == ["MODEL", "PHASE"]
    assert [line.split()[0] for line in lines[1:]] == ["cognate_planner_1", "cognate_planner_2"]
    assert "\x1b" not in in_an_open_directory.stderr


def test_run_directory_is_private_and_complete(finished: Finished) -> None:
    names = ["cognate_planner_1", "cognate_planner_2"]
    assert {path.name for path in finished.directory.iterdir()} == {
        "run.db", "settings.toml", "lock", "checkpoints", "commands", "logs",
        *(f"{name}.{ending}" for name in names for ending in ("json", "safetensors")),
    }  # fmt: skip
    for path in [finished.directory, *finished.directory.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    logs = {path.name for path in (finished.directory / "logs").iterdir()}
    assert logs == {"runner.log", *(f"{name}.log" for name in names)}


@pytest.mark.parametrize("signum", [signal.SIGINT, deep(signal.SIGTERM), deep(signal.SIGUSR1)])
def test_signal_stops_after_a_checkpoint_and_resume_gives_the_same_bytes(
    signum: signal.Signals, run_directory: Path, left_alone: dict[str, bytes]
) -> None:
    started = begin(*_TO_STOP, "--output", run_directory)
    wait_until(lambda: epochs_of(run_directory) >= 3, "three epochs")
    started.send_signal(signum)
    started.send_signal(signum)
    _out, err = started.communicate()
    assert started.returncode == 128 + signum
    assert f"forge-tui resume {run_directory}" in err
    assert not weights(run_directory)
    assert list((run_directory / "checkpoints" / "cognate_planner_1").glob("*.safetensors"))
    forge("resume", run_directory, "--no-ui")
    assert weights(run_directory) == left_alone


@pytest.mark.parametrize(
    ("signum", "command", "state"), [(signal.SIGHUP, "stop", "stopped"), (signal.SIGKILL, "kill", "killed")]
)
def test_hangup_and_sigkill_of_batch_mode_leave_the_run_going_until_a_command_ends_it(
    signum: signal.Signals, command: str, state: str, run_directory: Path
) -> None:
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, by us as well
    started = begin("--no-ui", "--epochs", "100000000", "--models", "1", *SMALL, "--output", run_directory)
    signal.signal(signal.SIGHUP, inherited)
    wait_until(lambda: epochs_of(run_directory) >= 1, "an epoch")
    started.send_signal(signum)
    started.communicate()
    assert processes_of(run_directory, "runner")
    before = epochs_of(run_directory)
    wait_until(lambda: epochs_of(run_directory) > before, "an epoch after that")
    forge(command, run_directory)
    assert json.loads(forge("status", run_directory, "--json").stdout)["state"] == state
    assert forge("wait", run_directory, status=1).stderr.startswith(f"run run {state}")
    assert not processes_of(run_directory)
    forge(command, run_directory, status=4)


def test_detach_wait_status_report_logs_and_rm(run_directory: Path) -> None:
    done = forge("--no-ui", "--detach", "--epochs", "3", "--models", "2", *SMALL, "--output", run_directory)
    assert done.stdout.strip() == str(run_directory)
    forge("wait", run_directory)
    status = json.loads(forge("status", "--json").stdout)
    assert (status["state"], status["completed"], status["overall_percent"]) == ("completed", 2, 100.0)
    (known,) = json.loads(forge("runs", "--json").stdout)
    assert (known["run"], known["status"]) == ("run", "completed")
    report = json.loads(forge("report", "run", "--format", "json").stdout)
    assert [len(model["history"]) for model in report["models"]] == [3, 3]
    rows = forge("report", "run", "--format", "csv").stdout.splitlines()
    assert len(rows) == 1 + 2 * 3
    assert "Run run: completed" in forge("report", "run").stdout
    logs = forge("logs", "run", "cognate_planner_1")
    assert (logs.stdout, logs.stderr) == ("", "nothing was printed by this model\n")
    forge("rm", "run", status=4)
    forge("rm", "run", "--yes")
    assert not run_directory.exists()
    assert json.loads(forge("runs", "--json").stdout) == []


def test_time_limit_stops_after_a_checkpoint(run_directory: Path) -> None:
    done = forge(
        "--no-ui",
        "--epochs",
        "100000",
        "--models",
        "1",
        "--max-time",
        "1.5",
        *SMALL,
        "--output",
        run_directory,
        status=1,
    )
    assert "time limit of 1.5 s" in done.stderr
    assert json.loads(forge("status", run_directory, "--json").stdout)["state"] == "stopped"


def test_resume_with_more_epochs_trains_on(copied: Path, left_alone: dict[str, bytes]) -> None:
    """From 2 epochs on: the first model is then that of a run of as many."""
    assert "completed" in forge("resume", copied, status=2).stderr
    first = json.loads(forge("status", copied, "--json").stdout)
    forge("resume", copied, "--epochs", _EPOCHS)
    both = json.loads(forge("status", copied, "--json").stdout)
    assert both["seconds_before"] == first["elapsed_seconds"]
    # The time between is none of the run's.
    assert first["finished"] < both["resumed"]
    lasted = first["elapsed_seconds"] + both["finished"] - both["resumed"]
    assert both["elapsed_seconds"] == pytest.approx(lasted, abs=0.1)  # the one measured, the other of the wall clock
    (name,) = left_alone
    assert weights(copied)[name] == left_alone[name]


def test_a_directory_that_others_may_look_into_is_told_once_with_what_mends_it(
    in_an_open_directory: Finished, finished: Finished
) -> None:
    told, directory = in_an_open_directory.stderr, in_an_open_directory.directory
    assert told.count(f"warning: other users may look into {directory} (mode 755); ") == 1
    assert f"`chmod 700 {directory}` makes the directory private too" in told
    assert "other users" not in finished.stderr


def test_check_trains_nothing(run_directory: Path) -> None:
    done = forge("--no-ui", "--check", *SMALL, "--output", run_directory)
    assert done.stdout.startswith("Everything is in order: 3 planner models")
    assert not run_directory.exists()


def test_taken_directory(copied: Path) -> None:
    arguments = ("--no-ui", "--epochs", "1", "--models", "1", *SMALL, "--output", copied)
    before = weights(copied)
    refused = forge(*arguments, status=4)
    assert "forge-tui resume" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert weights(copied) == before
    forge(*arguments, "--overwrite")
    assert weights(copied / "previous-1") == before
    assert list(weights(copied)) == ["cognate_planner_1.safetensors"]


def test_files_of_ones_own_are_in_the_way_and_kept(run_directory: Path) -> None:
    run_directory.mkdir()
    (run_directory / "settings.toml").write_text("# precious\n", encoding="utf-8")
    arguments = ("--no-ui", "--epochs", "1", "--models", "1", *SMALL, "--output", run_directory)
    for extra in ((), ("--overwrite",)):
        told = forge(*arguments, *extra, status=4).stderr
        assert f"{run_directory} has settings.toml, which no run of forge-tui has made there, and a new run" in told
        assert [path.name for path in run_directory.iterdir()] == ["settings.toml"]
    assert (run_directory / "settings.toml").read_text(encoding="utf-8") == "# precious\n"


@pytest.fixture(scope="module")
def paused(private_state: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that is live, and paused: it takes no CPU from others."""
    directory = tmp_path_factory.mktemp("paused") / "run"
    forge("--no-ui", "--detach", "--epochs", "100000000", "--models", "1", *SMALL, "--output", directory)
    wait_until(lambda: epochs_of(directory) >= 1, "an epoch")
    forge("pause", directory)
    yield directory
    forge("kill", directory)


def test_directory_in_use(paused: Path) -> None:
    arguments = ("--no-ui", "--epochs", "5000", "--models", "1", *SMALL, "--output", paused)
    for extra in ((), ("--overwrite",), ("--check",)):
        assert "in use" in forge(*arguments, *extra, status=4).stderr
    assert "in use" in forge("resume", paused, status=4).stderr


def test_read_only_directory(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        parent = Path("/proc/forge")  # not even root can make a directory there
    else:
        parent = tmp_path / "closed"
        parent.mkdir(mode=0o500)
    refused = forge("--no-ui", "--epochs", "1", *SMALL, "--output", parent / "run", status=4)
    assert str(parent) in refused.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "data.csv"),
        deep("", "empty"),
        ("a,b\n1,2\n3,4\n", "target"),
        ("a,target\n1,0\n2,1,7\n3,0\n", "row 2"),
        ("a,target\n1,0\n2,0\n", "the value 0 in every row"),
    ],
)
def test_bad_data_is_told_and_leaves_nothing(
    content: str | None, words: str, run_directory: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.csv"
    if content is not None:
        data.write_text(content, encoding="utf-8")
    refused = forge("--no-ui", "--epochs", "1", *SMALL, "--dataset", data, "--output", run_directory, status=2)
    assert "data.csv" in refused.stderr
    assert words in refused.stderr
    assert not run_directory.exists()


def test_text_labels_are_classes(run_directory: Path, tmp_path: Path) -> None:
    data = tmp_path / "iris.csv"
    rows = [f"{number % 2 + number * 0.01},{'odd' if number % 2 else 'even'}" for number in range(60)]
    data.write_text("\n".join(["width,target", *rows]), encoding="utf-8")
    forge("--no-ui", "--epochs", "20", "--models", "1", *SMALL, "--dataset", data, "--output", run_directory)
    record = json.loads((run_directory / "cognate_planner_1.json").read_text(encoding="utf-8"))
    assert record["classes"] == ["even", "odd"]
    assert record["history"][-1]["validation_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epochs", "0"), "--epochs 0: must be at least 1"),
        (("--epochs", "many"), "--epochs many"),
        (("--set", "training.epoch=3"), "training.epochs"),
        (("--preset", "nothing"), "nothing"),
        (("--settings", "absent.toml"), "absent.toml"),
        (("--no-such-flag",), "--no-such-flag"),
        (("--fuse", "0"), "--fuse 0"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], words: str, run_directory: Path) -> None:
    assert words in forge("--no-ui", *arguments, "--output", run_directory, status=2).stderr
    assert not run_directory.exists()


def test_unknown_key_in_a_settings_file_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nepochs = 3\nspeed = 9\n", encoding="utf-8")
    assert "line 3" in forge("--no-ui", "--settings", file, status=2).stderr


def test_output_into_a_closed_pipe_leaves_the_run_going(run_directory: Path) -> None:
    started = begin("--no-ui", "--json", "--epochs", "30", "--models", "1", *SMALL, "--output", run_directory)
    assert started.stdout is not None
    started.stdout.readline()
    started.stdout.close()
    started.wait()
    forge("wait", run_directory)
    assert len(weights(run_directory)) == 1


def test_help_lists_what_is_there() -> None:
    text = forge("--help").stdout
    assert "forge-tui COMMAND" in text
    for word in ("attach", "serve", "plan", "bench", "new", "sample", "export", "prometheus", "profile", "label"):
        assert f"\n  {word} " in text


def test_batch_mode_says_at_once_what_it_does_and_for_what_it_waits(paused: Path, tmp_path: Path) -> None:
    waits = tmp_path / "waits"
    with (tmp_path / "said").open("w+", encoding="utf-8") as said:
        waiting = subprocess.Popen(
            [sys.executable, "-m", "forge_tui", *_TO_STOP, "--output", waits, "--after", paused],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )

        def told() -> str:
            return (tmp_path / "said").read_text(encoding="utf-8")

        try:
            wait_until(lambda: told() == "synthetic: reading the data…\n", "the first line, before anything is read")
            wait_until(lambda: "waits until run has ended (--after)" in told(), "for what it waits")
            forge("kill", waits)
        finally:
            waiting.kill() if waiting.poll() is None and not waits.exists() else waiting.wait()
