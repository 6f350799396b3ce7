"""Projects with data, code and run inside, moved as a whole: the run continues, and its models come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from running import forge, script, weights

NET = """
from pathlib import Path

from torch import nn

(Path(__file__).parent / "beside.txt").read_text()


def model(inputs):
    return nn.Sequential(nn.Linear(inputs.features, 8), nn.ReLU(), nn.Linear(8, inputs.outputs))
"""
RUN = (
    "--no-ui", "--dataset", "data.csv", "--model-type", "net.py", "--models", "1", "--threads", "1", "--fuse", "1",
    "--policy", "dedicated", "--epochs", "2",
)  # fmt: skip
MODEL = "cognate_net_1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished run of two epochs, and beside it in `whole` one of four; it is not there any more."""
    place = tmp_path_factory.mktemp("moved") / "before"
    place.mkdir()
    (place / "net.py").write_text(NET)
    (place / "beside.txt").touch()
    rows = [f"{n % 7},{n % 5},{'yes' if (n % 7) > (n % 5) else 'no'}" for n in range(60)]
    (place / "data.csv").write_text("\n".join(["a,b,target", *rows]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_TUI_STATE", str(place.parent / "state"))
        forge(*RUN, "--output", "run", cwd=place)
        forge(*RUN[:-1], "4", "--output", "whole", cwd=place)
    return place.rename(place.parent / "kept")


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project, moved to `now`, for the user who has trained in it."""
    shutil.copytree(trained.parent / "state", tmp_path / "state")
    monkeypatch.setenv("FORGE_TUI_STATE", str(tmp_path / "state"))
    return Path(shutil.copytree(trained, tmp_path / "now"))


def loaded(stem: Path, here: Path) -> str:
    code = "import torch, forge_tui; print(forge_tui.load_model(sys.argv[1])(torch.ones(1, 2)).shape)"
    return script(code, stem, cwd=here).stdout


def test_a_moved_project_continues_to_the_same_bytes_and_is_trusted_from_then_on(project: Path, tmp_path: Path) -> None:
    assert loaded(project / "run" / MODEL, tmp_path) == "torch.Size([1, 2])\n"
    forge("resume", project / "run", "--no-ui", "--epochs", "3", cwd=tmp_path)
    again = project.rename(tmp_path / "again")
    assert loaded(again / "run" / MODEL, tmp_path) == "torch.Size([1, 2])\n"
    forge("resume", "run", "--no-ui", "--epochs", "4", cwd=again)
    assert weights(again / "run") == weights(again / "whole")
    shown = forge("ensemble", "run", cwd=again).stdout
    assert MODEL in shown


def test_data_and_code_that_went_elsewhere_are_named_at_resume(project: Path, tmp_path: Path) -> None:
    run = (project / "run").rename(tmp_path / "run")
    data = (project / "data.csv").rename(tmp_path / "moved.csv")
    said = forge("resume", run, "--no-ui", "--epochs", "4", cwd=tmp_path, status=2).stderr
    assert "data.csv: there is no such file, and none in its place beside the run" in said
    assert f"`forge-tui resume {run} --dataset FILE`" in said
    other = tmp_path / "other.csv"
    other.write_text(data.read_text().replace("yes", "no", 1))
    code = ("--python-path", project)
    said = forge("resume", run, "--no-ui", "--epochs", "4", *code, "--dataset", other, cwd=tmp_path, status=2).stderr
    assert "the data is not what run run was started with" in said
    forge("resume", run, "--no-ui", "--epochs", "4", *code, "--dataset", "moved.csv", cwd=tmp_path)
    assert weights(run) == weights(project / "whole")


def test_whole_files_that_do_not_fit_are_not_to_be_trained_again(project: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for suffix in (".json", ".safetensors"):
        (project / "run" / f"{MODEL}{suffix}").rename(alone / f"{MODEL}{suffix}")
    (project / "net.py").rename(alone / "net.py")
    (project / "beside.txt").rename(alone / "beside.txt")
    code = "import forge_tui; forge_tui.load_model(sys.argv[1], trust_code=True)"
    assert script(code, alone / MODEL, cwd=tmp_path).returncode == 0
    (alone / "net.py").unlink()
    done = script(code, alone / MODEL, cwd=tmp_path)
    assert "net.py, which cognate_net_1 was trained with, is at none of" in done.stderr
    assert "train" not in done.stderr.rpartition("at none of")[2]
