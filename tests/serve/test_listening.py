"""Where the server listens: a port of the loopback interface, or a Unix socket that only this user reaches."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from forge_tui.errors import UsageError
from forge_tui.serve.listening import listen_on_port, listen_on_socket
from forge_tui.serve.server import tunnel_command


def test_a_port_is_one_of_the_loopback_interface() -> None:
    with listen_on_port(0) as listener:
        host, port = listener.socket.getsockname()
        assert host == "127.0.0.1"
        assert port == listener.port > 0
        assert listener.origin == f"http://127.0.0.1:{port}"
        command = tunnel_command(listener, "ada", "gpu7")
        assert command == f"ssh -N -L {port}:127.0.0.1:{port} ada@gpu7"


def test_a_port_in_use_or_out_of_range_is_refused_with_advice() -> None:
    with listen_on_port(0) as listener:
        taken = listen_on_port(listener.port)
        with pytest.raises(UsageError, match=f"--port {listener.port}: Address already in use; choose another one"):
            taken.__enter__()
    for port in (-1, 65536):
        with pytest.raises(UsageError, match="must be from 0 to 65535"):
            listen_on_port(port).__enter__()


def test_a_socket_and_its_directory_are_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "my ui.sock"
    before = os.umask(0)
    try:
        with listen_on_socket(path) as listener:
            assert os.stat(path.parent).st_mode & 0o777 == 0o700
            assert os.stat(path).st_mode & 0o777 == 0o600
            assert tunnel_command(listener, "ada", "gpu7") == f"ssh -N -L '8765:{path}' ada@gpu7"
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(str(path))
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o777])
def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(UsageError, match=rf"others may enter .*open \(mode {mode:o}\); choose a directory of mode 700"):
        listen_on_socket(place / "ui.sock").__enter__()
    assert os.listdir(place) == []
    place.chmod(0o700)
    with listen_on_socket(place / "ui.sock"):
        assert os.listdir(place) == ["ui.sock"]


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match="belongs to another user"):
        listen_on_socket(tmp_path / "ui.sock").__enter__()


def test_a_socket_that_a_killed_server_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "private" / "ui.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.exists()
    with listen_on_socket(path):
        with pytest.raises(UsageError, match="another server listens there"):
            listen_on_socket(path).__enter__()
        assert path.exists()
    assert not path.exists()


def test_a_file_in_its_place_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "private" / "ui.sock"
    path.parent.mkdir(mode=0o700)
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already, and is no socket"):
        listen_on_socket(path).__enter__()
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "private" / ("x" * 120)
    with pytest.raises(UsageError, match=r"--socket .*path too long"):
        listen_on_socket(path).__enter__()
