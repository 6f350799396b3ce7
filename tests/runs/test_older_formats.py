"""Runs that older versions wrote are read, continued, exported, loaded and removed (`tests/fixtures`)."""

from __future__ import annotations

import csv
import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from make_runs import outputs
from older_runs import VERSIONS, OldRun, install, names, unpack
from running import forge
from storm_checks import history_problems, told

from forge_tui import load_model
from forge_tui.settings.files import read_settings

ALL = [(version, name) for version in VERSIONS for name in names(version)]
# What is shown of a run that was recorded as live when its processes were killed.
SHOWN = {"running": "died"}


@pytest.fixture(params=ALL, ids=lambda found: "/".join(found))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> OldRun:
    version, name = request.param
    return install(name, tmp_path / "old", version)


def said(*arguments: str | Path) -> str:
    """What a command writes to stdout; nothing is wrong, and nothing is warned of."""
    status, out, err = told(*arguments)
    assert (status, err) == (0, "")
    return out


def status(run: OldRun) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(said("status", run.run, "--json"))
    assert not record.get("problems")
    return record


def recorded(run: OldRun) -> dict[str, dict[str, Any]]:
    """Of each model what the manifest says, as it is read now."""
    return {model["name"]: {key: model[key] for key in ("phase", "epoch", "loss")} for model in status(run)["models"]}


def epochs(run: OldRun) -> dict[str, list[dict[str, str]]]:
    """The epochs of each model in the order of the report as CSV."""
    found: dict[str, list[dict[str, str]]] = {name: [] for name in run.models}
    for row in csv.DictReader(io.StringIO(said("report", run.run, "--format", "csv"))):
        found[row["model"]].append(row)
    return found


def test_it_is_read_as_it_was_recorded(kept: OldRun) -> None:
    assert status(kept)["state"] == SHOWN.get(kept.state, kept.state)
    assert recorded(kept) == kept.models
    assert read_settings(kept.run / "settings.toml").training.epochs == status(kept)["epochs"]


def test_its_reports_hold_what_was_recorded(kept: OldRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ("text", "json"):
        assert all(name in said("report", kept.run, "--format", form) for name in kept.models)
    rows = epochs(kept)
    for name, model in kept.models.items():
        assert [int(row["epoch"]) for row in rows[name]] == list(range(1, model["epoch"] + 1))
        assert model["epoch"] == 0 or model["loss"] in [float(row["loss"]) for row in rows[name]]
    monkeypatch.chdir(tmp_path)
    code, written, _hint = told("report", kept.run, "--format", "tensorboard")
    assert code == 0
    files = list((tmp_path / written.strip()).rglob("events.out.tfevents.*"))
    assert len(files) >= sum(map(bool, rows.values()))


def test_its_logs_are_shown(kept: OldRun) -> None:
    """The runner's and each model's, as their files hold them."""
    logs = sorted((kept.run / "logs").iterdir())
    assert kept.run / "logs" / "runner.log" in logs
    for log in logs:
        model = () if log.stem == "runner" else (log.stem,)
        assert told("logs", kept.run, *model)[:2] == (0, log.read_text(encoding="utf-8"))


def test_its_finished_models_give_what_they_gave(kept: OldRun) -> None:
    stems = sorted(path.with_suffix("") for path in kept.run.glob("*.safetensors"))
    assert [stem.name for stem in stems] == sorted(kept.outputs)
    for stem in stems:
        assert outputs(stem) == pytest.approx(kept.outputs[stem.name], rel=1e-4, abs=1e-5)
        assert not load_model(stem).training


def test_its_best_model_is_named(kept: OldRun) -> None:
    completed = {str(kept.run / name) for name, model in kept.models.items() if model["phase"] == "completed"}
    if completed:
        assert said("best", kept.run).strip() in completed
    else:
        code, _out, err = told("best", kept.run)
        assert code == 1
        assert "no model is completed" in err


@pytest.fixture(scope="session")
def computes_alike(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether this machine gives the bytes of a run that was completed where the kept runs were made.

    Of a processor their records name the instruction set only, and others with the same one compute otherwise.
    """
    place = tmp_path_factory.mktemp("alike")
    old = unpack("architectures", place / "old")
    forge("--no-ui", *old.arguments, "--output", place / "new")
    bytes_of = [
        {path.name: path.read_bytes() for path in run.glob("*.safetensors")} for run in (old.run, place / "new")
    ]
    assert sorted(bytes_of[0]) == sorted(bytes_of[1]) != []
    return bytes_of[0] == bytes_of[1]


def test_it_is_continued_to_its_end(kept: OldRun, computes_alike: bool) -> None:
    """Where this machine computes as that one did, the bytes are those of a run that nobody disturbed."""
    before = {path.name: path.read_bytes() for path in kept.run.glob("*.safetensors")}
    if kept.state == "completed":
        assert "nothing to resume" in forge("resume", kept.run, status=2).stderr
        assert {path.name: path.read_bytes() for path in kept.run.glob("*.safetensors")} == before
        return
    is_left = any(model["phase"] == "cancelled" for model in kept.models.values()) and kept.state == "failed"
    forge("resume", kept.run, cwd=kept.project, status=1 if is_left else 0)
    phases = {name: model["phase"] for name, model in recorded(kept).items()}
    assert all(phase in ("completed", "cancelled") for phase in phases.values()), phases
    assert history_problems(kept.run) == []
    for name, model in recorded(kept).items():
        assert [int(row["epoch"]) for row in epochs(kept)[name]] == list(range(1, model["epoch"] + 1))
    for name, content in before.items():
        assert (kept.run / name).read_bytes() == content
    _check_bytes(kept, set(before), computes_alike)


def _check_bytes(kept: OldRun, before: set[str], computes_alike: bool) -> None:
    for name, digest in kept.undisturbed.items():
        was_begun = f"{name}.safetensors" not in before and kept.models[name]["epoch"] > 0
        finished = json.loads((kept.run / f"{name}.json").read_bytes())
        assert finished["exact"] is not was_begun  # the processor that began it is not known
        if computes_alike:
            assert sha256((kept.run / f"{name}.safetensors").read_bytes()).hexdigest() == digest, name


def test_it_is_removed(kept: OldRun) -> None:
    """All that the run made goes, and nothing beside it."""
    beside = sorted(path.name for path in kept.project.iterdir() if path.name != "run")
    assert told("rm", "--yes", kept.run)[0] == 0
    assert not kept.run.exists()
    assert sorted(path.name for path in kept.project.iterdir()) == beside
    assert not [known for known in json.loads(said("runs", "--json")) if known["path"] == str(kept.run)]


@pytest.mark.parametrize("name", ["completed", "died", "custom"])
def test_a_copy_of_it_is_read(tmp_path: Path, name: str) -> None:
    """Its records name another place, and nobody here has started it."""
    assert recorded(run := unpack(name, tmp_path / "copied")) == run.models


def test_the_run_before_it_is_read_too(tmp_path: Path) -> None:
    run = install("overwritten", tmp_path / "old")
    before = json.loads(said("status", run.run / "previous-1", "--json"))
    assert before["state"] == "completed"
    assert [model["name"] for model in before["models"]] == list(run.models)
    assert {model["seed"] for model in before["models"]} != {model["seed"] for model in status(run)["models"]}
