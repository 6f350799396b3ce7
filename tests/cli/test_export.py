"""`export` from the command line: what it needs, where it writes, and how it ends."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from growing_runs import GrowingRun
from run_directories import RunMaker
from running import begin, forge, wait_until

from forge_tui.errors import UsageError
from forge_tui.exporters.holding import Hold
from forge_tui.exporters.mlflow_store import tracking_uri


@pytest.mark.parametrize("tool", ["mlflow", "wandb"])
def test_an_extra_is_named_if_it_is_missing(maker: RunMaker, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == tool else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    done = forge("export", maker.make(count=1), "--to", tool, status=2)
    name = {"mlflow": "MLflow", "wandb": "wandb"}[tool]
    assert done.stdout == ""
    assert done.stderr == (
        f"forge-tui: --to {tool} needs {name}, which is not installed: pip install 'forge-tui[{tool}]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the following arguments are required: --to"),
        (("--to", "comet"), "invalid choice: 'comet'"),
        (("--to", "csv", "--project", "p"), "--project: --to csv has no projects; leave it out"),
        (("--to", "csv", "--output", "no/where"), "cannot write no/where: No such file or directory"),
    ],
)
def test_what_means_nothing_is_refused(maker: RunMaker, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    run = maker.make(count=1)
    done = forge("export", run, *arguments, cwd=tmp_path, status=None)
    assert done.returncode in (1, 2)
    assert words in done.stderr.replace(f"{tmp_path}/", "")
    assert done.stdout == ""


def test_the_newest_run_is_exported_without_a_name(maker: RunMaker, tmp_path: Path) -> None:
    maker.make("older", ago=500.0, count=1)
    maker.make("newer", ago=100.0, count=1)
    assert forge("export", "--to", "csv", cwd=tmp_path).stdout == f"{tmp_path / 'newer-csv'}\n"


def test_a_run_without_epochs_is_exported_all_the_same(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    for tool in ("csv", "tensorboard"):
        assert "0 epochs written\n" in forge("export", run.path, "--to", tool, cwd=tmp_path).stderr


def test_following_a_run_that_is_deleted_ends_with_the_reason(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    following = begin("export", run.path, "--to", "csv", "--follow", cwd=tmp_path)
    table = tmp_path / "growing-csv" / "epochs.csv"
    wait_until(lambda: table.exists() and len(table.read_text().splitlines()) == 2, "the first epoch")
    run.path.rename(tmp_path / "moved")
    _, err = following.communicate(timeout=60)
    assert following.returncode == 1
    assert f"its directory {run.path} was moved or deleted" in err
    shutil.rmtree(tmp_path / "moved")


def test_mlflows_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri("a.db") == f"sqlite:///{tmp_path}/a.db"
    assert tracking_uri("http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    assert tracking_uri(None) == "http://127.0.0.1:5001"
    assert tracking_uri("a.db") == f"sqlite:///{tmp_path}/a.db"
    with pytest.raises(UsageError, match="there is no directory"):
        tracking_uri("no/where.db")


def test_one_holder_at_a_time() -> None:
    first = Hold("a", "this run to MLflow")
    with pytest.raises(UsageError, match="another export is writing this run to MLflow; end it first"):
        Hold("a", "this run to MLflow")
    Hold("b", "another run").release()
    first.release()
    Hold("a", "this run to MLflow").release()


def test_an_export_and_the_metrics_load_no_torch_and_no_tracker(maker: RunMaker, tmp_path: Path) -> None:
    path = maker.make(count=1)
    code = (
        "import sys\n"
        "from forge_tui.cli import main\n"
        f"assert main(['export', {str(path)!r}, '--to', 'tensorboard']) == 0\n"
        "assert main(['prometheus']) == 0\n"
        "loaded = {'torch', 'mlflow', 'wandb', 'polars', 'numpy', 'textual', 'tensorboard'} & sys.modules.keys()\n"
        "print('loaded:', sorted(loaded))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"
