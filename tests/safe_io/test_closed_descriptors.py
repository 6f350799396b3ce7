"""Commands that are started with closed standard descriptors, as by a daemon or `>&-` in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from depth import crossed, deep
from running import SMALL, forge

NONE_OPEN = "<&- >&- 2>&-"
RUN = ("--no-ui", "--models", "1", "--epochs", "2", *SMALL)


def closed(how: str, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with descriptors closed by a shell."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {how}', "sh", sys.executable, *map(str, command)], cwd=cwd, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("how", [deep("<&-"), ">&-", deep("2>&-"), deep(">&- 2>&-"), NONE_OPEN])
def test_a_run_trains_to_its_end(tmp_path: Path, how: str) -> None:
    done = closed(how, "-m", "forge_tui", *RUN, "--output", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "completed" in forge("status", "run", cwd=tmp_path).stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


COMMANDS = {"runs": 0, "config": 0, "doctor": 0, "status nothing": 2, "nothing": 2, "": 2}


@pytest.mark.parametrize(
    ("command", "how"),
    crossed(COMMANDS, (">&-", NONE_OPEN), {*((one, NONE_OPEN) for one in COMMANDS), ("runs", ">&-"), ("", ">&-")}),
)
def test_other_commands_end_as_ever(tmp_path: Path, command: str, how: str) -> None:
    done = closed(how, "-m", "forge_tui", *command.split(), cwd=tmp_path)
    assert done.returncode == COMMANDS[command], done.stderr
    assert "Traceback" not in done.stderr


def test_a_caller_keeps_its_closed_descriptors(tmp_path: Path) -> None:
    """Nothing of a run takes their place, in the caller or in the runner."""
    code = (
        "import os, sys, forge_tui\n"
        "from forge_tui import client\n"
        "from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig\n"
        "training, run = TrainingConfig(epochs=1, model_size=2000), RunSettings(models=1, output='run')\n"
        "settings = Settings(training=training, run=run)\n"
        "with client.start(settings) as run:\n"
        "    os.write(int(sys.argv[1]), str([os.path.exists(f'/proc/self/fd/{n}') for n in range(3)]).encode())\n"
        "    run.farewell(60.0)\n"
    )
    reading, writing = os.pipe()
    with os.fdopen(reading) as told:
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code, str(writing)], cwd=tmp_path,
            check=False, pass_fds=(writing,),
        )  # fmt: skip
        os.close(writing)
        assert done.returncode == 0
        assert told.read() == "[False, False, False]"
    assert "completed" in forge("status", "run", cwd=tmp_path).stdout
