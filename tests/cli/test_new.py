"""`new`: each starting point trains as it is written, by the command that is shown."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from running import events, forge


def trained(place: Path, kind: str) -> list[dict[str, Any]]:
    """Make a starting point and run the command that `new` shows; what is said of its finished models, in order."""
    said = forge("new", "mine", "--kind", kind, cwd=place).stdout
    *_, shown = (line.strip() for line in said.splitlines())
    program, *words = shlex.split(shown)
    assert program == "forge-tui"
    where = place / "mine" if "  cd mine" in said else place
    run = (*words, "--no-ui", "--json", "--policy", "dedicated", "--threads", "1", "--output", str(place / "run"))
    lines = events(forge(*run, cwd=where).stdout)
    done = [line for line in lines if line["event"] == "model_completed"]
    return sorted(done, key=lambda line: line["index"])


def test_a_model_and_its_data(tmp_path: Path) -> None:
    done = trained(tmp_path, "model")
    assert [Path(line["path"]).name for line in done] == [f"cognate_network_{number}" for number in (1, 2, 3)]
    assert all(line["validation_accuracy"] > 0.9 for line in done)
    checked = forge("--settings", "mine/settings.toml", "--check", cwd=tmp_path).stdout
    assert "Everything is in order: 3 network models of 7,690 parameters, 1,800 training" in checked


def test_a_training_loop(tmp_path: Path) -> None:
    done = trained(tmp_path, "loop")
    assert [Path(line["path"]).name for line in done] == [f"cognate_loop_{number}" for number in (1, 2, 3)]
    assert all(line["validation_accuracy"] > 0.9 for line in done)


def test_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = trained(tmp_path, "command")
    assert [Path(line["path"]).parent.name for line in done] == [f"cognate_command_{number}" for number in (1, 2, 3)]
    saved = [json.loads((Path(line["path"]) / "model.json").read_bytes()) for line in done]
    assert [state["epoch"] for state in saved] == [30, 30, 30]
    slopes = [state["slope"] for state in saved]
    assert slopes == pytest.approx([2, 2, 2], abs=0.1)
    assert len(set(slopes)) == 3  # of three seeds


@pytest.mark.parametrize("kind", ["model", "loop", "command", "lightning"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "settings.toml").write_text("mine", encoding="utf-8")
    said = forge("new", "mine", "--kind", kind, cwd=tmp_path, status=2).stderr
    assert "mine/settings.toml is there already; give another name" in said
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["settings.toml"]


def test_another_kind_is_refused(tmp_path: Path) -> None:
    assert "invalid choice: 'keras'" in forge("new", "mine", "--kind", "keras", cwd=tmp_path, status=2).stderr
    assert not (tmp_path / "mine").exists()
