"""Site-wide settings and real runs: what a runner makes of locks, at a start, at a resume, and for a name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from running import forge

from forge_tui.client.run import Run

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="a site-wide file is root's")

TINY = ("--models", "1", "--epochs", "2", "--model-size", "1000", "--samples", "64", "--threads", "1", "--fuse", "1")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a directory in `XDG_CONFIG_DIRS`; it does not exist yet."""
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    directory = tmp_path / "site" / "forge-tui"
    directory.mkdir(parents=True, mode=0o755)
    return directory / "settings.toml"


def test_a_run_from_before_a_lock_follows_it_or_is_refused(site: Path, run_directory: Path) -> None:
    forge("--no-ui", *TINY, "--policy", "dedicated", "--output", run_directory)

    site.write_text('[training]\nepochs = 2\n[site]\nlocked = ["training.epochs"]\n')
    said = forge("resume", run_directory, "--no-ui", "--epochs", "3", status=2).stderr
    assert f"training.epochs = 3: training.epochs is locked to 2 by {site}, line 4" in said

    site.write_text('[site]\nlocked = ["resources.policy"]\n')
    forge("resume", run_directory, "--no-ui", "--epochs", "3")
    with Run(run_directory) as run:
        assert run.snapshot().run.policy == "shared"
        (warned,) = [one for one in run.events_of(["resource_warning"]) if one["kind"] == "site"]
    told = f'resources.policy is "shared" from here on, not "dedicated": it is locked by {site}, line 2'
    assert warned["message"] == told


def test_a_start_has_what_the_site_gives_and_a_lock_is_refused_before_anything_is_made(
    site: Path, run_directory: Path
) -> None:
    site.write_text('[run]\nmax_retries = 7\n[site]\nlocked = ["run"]\n')
    said = forge("--no-ui", *TINY, "--output", run_directory, status=2).stderr
    assert "--models: run.models is locked to 3" in said
    assert "--output: run.output is locked to none" in said
    assert not run_directory.exists()

    site.write_text('[run]\nmax_retries = 7\n[site]\nlocked = ["run.max_retries"]\n')
    forge("--no-ui", *TINY, "--output", run_directory)
    assert "max_retries = 7" in (run_directory / "settings.toml").read_text()
    # The settings of that run name all values: those that are locked may be given.
    again = ("--check", "--settings", str(run_directory / "settings.toml"), "--overwrite")
    assert "Everything is in order" in forge(*again).stdout


def test_doctor_shows_files_and_locks_and_what_is_wrong(site: Path) -> None:
    site.write_text('[resources]\nthreads = 1\n[site]\nlocked = ["resources"]\n')
    found = json.loads(forge("doctor", "--json").stdout)["site"]
    assert found["files"] == [str(site)]
    assert found["values"] == {"resources.threads": 1}
    assert found["locked"] == {"resources": f"{site}, line 4"}
    assert "Site-wide settings" in forge("doctor").stdout
    site.chmod(0o666)
    assert "can be written by anyone" in json.loads(forge("doctor", "--json").stdout)["site"]["problem"]


def test_doctor_looks_at_no_cluster_that_the_site_does_not_allow(site: Path) -> None:
    site.write_text('[site]\nlocked = ["engine.trust_cluster"]\n')
    ray = ("doctor", "--engine", "ray", "--address", "127.0.0.1:1", "--trust-cluster")
    assert "--trust-cluster: engine.trust_cluster is locked to false" in forge(*ray, status=2).stderr
