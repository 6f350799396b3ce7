"""Whole runs of commands: reports in any language, environment, failures, stops, pauses, kills, halving, checks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import begin, epochs_of, events, forge, kill_all, processes_of, wait_until

from forge_tui import client
from forge_tui.client.run import Run

RUN = ("--no-ui", "--policy", "dedicated", "--threads", "1")

SHELL = r"""
for epoch in 1 2 3; do
  echo "{\"epoch\": $epoch, \"loss\": 0.$((9 - epoch)), \"goal\": {\"score\": \"higher\"}, \"score\": $epoch}" \
    >> "$FORGE_TRIAL_CHANNEL"
done
"""
AWK = r"""
BEGIN {
  for (epoch = 1; epoch <= 3; epoch++)
    printf "{\"epoch\": %d, \"loss\": 0.%d, \"score\": %d}\n", epoch, 9 - epoch, epoch >> ENVIRON["FORGE_TRIAL_CHANNEL"]
}
"""
C = r"""
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    FILE *reports = fopen(getenv("FORGE_TRIAL_CHANNEL"), "a");
    if (reports == NULL) return 1;
    for (int epoch = 1; epoch <= 3; epoch++)
        fprintf(reports, "{\"epoch\": %d, \"loss\": 0.%d, \"score\": %d}\n", epoch, 9 - epoch, epoch);
    return fclose(reports) != 0;
}
"""
PYTHON = r"""
import forge_tui

for epoch in (1, 2, 3):
    forge_tui.report({"score": epoch}, loss=float(f"0.{9 - epoch}"), epoch=epoch, goal={"score": "higher"})
"""
TELL = r"""
import json, os, sys
from pathlib import Path

names = [name for name in os.environ if name.startswith("FORGE_TRIAL_")]
names += ["OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"]
place = Path(os.environ["FORGE_TRIAL_DIRECTORY"])
about = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "environment": {name: os.environ[name] for name in names}}
(place / "about.json").write_text(json.dumps(about))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in {"tell.py": TELL, "report.py": PYTHON, "report.sh": SHELL, "report.awk": AWK}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def record_of(directory: Path, index: int = 1) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((directory / f"cognate_command_{index}.json").read_bytes())
    return record


def compiled(place: Path) -> list[str]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    (place / "report.c").write_text(C, encoding="utf-8")
    subprocess.run([compiler, "-o", place / "report", place / "report.c"], check=True)
    return ["./report"]


@pytest.mark.parametrize("language", ["sh", "awk", "c", "python"])
def test_a_program_reports_by_the_file_that_it_is_given(place: Path, language: str) -> None:
    if language == "awk" and shutil.which("awk") is None:
        pytest.skip("there is no awk")
    programs = {"sh": ["sh", "report.sh"], "awk": ["awk", "-f", "report.awk"], "python": [sys.executable, "report.py"]}
    command = compiled(place) if language == "c" else programs[language]
    forge(*RUN, "--output", "run", "--", *command, cwd=place)
    record = record_of(place / "run")
    assert [(item["epoch"], item["metrics"]) for item in record["history"]] == [
        (epoch, {"loss": (9 - epoch) / 10, "score": epoch}) for epoch in (1, 2, 3)
    ]
    assert [record[name] for name in ("parameters", "sha256", "exact", "best_loss")] == [None, None, None, 0.6]
    with client.attach(place / "run") as attached:
        shown = attached.snapshot()
        assert [epoch.metrics["score"] for epoch in attached.history(1)] == [1, 2, 3]
    (model,) = shown.models
    files = place / "run" / "checkpoints" / "cognate_command_1" / "files"
    assert (model.name, model.epochs, model.epoch, model.path) == ("cognate_command_1", None, 3, str(files))
    goals = {metric["name"]: metric["goal"] for metric in shown.run.metrics}
    assert goals["score"] == ("higher" if language in ("sh", "python") else None)
    assert sorted(os.listdir(files.parent)) == ["files"]


def test_placeholders_and_variables_say_which_model_it_is(place: Path) -> None:
    run = (*RUN, "--seed", "5", "--models", "2", "--sweep", "model.lr=1e-3,big", "--output", "run")
    command = (
        sys.executable,
        "tell.py",
        "{seed}",
        "{lr}",
        "{name}",
        "{device}",
        "{directory}",
        "{{x}}",
        "${y}",
        "a b;$c",
    )
    forge(*run, "--device", "cpu", "--", *command, cwd=place)
    run_directory = place / "run"
    files = [run_directory / "checkpoints" / f"cognate_command_{index}" / "files" for index in (1, 2, 3, 4)]
    found = [json.loads((path / "about.json").read_bytes()) for path in files]
    assert [one["arguments"] for one in found] == [
        [str(seed), lr, f"cognate_command_{index}", "cpu", str(files[index - 1]), "{x}", "${y}", "a b;$c"]
        for index, (lr, seed) in enumerate((lr, seed) for lr in ("0.001", "big") for seed in (5, 6))
        for index in (index + 1,)
    ]
    assert {one["cwd"] for one in found} == {str(place)}
    assert found[1]["environment"] == {
        "FORGE_TRIAL_SEED": "6",
        "FORGE_TRIAL_INDEX": "2",
        "FORGE_TRIAL_NAME": "cognate_command_2",
        "FORGE_TRIAL_ATTEMPT": "1",
        "FORGE_TRIAL_DIRECTORY": str(files[1]),
        "FORGE_TRIAL_CHANNEL": str(files[1].parent / "reports-attempt-1.jsonl"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with client.attach(run_directory) as attached:
        shown = attached.snapshot()
    assert [model.combination["lr"] for model in shown.models] == [0.001, 0.001, "big", "big"]
    assert [(model.phase.value, model.metrics, model.loss) for model in shown.models] == [("completed", {}, None)] * 4
    assert all(model.seconds for model in shown.models)
    assert record_of(run_directory, 3)["config"]["model.lr"] == "big"
    assert "cognate_command_4" in forge("report", run_directory).stdout
    for command_of_ours in ("sample", "ensemble"):
        arguments = (run_directory, "1") if command_of_ours == "sample" else (run_directory,)
        assert "was trained by a command" in forge(command_of_ours, *arguments, status=2).stderr
    forge("rm", run_directory, "--yes", status=None)
    assert not run_directory.exists()


def test_output_is_read_as_objects_or_by_a_pattern(place: Path) -> None:
    # What it leaves in the background is ended with it, though that holds its output open.
    lines = (
        r'sleep 600 & echo "{\"event\": \"start\"}"; echo "{\"loss\": 0.5, \"note\": \"x\"}"; echo "{\"loss\": 9}" >&2'
    )
    forge(*RUN, "--parse", "json", "--output", "a", "--", "sh", "-c", lines, cwd=place)
    assert [item["metrics"] for item in record_of(place / "a")["history"]] == [{"loss": 0.5}]
    said = forge("logs", place / "a", "1").stdout.splitlines()
    assert sorted(said) == ['{"event": "start"}', '{"loss": 0.5, "note": "x"}', '{"loss": 9}']
    lines = "echo 'epoch 2 loss 0.25 ok'; echo nothing; echo 'epoch 3 loss -' ; echo 'epoch 4 loss 1e-3' >&2"
    pattern = r"epoch (?P<epoch>\d+) loss (?P<loss>\S+)"
    out = forge(*RUN, "--json", "--parse", pattern, "--output", "b", "--", "sh", "-c", lines, cwd=place).stdout
    history = record_of(place / "b")["history"]
    assert [(item["epoch"], item["loss"]) for item in history] == [(2, 0.25), (4, 0.001)]
    (warning,) = [line for line in events(out) if line["event"] == "resource_warning" and line["kind"] == "report"]
    assert warning["message"].endswith("a report was left out: loss is no number, in: epoch 3 loss -")


def test_a_failure_is_told_with_its_status_and_last_output(place: Path) -> None:
    lines = events(
        forge(
            *RUN, "--json", "--set", "run.max_retries=1", "--output", "run", "--",
            "sh", "-c", 'echo "$FORGE_TRIAL_ATTEMPT" >> "$FORGE_TRIAL_DIRECTORY"/n; echo no data today >&2; exit 3',
            cwd=place, status=1,
        ).stdout
    )  # fmt: skip
    failed = [line for line in lines if line["event"] == "model_failed"]
    assert [(line["kind"], line["will_retry"]) for line in failed] == [("exit", True), ("exit", False)]
    assert failed[0]["message"] == "the command ended with status 3; its last output: no data today"
    files = place / "run" / "checkpoints" / "cognate_command_1" / "files"
    assert (files / "n").read_text() == "1\n2\n"


@pytest.mark.parametrize(
    ("script", "kind", "words", "attempts"),
    [
        ("kill -SEGV $$", "signal", "the command was killed by SIGSEGV, without any output", 2),
        ('echo "{\\"epoch\\": 4, \\"loss\\": NaN}" >> $FORGE_TRIAL_CHANNEL; exec sleep 600', "diverged",
         "the loss of epoch 4 is nan", 1),
        ("exec ./nothing", "exit", "the command ended with status 127; its last output: ", 2),
    ],
)  # fmt: skip
def test_kinds_of_failures(place: Path, script: str, kind: str, words: str, attempts: int) -> None:
    run = (*RUN, "--json", "--set", "run.max_retries=1", "--set", "run.stop_seconds=5", "--output", "run")
    lines = events(forge(*run, "--", "sh", "-c", script, cwd=place, status=1).stdout)
    failed = [line for line in lines if line["event"] == "model_failed"]
    assert [line["kind"] for line in failed] == [kind] * attempts
    assert failed[0]["message"].startswith(words)


def test_a_bad_report_is_left_out_and_told(place: Path) -> None:
    lines = (
        'echo "loss: 3" >> $FORGE_TRIAL_CHANNEL; echo "{\\"loss\\": \\"low\\"}" >> $FORGE_TRIAL_CHANNEL;'
        'printf "{\\"loss\\": 2, \\"x\\": null}" >> $FORGE_TRIAL_CHANNEL'
    )
    out = events(forge(*RUN, "--json", "--output", "run", "--", "sh", "-c", lines, cwd=place).stdout)
    warnings = [line["message"] for line in out if line["event"] == "resource_warning" and line["kind"] == "report"]
    assert len(warnings) == 2
    assert "it is no JSON object" in warnings[0]
    assert "the metric loss is a str; metrics are numbers" in warnings[1]
    assert [item["metrics"] for item in record_of(place / "run")["history"]] == [{"loss": 2.0, "x": None}]


SAVES = r"""
trap 'echo saved >> "$FORGE_TRIAL_DIRECTORY/state"; exit 0' TERM
echo "$FORGE_TRIAL_ATTEMPT" >> "$FORGE_TRIAL_DIRECTORY/attempts"
epoch=0
while [ ! -e finish ]; do
  epoch=$((epoch + 1))
  echo "{\"epoch\": $epoch, \"loss\": 1}" >> "$FORGE_TRIAL_CHANNEL"
  sleep 0.05
done
"""


def test_a_stopped_command_starts_again_in_its_directory(place: Path) -> None:
    (place / "saves.sh").write_text(SAVES, encoding="utf-8")
    process = begin(*RUN, "--output", "run", "--", "sh", "saves.sh", cwd=place)
    run = place / "run"
    wait_until(lambda: epochs_of(run) >= 2, "some epochs")
    forge("stop", run)
    process.communicate()
    with client.attach(run) as attached:
        (model,) = attached.snapshot().models
    assert model.phase.value == "queued"
    (place / "finish").touch()
    lines = events(forge("resume", run, "--json", cwd=place).stdout)
    assert lines[-1]["status"] == "completed"
    files = run / "checkpoints" / "cognate_command_1" / "files"
    assert (files / "attempts").read_text() == "1\n2\n"
    assert (files / "state").read_text() == "saved\n"
    record = record_of(run)
    epochs = [item["epoch"] for item in record["history"]]
    assert (record["attempts"], epochs) == (2, list(range(1, len(epochs) + 1)))
    assert len(epochs) >= 2


def test_a_detached_run_goes_on_and_a_signalled_worker_gives_its_command_another_attempt(place: Path) -> None:
    (place / "saves.sh").write_text(SAVES, encoding="utf-8")
    run = place / "run"
    said = forge(*RUN, "--detach", "--output", "run", "--", "sh", "saves.sh", cwd=place).stdout
    assert said.strip() == str(run)
    wait_until(lambda: epochs_of(run) >= 2, "some epochs")
    (worker,) = processes_of(run, "cognate")
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: _attempt(run) == 2 and epochs_of(run) >= 1, "epochs of the second attempt")
    (place / "finish").touch()
    forge("wait", run)
    files = run / "checkpoints" / "cognate_command_1" / "files"
    assert ((files / "attempts").read_text(), (files / "state").read_text()) == ("1\n2\n", "saved\n")
    with client.attach(run) as attached:
        (model,) = attached.snapshot().models
    assert (model.phase.value, model.failures) == ("completed", ())


def group_of(run: Path) -> list[psutil.Process]:
    """The processes of a run's commands: what its workers have started."""
    return [child for worker in processes_of(run, "cognate") for child in worker.children(recursive=True)]


def live(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; one that nobody has waited for yet has."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


DEAF = "trap '' TERM; sleep 600 & echo '{\"loss\": 1}' >> $FORGE_TRIAL_CHANNEL; while :; do sleep 600; done"


def test_pause_cancel_and_the_death_of_a_worker_reach_all_its_processes(place: Path) -> None:
    """A command that ignores SIGTERM, with a background process; its worker is killed, then it is cancelled."""
    run = place / "run"
    process = begin(*RUN, "--set", "run.stop_seconds=0.2", "--output", "run", "--", "sh", "-c", DEAF, cwd=place)
    try:
        wait_until(lambda: epochs_of(run) == 1, "a report")
        first = wait_until(lambda: len(group_of(run)) >= 3 and group_of(run), "its processes")
        forge("pause", run)
        wait_until(lambda: {one.status() for one in first} == {psutil.STATUS_STOPPED}, "all are stopped")
        forge("continue", run)
        wait_until(lambda: psutil.STATUS_STOPPED not in {one.status() for one in first}, "all continue")
        kill_all(processes_of(run, "cognate"))
        wait_until(lambda: not live(first), "the command has ended with its worker")
        second = wait_until(lambda: _attempt(run) == 2 and len(group_of(run)) >= 3 and group_of(run), "another attempt")
        forge("cancel", run, "1")
        process.communicate(timeout=60)
        wait_until(lambda: not live(second), "nothing of it is left")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    with client.attach(run) as attached:
        (model,) = attached.snapshot().models
    assert (model.phase.value, [failure.kind for failure in model.failures]) == ("cancelled", ["signal"])


def _attempt(directory: Path) -> int:
    with Run(directory) as run:
        return run.snapshot().models[0].attempt


def test_a_killed_run_takes_its_commands_along(place: Path) -> None:
    run = place / "run"
    process = begin(*RUN, "--output", "run", "--", "sh", "-c", DEAF, cwd=place)
    wait_until(lambda: epochs_of(run) == 1, "a report")
    started = wait_until(lambda: len(group_of(run)) >= 3 and group_of(run), "its processes")
    kill_all(processes_of(run, "runner"))
    process.communicate(timeout=60)
    wait_until(lambda: not live(started), "nothing of it is left")
    assert not processes_of(run)


def test_halving_and_patience_end_commands_by_what_they_report(place: Path) -> None:
    script = (
        'i=0; while [ $i -lt 9 ]; do i=$((i+1)); echo "{\\"epoch\\": $i, \\"score\\": $0, '
        '\\"goal\\": {\\"score\\": \\"higher\\"}}" >> $FORGE_TRIAL_CHANNEL; done; [ $0 = 1 ] && exec sleep 600; true'
    )
    run = (*RUN, "--json", "--set", "run.stop_seconds=5", "--set", "training.select_by=score")
    halving = ("--halving", "3", "--epochs", "9", "--sweep", "model.score=2,3,1", "--output", "a")
    lines = events(forge(*run, *halving, "--", "sh", "-c", script, "{score}", cwd=place).stdout)
    pruned = [line["reason"] for line in lines if line["event"] == "decision" and line["kind"] == "prune"]
    assert pruned == ["cognate_command_3 pruned at epoch 1: rank 3 of 3"]
    assert [model["phase"] for model in lines[-1]["models"]] == ["completed", "completed", "cancelled"]
    assert "cognate_command_2" in forge("best", place / "a").stdout
    patience = ("--set", "training.patience=4", "--set", "model.score=1", "--output", "b")
    lines = events(forge(*run, *patience, "--", "sh", "-c", script, "{score}", cwd=place).stdout)
    (ended,) = [line for line in lines if line["event"] == "phase_changed" and line["phase"] == "completed"]
    assert ended["reason"] == (
        "stopped early at epoch 5: its score was not better since epoch 1 (training.patience = 4)"
    )
    lines = events(
        forge(
            *run, "--halving", "3", "--epochs", "9", "--output", "c", "--",
            "sh", "-c", "echo '{\"score\": 1}' >> $FORGE_TRIAL_CHANNEL; exec sleep 600", cwd=place, status=1,
        ).stdout
    )  # fmt: skip
    (failed,) = [line for line in lines if line["event"] == "model_failed"]
    assert failed["message"].startswith("with halving, models are compared at the same epoch, so each report has to")
    assert failed["will_retry"] is False


def test_a_silent_command_that_uses_no_cpu_hangs(place: Path) -> None:
    run = (*RUN, "--json", "--set", "run.hang_seconds=3", "--set", "run.max_retries=0", "--output", "run")
    lines = events(forge(*run, "--", "sh", "-c", "echo waiting; exec sleep 600", cwd=place, status=1).stdout)
    (failed,) = [line for line in lines if line["event"] == "model_failed"]
    assert failed["kind"] == "hang"
    assert "sleep (" in failed["traceback"]
    assert failed["traceback"].endswith("its last output:\nwaiting\n")


def test_a_check_finds_the_program_and_runs_nothing(place: Path) -> None:
    said = forge("--check", *RUN, "--", "sh", "-c", "touch called", cwd=place).stdout
    assert f"1 command models; the program is {shutil.which('sh')}, to be run in {place}. It was not run." in said
    assert sorted(path.name for path in place.iterdir()) == ["report.awk", "report.py", "report.sh", "tell.py"]
    said = forge("--check", *RUN, "--", "no-such-program", cwd=place, status=2).stderr
    assert "no-such-program: there is no such program; give its path, or check PATH" in said
    said = forge(*RUN, "--", "./report.sh", cwd=place, status=2).stderr
    assert "./report.sh: is not executable; `chmod +x` makes it so" in said
    said = forge(*RUN, "--", "python3 train.py", cwd=place, status=2).stderr
    assert "write them after --, as in -- python train.py" in said
    assert not list(place.glob("runs/*"))


def test_commands_that_make_no_sense_with_it_refuse(place: Path) -> None:
    for name, words in {
        "plan": "plan cannot be used with a command of your own",
        "bench": "bench cannot be used with a command of your own",
        "demo": "demo trains three models of its own",
    }.items():
        assert words in forge(name, "--", "true", cwd=place, status=2).stderr
    assert "after -- comes the command" in forge("--no-ui", "--", cwd=place, status=2).stderr
    assert "given twice" in forge("--no-ui", "--command", "true", "--", "true", cwd=place, status=2).stderr


def test_a_run_of_commands_of_somebody_else_needs_trust(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = '[ -e finish ] || exit 1; touch "$FORGE_TRIAL_DIRECTORY/called"'
    forge(*RUN, "--set", "run.max_retries=0", "--output", "run", "--", "sh", "-c", script, cwd=place, status=1)
    (place / "finish").touch()
    monkeypatch.setenv("FORGE_TUI_STATE", str(place / "other"))
    said = forge("resume", place / "run", "--no-ui", cwd=place, status=2).stderr
    assert 'command ["sh", "-c", "[ -e finish ]' in said
    called = place / "run" / "checkpoints" / "cognate_command_1" / "files" / "called"
    assert not called.exists()
    forge("resume", place / "run", "--no-ui", "--trust-code", cwd=place)
    assert called.exists()
