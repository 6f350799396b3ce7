"""Code runs only where the user named it: runs that were copied, changed or made by somebody else.

What stands for harmful code leaves a file behind; nothing else happens if it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import forge, script, wait_until

from forge_tui import load_ensemble, load_model
from forge_tui.errors import ChangedError, ForgeError, RunDirectoryError, UntrustedCode
from forge_tui.protocol.request import Request
from forge_tui.runner.resuming import open_earlier
from forge_tui.runs import tables
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.files import settings_digest
from forge_tui.settings.user_file import state_directory

NET = """
import torch
from torch import nn

{first}
def model(inputs, hidden: int = 3):
    return nn.Sequential(nn.Linear(inputs.features, hidden), nn.Linear(hidden, inputs.outputs))


def dataset(seed, samples):
    features = torch.randn(samples, 4, generator=torch.Generator().manual_seed(seed))
    return features, (features[:, 0] > 0).long()
"""
MARK = "from pathlib import Path\nPath({marker!r}).touch()\n"
RUN = (
    "--no-ui", "--policy", "dedicated", "--threads", "1", "--models", "1", "--epochs", "2", "--set", "data.samples=80",
    "--model-type", "net.py", "--dataset", "net.py",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a run of custom code that its user has started; `marker` beside it shows that code has run."""
    base = tmp_path_factory.mktemp("trusted")
    (base / "project").mkdir()
    marker = MARK.format(marker=str(base / "marker"))
    (base / "project" / "net.py").write_text(NET.format(first=marker), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_TUI_STATE", str(base / "state"))
        forge(*RUN, "--output", "run", "--on-finish", '["true"]', cwd=base / "project")
        (base / "marker").unlink()
        yield base / "project"


class Place:
    """A copy of the finished run, and whether its code has run."""

    def __init__(self, base: Path, finished: Path) -> None:
        self.base, self.finished = base, finished
        self.marker = finished.parent / "marker"
        self.run = base / "run"
        shutil.copytree(finished / "run", self.run)

    @property
    def stem(self) -> Path:
        return self.run / "cognate_net_1"

    def has_run(self) -> bool:
        """Whether its code has run since the last time."""
        was_there = self.marker.exists()
        self.marker.unlink(missing_ok=True)
        return was_there

    def describe(self, **changes: Any) -> None:
        """Change NAME.json."""
        path = self.stem.with_suffix(".json")
        record = json.loads(path.read_bytes())
        for name, value in changes.items():
            place = record
            *tables, key = name.split("__")
            for table in tables:
                place = place[table]
            place[key] = value
        path.write_text(json.dumps(record), encoding="utf-8")

    def rewrite(self, **changes: Any) -> None:
        """Change the run's own record, checksum and all: nothing in it is secret."""
        with sqlite3.connect(self.run / "run.db") as database:
            row = database.execute("SELECT record, revision, heartbeat, written, last_seq FROM run").fetchone()
            text = row[0] if isinstance(row[0], bytes) else row[0].encode()
            record = tables.to_json(tables.from_json(text) | changes)
            database.execute("UPDATE run SET record = ?, crc = ?", (record.decode(), tables.run_crc(record, *row[1:])))
        database.close()


@pytest.fixture
def place(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """As its user sees it; the private directories of tests hold no state."""
    monkeypatch.setenv("FORGE_TUI_STATE", str(finished.parent / "state"))
    made = Place(tmp_path, finished)
    made.has_run()
    yield made
    assert not made.has_run(), "code has run"


@pytest.fixture
def stranger(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """As somebody sees it who has been given the directory."""
    monkeypatch.setenv("FORGE_TUI_STATE", str(tmp_path / "another state"))
    return place


def may_resume(run: Path, **given: Any) -> None:
    """What a runner looks at before it resumes a run; raises what the resume is refused with."""
    request = Request(action="resume", directory=str(run), working_directory="/", epochs=9, **given)
    with contextlib.ExitStack() as stack:
        open_earlier(request, RunDirectory(run)).code(request, stack)


# --- a run that the user has started


def test_a_run_of_ones_own_is_loaded_and_resumed(place: Place) -> None:
    """By a process that has nothing but the state directory, as a user's script is."""
    assert script("import forge_tui; forge_tui.load_model(sys.argv[1])", place.stem).returncode == 0
    assert place.has_run()
    forge("resume", place.run, "--no-ui", "--epochs", "3")
    assert place.has_run()


def test_it_stays_ones_own_when_it_is_moved_renamed_or_copied(place: Place) -> None:
    place.run.rename(place.base / "renamed")
    (place.base / "further").mkdir()
    shutil.move(place.base / "renamed", place.base / "further" / "moved")
    place.run = place.base / "further" / "moved"
    load_model(place.stem)
    assert place.has_run()
    shutil.copytree(place.run, place.base / "copied")
    may_resume(place.base / "copied")


def test_another_host_that_shares_the_state_directory_knows_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that directory counts: nothing of the platform's own, nothing of where the run lies."""
    shared = place.base / "shared by containers"
    shutil.copytree(state_directory(), shared)
    monkeypatch.setenv("FORGE_TUI_STATE", str(shared))
    monkeypatch.setenv("XDG_STATE_HOME", str(place.base / "nothing"))
    may_resume(place.run)
    load_model(place.stem)
    assert place.has_run()


@pytest.mark.skipif(not hasattr(os, "umask"), reason="POSIX")
def test_what_is_trusted_is_kept_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "not there" / "state"
    monkeypatch.setenv("FORGE_TUI_STATE", str(state))
    (tmp_path / "net.py").write_text(NET.format(first=""), encoding="utf-8")
    before = os.umask(0)
    try:
        forge(*RUN, "--output", "run", cwd=tmp_path)
    finally:
        os.umask(before)
    (file,) = (state / "trust").iterdir()
    assert [path.stat().st_mode & 0o777 for path in (file, state / "trust", state, state.parent)] == [
        0o600, 0o700, 0o700, 0o700,
    ]  # fmt: skip
    copies = list((tmp_path / "run" / "code").rglob("*"))
    assert {path.stat().st_mode & 0o077 for path in copies} == {0}
    assert "key" not in json.loads(forge("status", "run", "--json", cwd=tmp_path).stdout)


def test_where_nothing_can_be_kept_the_run_says_so_and_needs_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FORGE_TUI_STATE", str(tmp_path / "file"))
    (tmp_path / "net.py").write_text(NET.format(first=""), encoding="utf-8")
    out = forge(*RUN, "--json", "--output", "run", cwd=tmp_path).stdout
    (told,) = [line for line in map(json.loads, out.splitlines()) if line.get("kind") == "trust"]
    assert "the run is not recorded as yours" in told["message"]
    assert "--trust-code" in told["message"]
    with pytest.raises(UntrustedCode, match="--trust-code"):
        may_resume(tmp_path / "run")
    may_resume(tmp_path / "run", trust_code=True)


def test_a_trust_directory_that_others_may_write_says_nothing(place: Place) -> None:
    trust = state_directory() / "trust"
    trust.chmod(0o777)
    try:
        with pytest.raises(UntrustedCode, match="others may write in"):
            may_resume(place.run)
    finally:
        trust.chmod(0o700)


# --- a run of somebody else


def test_resume_of_anothers_run_says_what_would_run_and_runs_nothing(stranger: Place) -> None:
    before = sorted(path for path in stranger.run.rglob("*"))
    said = forge("resume", stranger.run, "--no-ui", "--epochs", "3", status=2).stderr
    for words in (
        "you have not started here",
        f"--model-type {stranger.finished}/net.py",
        f"--dataset {stranger.finished}/net.py",
        'on_finish ["true"]',
        f"forge-tui resume {stranger.run} --trust-code",
    ):
        assert words in said
    assert not stranger.has_run()
    left = {path.name for path in stranger.run.rglob("*")} - {path.name for path in before}
    assert left <= {"runner.log"}


def test_on_finish_alone_is_reason_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "marker"
    forge(
        "--no-ui", "--models", "1", "--epochs", "1", "--model-size", "1500", "--output", "run",
        "--on-finish", json.dumps(["touch", str(marker)]), cwd=tmp_path,
    )  # fmt: skip
    wait_until(marker.exists, "the command at the end")
    marker.unlink()
    monkeypatch.setenv("FORGE_TUI_STATE", str(tmp_path / "another state"))
    said = forge("resume", "run", "--no-ui", "--epochs", "2", cwd=tmp_path, status=2).stderr
    assert f'on_finish ["touch", "{marker}"]' in said
    assert not marker.exists()
    forge("resume", "run", "--no-ui", "--epochs", "2", "--trust-code", cwd=tmp_path)
    wait_until(marker.exists, "the command at the end")


def test_built_in_models_are_resumed_and_loaded_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge("--no-ui", "--models", "1", "--epochs", "1", "--model-size", "1500", "--output", "run", cwd=tmp_path)
    monkeypatch.setenv("FORGE_TUI_STATE", str(tmp_path / "another state"))
    may_resume(tmp_path / "run")
    assert load_model(tmp_path / "run" / "cognate_planner_1").training is False
    shutil.copy(tmp_path / "run" / "cognate_planner_1.json", tmp_path)
    shutil.copy(tmp_path / "run" / "cognate_planner_1.safetensors", tmp_path)
    assert load_model(tmp_path / "cognate_planner_1").training is False


def test_what_is_trusted_once_is_ones_own_from_then_on(stranger: Place) -> None:
    key = _record(stranger.run)["key"]
    forge("resume", stranger.run, "--no-ui", "--epochs", "3", "--trust-code")
    assert stranger.has_run()
    assert _record(stranger.run)["key"] != key
    may_resume(stranger.run)
    load_model(stranger.stem)
    assert stranger.has_run()


@pytest.mark.parametrize("command", ["ensemble", "sample"])
def test_commands_that_need_its_code_need_the_flag(stranger: Place, command: str) -> None:
    said = forge(command, stranger.run, status=2).stderr
    if command == "sample":
        assert "no language model" in said
        return
    assert "--trust-code" in said
    assert not stranger.has_run()
    forge(command, stranger.run, "--trust-code")
    assert stranger.has_run()


def test_python_needs_it_too(stranger: Place) -> None:
    for load in (
        lambda **given: load_model(stranger.stem, **given),
        lambda **given: load_ensemble(stranger.run, **given),
    ):
        with pytest.raises(UntrustedCode, match="trust_code=True"):
            load()
        assert not stranger.has_run()
    load_ensemble(stranger.run, trust_code=True)
    assert stranger.has_run()


@pytest.mark.parametrize(
    "command",
    [
        ("status",), ("status", "--json"), ("report",), ("report", "--format", "json"), ("report", "--format", "csv"),
        ("best",), ("logs",),
    ],
)  # fmt: skip
def test_looking_runs_nothing(stranger: Place, command: tuple[str, ...]) -> None:
    name, *arguments = command
    forge(name, stranger.run, *arguments)
    forge("config", "--settings", stranger.run / "settings.toml")
    forge("runs")
    assert not stranger.has_run()


# --- a run of ones own that somebody has changed


def _record(run: Path) -> dict[str, Any]:
    with sqlite3.connect(run / "run.db") as database:
        text = database.execute("SELECT record FROM run").fetchone()[0]
    database.close()
    return tables.from_json(text if isinstance(text, bytes) else text.encode())


def _harmful(place: Place) -> str:
    path = place.base / "harmful.py"
    path.write_text(MARK.format(marker=str(place.marker)) + "def model(*a, **k): pass\n", encoding="utf-8")
    return str(path)


def _settings(place: Place, before: str, after: str) -> None:
    """Change settings.toml, and what the database says of it."""
    path = place.run / "settings.toml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    place.rewrite(settings_sha256=settings_digest(path))


def _edit_copy(place: Place, *, record: bool) -> None:
    (copy,) = (place.run / "code").rglob("net.py")
    copy.write_text(copy.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    if record:
        import hashlib

        name = copy.relative_to(place.run / "code").as_posix()
        place.rewrite(code={name: hashlib.sha256(copy.read_bytes()).hexdigest()})


CHANGES: dict[str, Callable[[Place], object]] = {
    "settings name another file": lambda place: _settings(
        place, f'model_type = "{place.finished}/net.py"', f'model_type = "{_harmful(place)}"'
    ),
    "settings have another command": lambda place: _settings(place, '"true"', f'"touch", "{place.marker}"'),
    "the copy and its record": lambda place: _edit_copy(place, record=True),
    "the record names no copy": lambda place: place.rewrite(code={}),
    "roots are elsewhere": lambda place: place.rewrite(code_roots={"project": str(place.base)}),
    "another working directory": lambda place: place.rewrite(working_directory=str(place.base)),
    "no key": lambda place: place.rewrite(key=""),
    "another key": lambda place: place.rewrite(key="0" * 64),
    "a key that leads elsewhere": lambda place: place.rewrite(key="../../../etc/passwd"),
    "of an early version": lambda place: place.rewrite(key="", version="0.1.0", code={}, code_roots={}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_has_changed_is_no_longer_ones_own(place: Place, change: str) -> None:
    CHANGES[change](place)
    with pytest.raises(UntrustedCode, match="--trust-code"):
        may_resume(place.run)
    assert not place.has_run()
    if "command" not in change:  # on_finish is nothing to a model
        with pytest.raises(UntrustedCode):
            load_model(place.stem)


def test_an_edited_copy_runs_nothing(place: Place) -> None:
    _edit_copy(place, record=False)
    with pytest.raises(ChangedError, match="not what the run was started with"):
        may_resume(place.run)
    with pytest.raises(ChangedError, match="not what the run was started with"):
        load_model(place.stem)
    with pytest.raises(ChangedError):
        load_model(place.stem, trust_code=True)


@pytest.mark.parametrize(
    "path", ["../net.py", "project/../../net.py", "/etc/net.py", "net.py", "project/net.txt", "a//b.py"]
)
def test_a_record_leads_nowhere_else(place: Place, path: str) -> None:
    place.rewrite(code={path: "0" * 64})
    with pytest.raises(RunDirectoryError):
        may_resume(place.run, trust_code=True)
    with pytest.raises(RunDirectoryError, match=r"names .* as code"):
        load_model(place.stem, trust_code=True)


def test_no_link_is_followed_to_a_copy(place: Place) -> None:
    shutil.move(place.run / "code", place.base / "code")
    (place.run / "code").symlink_to(place.base / "code")
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        may_resume(place.run)
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        load_model(place.stem)


DESCRIPTIONS: dict[str, Callable[[Place], dict[str, Any]]] = {
    "a command": lambda place: {"config__model_type": "os:system", "settings__training__model_type": "os:system"},
    "the config alone": lambda place: {"config__model_type": "os:system"},
    "another function": lambda place: dict.fromkeys(
        ("config__model_type", "settings__training__model_type"), f"{place.finished}/net.py:dataset"
    ),
    "another file": lambda place: dict.fromkeys(
        ("config__model_type", "settings__training__model_type"), _harmful(place)
    ),
    "an installed function": lambda place: dict.fromkeys(
        ("config__model_type", "settings__training__model_type"), "torch.hub:load"
    ),
    "another value": lambda place: {"settings__model": {"hidden": 4}},
    "another size": lambda place: {"config__model_size": 2_000, "settings__training__model_size": 2_000},
    "another path": lambda place: {"settings__run__python_path": [str(place.base)]},
    "other code": lambda place: {"code": {"project/harmful.py": "0" * 64}},
    "settings of another kind": lambda place: {"settings": []},
}


@pytest.mark.parametrize("trust_code", [False, True])
@pytest.mark.parametrize("change", DESCRIPTIONS)
def test_an_edited_description_of_a_model_never_runs_anything(place: Place, change: str, trust_code: bool) -> None:
    place.describe(**DESCRIPTIONS[change](place))
    with pytest.raises(ForgeError) as caught:
        load_model(place.stem, trust_code=trust_code)
    assert isinstance(caught.value, UntrustedCode | RunDirectoryError)
    assert not place.has_run()


# --- runs of version 0.1.0


def _make_early(place: Place, state: Path, **registered: Any) -> None:
    """What version 0.1.0 leaves: no key, no copy of the code, and a line in the list of known runs."""
    place.rewrite(key="", version="0.1.0", code={}, code_roots={}, code_modules={}, path=str(place.run))
    shutil.rmtree(place.run / "code")
    path = place.stem.with_suffix(".json")
    record = json.loads(path.read_bytes())
    path.write_text(
        json.dumps({name: record[name] for name in record if not name.startswith("code")}), encoding="utf-8"
    )
    line = {"v": 1, "time": 1.0, "event": "registered", "run": "run", "path": str(place.run), "created": 1.0}
    state.mkdir()
    (state / "runs.jsonl").write_text(json.dumps(line | registered) + "\n", encoding="utf-8")


def test_an_early_run_that_is_known_is_ones_own_and_gets_a_copy_and_a_key(stranger: Place) -> None:
    _make_early(stranger, state_directory())
    load_model(stranger.stem)
    assert stranger.has_run()
    out = forge("resume", stranger.run, "--no-ui", "--json", "--epochs", "3").stdout
    (told,) = [line["message"] for line in map(json.loads, out.splitlines()) if line.get("kind") == "code"]
    assert "kept no copy of its code: the present code is copied now" in told
    assert stranger.has_run()
    assert list((stranger.run / "code").rglob("net.py"))
    stranger.run.rename(stranger.base / "moved")
    stranger.run = stranger.base / "moved"
    may_resume(stranger.run)
    load_model(stranger.stem)
    assert stranger.has_run()


@pytest.mark.parametrize("registered", [{"path": "/elsewhere"}, {"run": "another"}, {"has_key": True}])
def test_an_early_run_that_is_not_known_is_not_ones_own(stranger: Place, registered: dict[str, Any]) -> None:
    _make_early(stranger, state_directory(), **registered)
    with pytest.raises(UntrustedCode, match="--trust-code"):
        may_resume(stranger.run)
    with pytest.raises(UntrustedCode):
        load_model(stranger.stem)
    assert not stranger.has_run()
    _alone(stranger, code=True)
    with pytest.raises(UntrustedCode):
        load_model(stranger.stem)
    load_model(stranger.stem, trust_code=True)
    assert stranger.has_run()


def test_a_deleted_run_is_trusted_no_longer(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from forge_tui import client

    monkeypatch.setenv("FORGE_TUI_STATE", str(tmp_path / "state"))
    shutil.copytree(place.finished.parent / "state", tmp_path / "state")
    kept = tmp_path / "state" / "trust"
    before = set(kept.iterdir())
    shutil.copytree(place.run, place.base / "copy")
    client.delete(place.run)
    assert len(before - set(kept.iterdir())) == 1
    place.run = place.base / "copy"
    with pytest.raises(UntrustedCode, match="--trust-code"):
        may_resume(place.run)


# --- a model outside its run


def _alone(place: Place, *, code: bool) -> Place:
    beside = place.base / "alone"
    beside.mkdir()
    for suffix in (".json", ".safetensors"):
        shutil.copy(place.stem.with_suffix(suffix), beside)
    if code:
        shutil.copy(place.finished / "net.py", beside)
    place.run = beside
    return place


def test_a_model_alone_needs_the_flag(place: Place) -> None:
    _alone(place, code=True)
    with pytest.raises(UntrustedCode, match="not in the directory of its run"):
        load_model(place.stem)
    assert not place.has_run()
    load_model(place.stem, trust_code=True)
    assert place.has_run()


def test_a_model_alone_is_made_with_the_code_that_it_was_trained_with(place: Place) -> None:
    _alone(place, code=True)
    (place.run / "net.py").write_text("raise SystemExit", encoding="utf-8")
    original = place.finished / "net.py"
    text = original.read_text(encoding="utf-8")
    try:
        load_model(place.stem, trust_code=True)  # the original is still as it was
        assert place.has_run()
        original.unlink()
        with pytest.raises(ChangedError, match=r"net.py is not the code that cognate_net_1 was trained with"):
            load_model(place.stem, trust_code=True)
        (place.run / "net.py").unlink()
        with pytest.raises(ChangedError, match=r"net.py, which cognate_net_1 was trained with, is at none of"):
            load_model(place.stem, trust_code=True)
    finally:
        original.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("change", [name for name in DESCRIPTIONS if name not in ("another value", "another size")])
def test_an_edited_model_alone_runs_nothing_either(place: Place, change: str) -> None:
    _alone(place, code=True)
    place.describe(**DESCRIPTIONS[change](place))
    if change in ("another path", "another function"):
        return  # of a model alone nobody can say what it was: who allows its code allows all of its recorded files
    with pytest.raises(ForgeError):
        load_model(place.stem, trust_code=True)
    assert not place.has_run()
