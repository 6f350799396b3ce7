"""The printed `ssh -L` command, carried out by a real OpenSSH on the loopback interface."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import wait_until
from serving import Served, serving

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="needs Debian's package openssh-server"),
    pytest.mark.usefixtures("private_directories"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def login() -> Iterator[list[str]]:
    """The options of `ssh` that lead to a server of this machine, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
        port = free_port()
        (place / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\n"
            f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        needed = Path("/run/sshd")  # where OpenSSH separates privileges
        is_made = os.getuid() == 0 and not needed.exists()
        if is_made:
            needed.mkdir()
        assert SSHD is not None
        with (place / "said").open("wb") as said:
            server = subprocess.Popen([SSHD, "-D", "-e", "-f", place / "sshd_config"], stdout=said, stderr=said)
        try:
            wait_until(lambda: answers(port) or server.poll() is not None, "the SSH server")
            assert server.poll() is None, (place / "said").read_text()
            known = (
                "-o",
                f"UserKnownHostsFile={place}/known",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "LogLevel=ERROR",
            )
            yield ["-F", "none", "-p", str(port), "-i", str(place / "user"), "-o", "BatchMode=yes", *known]
        finally:
            server.terminate()
            server.wait()
            if is_made:
                needed.rmdir()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextlib.contextmanager
def tunnel(served: Served, login: list[str], port: int) -> Iterator[None]:
    """The command that the server has printed, to this machine, with `port` at this end."""
    wait_until(lambda: any(line.strip().startswith("ssh ") for line in served.stderr), "the command")
    program, *parts = shlex.split(next(line for line in served.stderr if line.strip().startswith("ssh ")))
    assert program == "ssh"
    forward = parts.index("-L") + 1
    parts[forward] = f"{port}:{parts[forward].partition(':')[2]}"
    name = parts[-1].partition("@")[0]
    client = subprocess.Popen(["ssh", *login, *parts[:-1], f"{name}@127.0.0.1"], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port) or client.poll() is not None, "the tunnel")
        assert client.poll() is None
        yield
    finally:
        client.terminate()
        client.wait()


@pytest.mark.parametrize("is_socket", [False, True])
def test_the_printed_command_leads_to_the_page(login: list[str], tmp_path: Path, *, is_socket: bool) -> None:
    with tempfile.TemporaryDirectory() as short, contextlib.ExitStack() as stack:
        place = Path(short) / "private"
        place.mkdir(mode=0o700)
        served = stack.enter_context(serving(cwd=tmp_path, unix_socket=place / "ui" if is_socket else None))
        port = free_port()
        stack.enter_context(tunnel(served, login, port))
        through = Served(served.process, f"http://127.0.0.1:{port}/{served.token}")
        page, cookie = through.open()
        assert through.request(page, [("Cookie", cookie)]).status == 200
        assert through.request(page).status in (403, 404)
