"""The fork server: a process that has imported torch once and forks a worker for every model or group of models.

Forking takes milliseconds where importing torch takes seconds. For commands it imports a light worker without torch.
The server itself runs no torch operation and touches no GPU: thread pools and CUDA contexts do not survive a fork.
multiprocessing's own server cannot pass the run's lock to its children, reports children as dead when it dies itself,
and starts a resource tracker that would outlive them.

Processes that user code forked in a worker end with the worker; daemons end with the server. Only workers keep the
run's lock: the second argument is its descriptor.

Protocol, over the socket whose number is the first argument: the runner sends `{"id", "kind", "jobs", "title", "ahead",
"devices"}` with three descriptors: the worker's own socket and both ends of the pipe that it prints into. The server
keeps the reading end as long as the worker lives: if the runner is killed, printing raises no error before the worker
ends. The server answers `{"started": id, "pid"}` and later `{"exited": pid, "status"}` (negative: a signal). With
`ahead`, the title of a spare worker, it then forks one that warms up and waits for the next request: its model then
begins without the cost of a fork and of a process's first step. A spare trains nothing, sends nothing, and ends as any
worker. `devices` are the UUIDs of the GPUs that the worker sees, set before CUDA starts in it; empty: those that the
runner sees. The third argument is the workers' `nice` value, the fourth what trains: see `settings.replacement.Trains`.
A request whose socket the runner has shut down is withdrawn: nothing is forked for it.
The server ends when the runner closes its side, and every worker ends with it.
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
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
from setproctitle import setproctitle

from forge_tui.protocol.job import STOP_SIGNALS
from forge_tui.protocol.wire import receive_message, send_message
from forge_tui.resources.processor import processor
from forge_tui.settings.replacement import Trains
from forge_tui.settings.schema import Settings, from_plain, to_plain
from forge_tui.worker.children import adopt_orphans, die_with, ended_children, signal_at_parents_death
from forge_tui.worker.visible_devices import see_only

_SOCKET_BUFFER = 1 << 20
_OOM_SCORE = 500  # of 1,000; see proc_pid_oom_score_adj(5)
# Of malloc.h, for mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class _Forked:
    """A forked process that waits for its request at the other end of `channel`."""

    pid: int
    channel: socket.socket


def main() -> int:
    """Serve fork requests until the runner is gone."""
    server, lock, nice = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    trains = Trains(sys.argv[4])
    for number in (*STOP_SIGNALS, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a scheduler may signal every process: the runner decides
    adopt_orphans()
    _keep_freed_memory()
    _end_with_runner(server, True)  # importing takes seconds, in which a runner may be killed
    _preload(trains)
    _end_with_runner(server, False)  # from now on the loop notices, and ends the workers' processes too
    setproctitle("forge-tui: fork server")
    send_message(server, {"ready": os.getpid()})
    _ForkServer(server, lock, nice, trains).serve()
    os._exit(0)  # there is nothing to clean up, and finalising torch takes 100 ms


def _preload(trains: Trains = Trains.MODEL) -> None:
    """Import everything that a worker needs; see `_preload_torch`."""
    gc.disable()  # imports leave little garbage, and scanning torch takes 0.2 s
    if trains is Trains.COMMAND:
        import forge_tui.worker.command_worker  # noqa: F401
        from forge_tui.worker.tree_meter import oom_counter_here

        oom_counter_here()
    else:
        _preload_torch(trains)
    from_plain(to_plain(Settings()))  # fills caches of the settings' types
    gc.freeze()  # collections in the children then do not touch the shared pages
    gc.enable()


def _preload_torch(trains: Trains) -> None:
    """Everything except torch._dynamo (1.2 s, 60 MB); see `optimizers`.

    A training function has optimizers of torch, and the first one imports it: 0.75 s in each worker.
    """
    # numpy and safetensors import these on first use: 12 ms in every worker.
    import numpy.ctypeslib
    import numpy.random  # noqa: F401

    import forge_tui.training.trainer
    import forge_tui.training.trial_worker
    import forge_tui.worker.loop
    import forge_tui.worker.memory_meter
    import forge_tui.worker.warm_up  # noqa: F401

    if trains is Trains.FUNCTION:
        import torch._dynamo  # noqa: F401
    processor()  # /proc/cpuinfo is read once, not by each worker


class _ForkServer:
    """Forks, passes requests and reaps. `lock` is the run's, inherited by every worker."""

    def __init__(self, server: socket.socket, lock: int, nice: int, trains: Trains) -> None:
        self._server = server
        self._lock = lock
        self._nice = nice
        self._trains = trains
        self._workers: dict[int, int] = {}
        """Their process ids, and the reading ends of the pipes that they print into."""
        self._spare: _Forked | None = None
        self._wake = os.pipe()

    def serve(self) -> None:
        """Return when the runner has gone and every worker has ended."""
        wake_read, wake_write = self._wake
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self._server, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            # Reap first: a killed spare must not get a request.
            ready = [key.fileobj for key, _ in selector.select()]
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
            self._reap()
            if self._server in ready:
                received = receive_message(self._server, max_fds=3)
                if received is None:
                    _end()
                    return
                self._start(*received)

    def _start(self, request: dict[str, Any], fds: list[int]) -> None:
        if _is_withdrawn(fds[0]):
            for fd in fds:
                os.close(fd)
            return
        forked = self._spare or self._fork(fds)
        self._spare = None
        *theirs, reading = fds
        # A spare killed just now does not read it: its end is reported as any worker's.
        with forked.channel, contextlib.suppress(OSError):
            send_message(forked.channel, request, theirs)
        for fd in theirs:
            os.close(fd)
        self._workers[forked.pid] = reading
        send_message(self._server, {"started": request["id"], "pid": forked.pid})
        if request["ahead"]:
            self._spare = self._fork([], request)

    def _reap(self) -> None:
        for pid, status in ended_children():
            if pid in self._workers:
                os.close(self._workers.pop(pid))
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)  # the number cannot be reused while the group has members
                send_message(self._server, {"exited": pid, "status": status})
            elif self._spare is not None and pid == self._spare.pid:
                self._spare.channel.close()
                self._spare = None

    def _fork(self, fds: list[int], before: dict[str, Any] | None = None) -> _Forked:
        """Fork a process that waits for its request; a spare one if forked ahead, after the request `before`.

        `fds` are descriptors that it must not inherit.
        """
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        parent = os.getpid()
        pid = os.fork()
        if pid:
            theirs.close()
            return _Forked(pid, ours)
        status = 70
        try:
            ours.close()  # otherwise it would not notice the server's death
            self._leave(parent, fds)
            if before is not None:
                _make_ready(before, self._trains)
            received = receive_message(theirs, max_fds=2)
            theirs.close()
            status = 0 if received is None else _work(*received, parent, self._trains)
        except BaseException:  # the boundary of the process: the exit status is reported, this is for the log
            traceback.print_exc()
        finally:
            # Not sys.exit: the server's buffers and exit handlers must not run twice.
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _leave(self, parent: int, fds: list[int]) -> None:
        """Become independent of the server. The inherited descriptor of the run's lock keeps the lock held."""
        die_with(parent)
        os.setpgid(0, 0)  # to find processes that user code forks
        os.register_at_fork(after_in_child=lambda: _release_lock(self._lock))
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._server.close()
        for fd in (*self._wake, *fds, *self._workers.values()):
            os.close(fd)
        if self._nice:
            os.nice(self._nice)
        _be_killed_first()


def _is_withdrawn(channel: int) -> bool:
    """Whether the runner has shut down its side of a worker's socket before sending anything."""
    with socket.socket(fileno=os.dup(channel)) as sock, contextlib.suppress(BlockingIOError):
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return False


def _make_ready(before: dict[str, Any], trains: Trains) -> None:
    """Do everything that does not depend on the model."""
    setproctitle(before["ahead"])
    if trains is Trains.COMMAND:
        return
    from forge_tui.worker.warm_up import warm_up

    warm_up(before["jobs"][0]["threads"])


def _work(request: dict[str, Any], fds: list[int], parent: int, trains: Trains) -> int:
    """Carry out the request; returns the exit status."""
    begin: Callable[[socket.socket, dict[str, Any], int], int]
    if trains is Trains.COMMAND:
        from forge_tui.worker.command_worker import main as begin
    else:
        from forge_tui.worker.loop import main as begin

    channel_fd, log_fd = fds
    for standard in (1, 2):
        os.dup2(log_fd, standard)
    os.close(log_fd)
    setproctitle(request["title"])
    see_only(request["devices"], os.environ)
    return begin(socket.socket(fileno=channel_fd), request, parent)


def _end() -> None:
    """End every worker, and all their descendants, which we adopt when their parents end."""
    while True:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _end_with_runner(server: socket.socket, on: bool) -> None:
    """Make the kernel kill this process when the runner dies (Linux), or not any more."""
    signal_at_parents_death(signal.SIGKILL if on else 0)
    with contextlib.suppress(BlockingIOError):  # it lives, and has sent nothing
        if not server.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            os._exit(1)


def _keep_freed_memory() -> None:
    """Make malloc keep up to 1 GiB of freed memory instead of returning it to the kernel (glibc).

    Each step allocates what the previous one has freed, and every new page from the kernel costs 1 to 3 µs: a quarter
    of a step with a group of 6 models of 104,000 parameters, up to 8 % with larger models. A worker's peak memory grows
    by up to 6 %. The setting is inherited by the workers.
    """
    with contextlib.suppress(AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def _release_lock(lock: int) -> None:
    """Close the lock in a process forked by user code: it must not hold the run directory after its worker's end."""
    with contextlib.suppress(OSError):
        os.close(lock)


def _be_killed_first() -> None:
    """Make the kernel's out-of-memory killer prefer workers, which are retried (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        adjustment = int(file.read())
        if adjustment < _OOM_SCORE:
            file.seek(0)
            file.write(str(_OOM_SCORE))


if __name__ == "__main__":
    sys.exit(main())
