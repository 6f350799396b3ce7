"""The fork server: a process that has imported torch once and forks a worker for every model or group of models.

Forking takes milliseconds where importing torch takes seconds. The server itself runs no torch operation and
touches no GPU: thread pools and CUDA contexts do not survive a fork. It is our own instead of multiprocessing's
because that one cannot hand the run's lock to its children, reports children as dead when it dies itself, and
starts a resource tracker that would outlive them.

What a worker leaves behind (a process that user code forked) is ended with it; one that has made itself a daemon is
ended with the server. Only a worker keeps the run's lock: the second argument is its descriptor.

Protocol, over the socket whose number is the first argument: the runner sends
`{"id", "kind", "jobs", "title", "nice"}` with two descriptors (the worker's own socket and its log); the
server answers `{"started": id, "pid"}` and later `{"exited": pid, "status"}` (negative: a signal).
It ends when the runner closes its side, and every worker ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
from typing import Any

import psutil
from setproctitle import setproctitle

from forge_tui.training.job import STOP_SIGNALS
from forge_tui.training.wire import receive_message, send_message

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_OOM_SCORE = 500  # of 1,000; see proc_pid_oom_score_adj(5)


def main() -> int:
    """Serve fork requests until the runner goes away."""
    server, lock = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    for number in (*STOP_SIGNALS, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a scheduler may signal every process: the runner decides
    _adopt_orphans()
    _preload()
    setproctitle("forge-tui: fork server")
    send_message(server, {"ready": os.getpid()})
    _serve(server, lock)
    os._exit(0)  # there is nothing to tidy up, and taking torch apart takes 100 ms


def _preload() -> None:
    """Import what every worker needs. torch._dynamo (1.2 s, 60 MB) is not among it; see `optimizers`."""
    import forge_tui.training.trainer
    import forge_tui.training.worker  # noqa: F401

    gc.collect()
    gc.freeze()  # collections in the children then leave the shared pages alone


def _serve(server: socket.socket, lock: int) -> None:
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    children: set[int] = set()
    while True:
        for key, _ in selector.select():
            if key.fileobj is server:
                received = receive_message(server, max_fds=2)
                if received is None:
                    _end()
                    return
                children.add(_fork(server, lock, (wake_read, wake_write), *received))
            else:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
        _reap(server, children)


def _reap(server: socket.socket, children: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in children:
            children.discard(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # a group whose number nobody can have taken while it has members
            send_message(server, {"exited": pid, "status": os.waitstatus_to_exitcode(status)})


def _end() -> None:
    """End every worker and, as they become ours when their parents end, all that workers ever started."""
    while True:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _fork(server: socket.socket, lock: int, wake: tuple[int, int], request: dict[str, Any], fds: list[int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        for fd in fds:
            os.close(fd)
        send_message(server, {"started": request["id"], "pid": pid})
        return pid
    status = 70
    try:
        _die_with(parent)
        os.setpgid(0, 0)  # to be found by: what user code forks
        os.register_at_fork(after_in_child=lambda: _let_go(lock))
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        server.close()
        for fd in wake:
            os.close(fd)
        # The server inherited the descriptor of the run's lock, and so does this process: it holds the lock too.
        channel_fd, log_fd = fds
        for standard in (1, 2):
            os.dup2(log_fd, standard)
        os.close(log_fd)
        setproctitle(request["title"])
        if request["nice"]:
            os.nice(request["nice"])
        _be_killed_first()
        from forge_tui.training import worker

        status = worker.main(socket.socket(fileno=channel_fd), request, parent)
    finally:
        # Not sys.exit: nothing of the server's (buffers, exit handlers) may run twice.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _adopt_orphans() -> None:
    """Become the parent of processes whose own has ended, so that they can be found (Linux; prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _let_go(lock: int) -> None:
    """A process that user code forks does not train: it must not hold the run directory after its worker's end."""
    with contextlib.suppress(OSError):
        os.close(lock)


def _be_killed_first() -> None:
    """Where memory runs out, have the kernel end a worker, which is tried again, before anything else (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        adjustment = int(file.read())
        if adjustment < _OOM_SCORE:
            file.seek(0)
            file.write(str(_OOM_SCORE))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the fork server dies (Linux); elsewhere the worker watches its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
