"""Commands: sent as files, taken once, the oldest first; malformed ones are told, never raised."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from forge_tui.errors import RunDirectoryError
from forge_tui.runs import commands
from forge_tui.runs.commands import send, take
from forge_tui.runs.layout import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    return directory


def test_commands_are_taken_once_in_order(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**18, 10**18 + 20))
    monkeypatch.setattr(commands.time, "time_ns", lambda: next(clock))
    sent = [send(run, "workers", {"count": count}, "cli") for count in range(12)]
    taken = take(run.path)
    assert [command.id for command in taken] == sent
    assert [command.arguments["count"] for command in taken] == list(range(12))
    assert {(command.name, command.sender, command.problem) for command in taken} == {("workers", "cli", None)}
    assert all(command.time > 1e9 for command in taken)
    assert take(run) == []
    assert list(run.commands.iterdir()) == []


def test_a_command_file_is_private_json(run: RunDirectory) -> None:
    identity = send(run, "stop", {}, "ui")
    (file,) = run.commands.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    record = json.loads(file.read_text())
    assert set(record) == {"v", "id", "name", "arguments", "from", "time"}
    assert (record["v"], record["id"], record["name"], record["from"]) == (1, identity, "stop", "ui")


def test_sending_where_no_run_is(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="there is no run in it"):
        send(tmp_path, "stop", {}, "cli")
    assert take(tmp_path) == []


def test_arguments_that_are_no_json(run: RunDirectory) -> None:
    for arguments in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises(ValueError, match=r"JSON"):
            send(run, "stop", arguments, "cli")
    assert list(run.commands.iterdir()) == []


WHOLE = {"v": 1, "id": "abc", "name": "stop", "arguments": {}, "from": "cli", "time": 1.0}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "malformed"), (b"\xff\xfe\x00", "malformed"), (b"[]", "no JSON object"), (b"[" * 50_000, "malformed"),
        (b"x" * 70_000, "larger than 65536 bytes"), (json.dumps({**WHOLE, "v": 2}).encode(), "newer forge-tui"),
        (json.dumps({**WHOLE, "name": 5}).encode(), "`name` is of the wrong type"),
        (json.dumps({**WHOLE, "arguments": []}).encode(), "`arguments` is of the wrong type"),
        (json.dumps({key: WHOLE[key] for key in WHOLE if key != "from"}).encode(), "`from` is missing"),
        (json.dumps({**WHOLE, "time": 10**400}).encode(), "malformed"),
    ],
)  # fmt: skip
def test_malformed_files_are_told_and_go_away(run: RunDirectory, content: bytes, words: str) -> None:
    (run.commands / "00000000000000000001-abc.json").write_bytes(content)
    good = send(run, "stop", {}, "cli")
    bad, command = take(run)
    assert bad.id == "abc"
    assert bad.name == ""
    assert words in str(bad.problem)
    assert command.id == good
    assert command.problem is None
    assert take(run) == []


def test_what_is_no_file_neither_blocks_nor_comes_again(run: RunDirectory, tmp_path: Path) -> None:
    os.mkfifo(run.commands / "1-pipe.json")
    (run.commands / "2-folder.json").mkdir()
    secret = tmp_path / "secret"
    secret.write_text(json.dumps(WHOLE))
    (run.commands / "3-link.json").symlink_to(secret)
    (run.commands / ".4-unfinished.json.tmp").write_text("{")
    assert [(command.id, command.name) for command in take(run)] == [("pipe", ""), ("folder", ""), ("link", "")]
    assert take(run) == []
    assert secret.exists()
