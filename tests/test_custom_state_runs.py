"""Runs of custom modules that work in place, or keep something beside weights: alone, in groups, killed, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import modules_code
import pytest
from depth import deep
from running import begin, epochs_of, events, forge, has_ended, processes_of, script, wait_until, weights

IN_PLACE = """
import torch
from torch import nn
from torch.nn import functional
from net import dataset


class Model(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.last = nn.Linear(inputs.features, inputs.outputs)

    def forward(self, x):
        x -= x.mean(-1, keepdim=True)
        return self.last(x)


def model(inputs):
    return Model(inputs)


def loss(outputs, targets):
    targets += 1
    return functional.cross_entropy(functional.pad(outputs, (1, 0), value=-30.0), targets)


def metric(outputs, targets):
    targets[targets == 2] = 0
    return (outputs.argmax(1) == targets).float().mean()
"""
COPYING = IN_PLACE.replace("x -= x.mean", "x = x - x.mean").replace("targets += 1", "targets = targets + 1").replace(
    "    targets[targets == 2] = 0", "    targets = torch.where(targets == 2, 0, targets)"
)  # fmt: skip
QUICK = (
    "--no-ui", "--json", "--policy", "dedicated", "--threads", "1", "--dataset", "net.py", "--batch-size", "16",
    "--mode", "parallel", "--checkpoint-interval", "2",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(Path(modules_code.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "in_place.py").write_text(IN_PLACE, encoding="utf-8")
    (tmp_path / "copying.py").write_text(COPYING, encoding="utf-8")
    return tmp_path


def histories(run: Path, name: str, models: int = 3) -> list[list[dict[str, object]]]:
    records = [json.loads((run / f"cognate_{name}_{n}.json").read_bytes()) for n in range(1, models + 1)]
    return [[{**epoch, "seconds": 0.0} for epoch in record["history"]] for record in records]


@pytest.mark.parametrize("fuse", [deep("1"), "3"])
def test_code_in_place_trains_and_measures_as_code_that_copies(place: Path, fuse: str) -> None:
    for name in ("in_place", "copying"):
        functions = [part for flag in ("model-type", "loss", "metric") for part in (f"--{flag}", f"{name}.py")]
        forge(*QUICK, *functions, "--models", "3", "--epochs", "5", "--fuse", fuse, "--output", name, cwd=place)
    assert histories(place / "in_place", "in_place") == histories(place / "copying", "copying")


@pytest.mark.parametrize(("kind", "fuse"), [deep("frozen", "1"), ("frozen", "3"), ("extra", "1"), deep("hidden", "3")])
def test_a_killed_run_goes_on_to_the_same_bytes(place: Path, kind: str, fuse: str) -> None:
    run = (*QUICK, "--model-type", f"net.py:{kind}", "--models", "3", "--epochs", "40", "--fuse", fuse)
    forge(*run, "--output", "whole", cwd=place)
    process = begin(*run, "--output", "killed", cwd=place)
    try:
        wait_until(lambda: epochs_of(place / "killed") >= 5, "some epochs")
        for runner in processes_of(place / "killed", "runner"):
            runner.kill()
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: has_ended(place / "killed"), "the end of all its processes")
    forge("resume", "killed", "--no-ui", cwd=place)
    assert weights(place / "killed") == weights(place / "whole") != {}
    for index in (1, 2, 3):
        found, expected = (
            json.loads((place / name / f"cognate_{kind}_{index}.json").read_bytes()) for name in ("killed", "whole")
        )
        assert found["exact"] is expected["exact"] is True
        assert found.get("module_state") == expected.get("module_state")


def test_state_of_its_own_is_trained_alone_and_comes_back(place: Path) -> None:
    run = (*QUICK, "--model-type", "net.py:extra", "--models", "3", "--epochs", "4")
    refused = forge(*run, "--fuse", "3", "--output", "refused", cwd=place, status=2).stderr
    why = "such models cannot be trained together (get_extra_state() is shared, not per model)"
    assert f"--fuse 3: {why}; use --fuse 1" in refused
    lines = events(forge(*run, "--output", "run", cwd=place).stdout)
    (reason,) = [line["reason"] for line in lines if line["event"] == "decision" and line["kind"] == "group"]
    assert reason == f"1 model per worker: {why}"
    code = "import forge_tui; print(forge_tui.load_model(sys.argv[1]).body.stats.steps)"
    shown = script(code, place / "run" / "cognate_extra_1").stdout
    assert shown.strip() == "16"  # 4 steps an epoch


def test_what_cannot_be_kept_is_a_warning_of_the_run(place: Path) -> None:
    run = (*QUICK, "--model-type", "net.py:keeps", "--models", "1", "--epochs", "4", "--output", "run")
    lines = events(forge(*run, cwd=place).stdout)
    (warning,) = [line for line in lines if line["event"] == "resource_warning" and line["kind"] == "exactness"]
    assert warning["message"].startswith("cognate_keeps_1: inner.stats is a _Stats; ")
    (done,) = [line for line in lines if line["event"] == "model_completed"]
    assert done["exact"] is False
