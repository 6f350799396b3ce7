"""Where the server listens: a port of the loopback interface, or a Unix socket in a directory of this user alone."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import make_private

DEFAULT_PORT = 8765
_LOOPBACK = "127.0.0.1"
_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens. `tunnel` is the argument of `ssh -L` that forwards `port` of the user's computer to it."""

    socket: socket.socket
    port: int
    tunnel: str

    @property
    def origin(self) -> str:
        """The beginning of the address.

        By its number: `localhost` may also mean ::1, where another user may listen, who would then get the token.
        """
        return f"http://{_LOOPBACK}:{self.port}"


@contextlib.contextmanager
def listen_on_port(port: int) -> Iterator[Listener]:
    """Listen on a port of 127.0.0.1; 0 chooses a free one. Raises `UsageError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_LOOPBACK, port))
            listening.listen()
        except OverflowError:
            raise UsageError(f"--port {port}: must be from 0 to 65535") from None
        except OSError as error:
            advice = "choose another one, or 0 for any that is free"
            raise UsageError(f"--port {port}: {error.strerror or error}; {advice}") from None
        found: int = listening.getsockname()[1]
        yield Listener(listening, found, f"{found}:{_LOOPBACK}:{found}")


@contextlib.contextmanager
def listen_on_socket(path: Path) -> Iterator[Listener]:
    """Listen on a Unix socket, whose directory only this user may enter; it is made if missing. Raises `UsageError`.

    The socket is removed at the end. One that a killed server has left is replaced.
    """
    path = path.expanduser().absolute()
    _require_private(path.parent)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        _remove_left(path)
        before = os.umask(0o177)
        try:
            listening.bind(os.fspath(path))
        except OSError as error:
            raise UsageError(f"--socket {named(path)}: {error.strerror or error}") from None
        finally:
            os.umask(before)
        made = os.lstat(path)
        try:
            listening.listen()
            yield Listener(listening, DEFAULT_PORT, f"{DEFAULT_PORT}:{path}")
        finally:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.lstat(path), made):
                    os.unlink(path)


def _require_private(directory: Path) -> None:
    """Make the directory, or raise `UsageError` unless it belongs to this user alone."""
    try:
        make_private(directory)
        found = os.stat(directory)
    except OSError as error:
        raise UsageError(f"--socket: {named(directory)}: {error.strerror or error}") from None
    if found.st_uid != os.geteuid():
        raise UsageError(f"--socket: {named(directory)} belongs to another user; choose a directory of your own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UsageError(
            f"--socket: others may enter {named(directory)} (mode {stat.S_IMODE(found.st_mode):o}); "
            f"choose a directory of mode {_MODE:o}, or one that does not exist yet"
        )


def _remove_left(path: Path) -> None:
    """Remove a socket on which nobody listens any more. Raises `UsageError` for anything else."""
    try:
        found = os.lstat(path)
    except OSError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise UsageError(f"--socket {named(path)}: exists already, and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(os.fspath(path))
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                os.unlink(path)
                return
            raise UsageError(f"--socket {named(path)}: {error.strerror or error}") from None
    raise UsageError(f"--socket {named(path)}: another server listens there; choose another path")
