"""`forge-tui serve` and `attach --read-only` from the command line."""

from __future__ import annotations

import getpass
import importlib.util
import os
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from ptys import Pty
from run_directories import RunMaker
from running import forge

from forge_tui import client
from forge_tui.cli import serve


def test_the_extra_is_named_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "aiohttp" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    done = forge("serve", "--port", "0", status=2)
    assert done.stderr == "forge-tui: serve needs aiohttp, which is not installed: pip install 'forge-tui[serve]'\n"
    assert done.stdout == ""


def test_a_port_and_a_socket_exclude_each_other() -> None:
    done = forge("serve", "--port", "0", "--socket", "ui.sock", status=2)
    assert "not allowed with argument --port" in done.stderr


def test_a_place_where_it_cannot_listen_is_an_error_of_usage(tmp_path: Path) -> None:
    done = forge("serve", "--port", "70000", status=2)
    assert done.stderr == "forge-tui: --port 70000: must be from 0 to 65535\n"
    tmp_path.chmod(0o755)
    done = forge("serve", "--socket", tmp_path / "ui.sock", status=2)
    assert f"others may enter {tmp_path} (mode 755)" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve._user() == getpass.getuser()

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert serve._user() == str(os.getuid())


@pytest.fixture
def now(tmp_path: Path) -> Iterator[RunMaker]:
    made = RunMaker(tmp_path / "runs")
    yield made
    made.close()


def test_attach_read_only_deletes_nothing_and_says_so(now: RunMaker) -> None:
    path = now.make("run-1")
    now.close()
    with Pty("-m", "forge_tui", "attach", "--read-only", path, columns=100, rows=30) as terminal:
        terminal.wait_for_text("Watch, read-only")
        terminal.send("R")
        terminal.wait_for_text("read-only: nothing can be started")
        terminal.send("3")
        terminal.wait_for_text("Runs, read-only")
        terminal.wait_for_text("run-1")
        terminal.send("D")
        terminal.wait_for_text("read-only: nothing can be started")
        terminal.send("q")
        terminal.assert_left(terminal.wait_for_event("exited"), 0)
    assert client.attach(path).snapshot().run.run == "run-1"
