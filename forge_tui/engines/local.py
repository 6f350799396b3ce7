"""The local engine: workers forked from a fork server on this machine."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forge_tui.engines.base import Ended, EndKind, Engine, Place, WorkerHandle
from forge_tui.engines.output import Output, Outputs
from forge_tui.errors import ForgeError
from forge_tui.protocol.job import Job, models_in_words
from forge_tui.protocol.wire import LineBuffer, encode_line, receive_message, send_message
from forge_tui.resources.oom import oom_kills
from forge_tui.resources.process_memory import ancestor_among, descendants_rss, process_memory
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.runs.lock import RunLock
from forge_tui.settings.replacement import Trains
from forge_tui.text.exit_status import exit_in_words

_READ_SIZE = 1 << 18
_SOCKET_BUFFER = 1 << 20
# The end of a worker waits at most this long for a disk to write its last output.
_OUTPUT_SECONDS = 1.0
# How old a measurement of a command's processes may be.
_TREE_SECONDS = 1.0
_WITHDRAWN = Ended(EndKind.NOT_PLACED, "was withdrawn before it was placed")


@dataclass(eq=False, slots=True)
class LocalWorker(WorkerHandle):
    """A worker process. `status` is its exit status (negative: a signal), None while it runs.

    `oom_kills`: the kernel's count of out-of-memory kills at the request, plus those explained by other workers since;
    None if not counted. `of_command`: bytes of what it has started, at `measured_at` (monotonic).
    """

    id: int
    jobs: tuple[Job, ...]
    channel: socket.socket
    output: Output
    on_message: Callable[[WorkerHandle, dict[str, Any]], None]
    on_exit: Callable[[WorkerHandle], None]
    oom_kills: int | None = None
    pid: int | None = None
    status: int | None = None
    closed: bool = False
    orphaned: bool = False
    killed: bool = False
    measured_at: float = field(default_factory=time.monotonic)
    of_command: int = 0
    buffer: LineBuffer = field(default_factory=LineBuffer)
    unsent: list[bytes] = field(default_factory=list)
    end: Ended | None = None
    devices: tuple[str, ...] = ()

    @property
    def name(self) -> int | None:
        """Its process id."""
        return self.pid

    @property
    def place(self) -> Place | None:
        """This machine, once it is forked."""
        return None if self.pid is None else Place(socket.gethostname(), ",".join(self.devices) or self.jobs[0].device)

    @property
    def ended(self) -> Ended | None:
        """How its process ended."""
        return self.end

    def send(self, message: dict[str, Any]) -> None:
        """Send a command; a worker that has just ended ignores it."""
        line = encode_line(message)
        if self.pid is None:
            # The fork server checks this socket for its end, and would find the message first.
            self.unsent.append(line)
            return
        self._write(line)

    def placed(self, pid: int) -> None:
        """Record its process id; it may have been withdrawn at the same moment."""
        self.pid = pid
        if self.killed:
            self.kill()
            return
        for line in self.unsent:
            self._write(line)
        self.unsent.clear()

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            self.channel.sendall(line)

    def kill(self) -> None:
        """End the worker at once; the fork server does not fork a withdrawn one."""
        self.killed = True
        if self.pid is None:
            with contextlib.suppress(OSError):
                self.channel.shutdown(socket.SHUT_WR)
        elif self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def kill_group(self) -> None:
        """End a worker whose fork server has died, with the processes that user code forked in it."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


class LocalEngine(Engine):
    """Forks workers from a fork server, and receives their messages over sockets in `selector`."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        lock: RunLock | None,
        nice: int,
        outputs: Outputs,
        seed: int = 0,
        *,
        trains: Trains = Trains.MODEL,
    ) -> None:
        """Workers hold the run's `lock` as long as they live; None: without a run. `nice`: their priority.

        `outputs` gets the output of fork server and workers. `seed` is the run's: workers use it as hash seed unless
        PYTHONHASHSEED is set, and commands have the environment of the start. `trains` decides what the fork server
        imports.
        """
        self._selector = selector
        self._lock = lock
        self._nice = nice
        self._trains = trains
        self._has_commands = trains is Trains.COMMAND
        self._environment = dict(os.environ)
        if trains is not Trains.COMMAND:
            # What the fork server imports may ask whether there is CUDA: torch then asks the driver, and does not
            # start CUDA, which would not survive a fork.
            self._environment.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
            self._environment["PYTHONHASHSEED"] = os.environ.get("PYTHONHASHSEED") or str(seed % 2**32)
        self._outputs = outputs
        self.on_problem: Callable[[str], None] = lambda problem: None
        self._ids = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._server: socket.socket | None = None
        self._is_ready = False
        self._server_output: Output | None = None
        self._starting: dict[int, LocalWorker] = {}
        self._ended: list[tuple[LocalWorker, int, float]] = []
        """Workers whose last output is being written: the last byte, and until when to wait for it."""
        self.workers: list[LocalWorker] = []
        selector.register(outputs.news, selectors.EVENT_READ, self._report_ended)

    def start(self) -> None:
        """Start the fork server. It imports torch in the background; requests wait for it."""
        ours, theirs = socket.socketpair()
        self._is_ready = False
        self._server_output, writing = self._outputs.pipe(None)
        lock = os.open(os.devnull, os.O_RDONLY) if self._lock is None else os.dup(self._lock.fileno())
        numbers = (str(theirs.fileno()), str(lock), str(self._nice), self._trains.value)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "forge_tui.worker.fork_server", *numbers],
                    stdin=subprocess.DEVNULL,
                    env=self._environment,
                    stdout=writing,
                    stderr=writing,
                    pass_fds=(theirs.fileno(), lock),
                )
        finally:
            os.close(writing)
            os.close(lock)
        self._server = ours
        self._selector.register(ours, selectors.EVENT_READ, self._read_server)

    def spawn(
        self,
        kind: str,
        jobs: Sequence[Job],
        log: str | None,
        on_message: Callable[[WorkerHandle, dict[str, Any]], None],
        on_exit: Callable[[WorkerHandle], None],
        *,
        ahead: bool = False,
        devices: Sequence[str] = (),
    ) -> LocalWorker:
        """Request a worker from the fork server. With `ahead` the next one is forked now and waits."""
        if self._server is None:
            self.start()
        assert self._server is not None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        output, writing = self._outputs.pipe(log)
        worker = LocalWorker(next(self._ids), tuple(jobs), ours, output, on_message, on_exit, _oom_kills())
        worker.devices = tuple(devices)
        request = {
            "id": worker.id,
            "kind": kind,
            "jobs": [job.to_record() for job in jobs],
            "title": f"forge-tui: {models_in_words(jobs) if kind == 'train' else kind} ({jobs[0].run})",
            "ahead": f"forge-tui: spare worker ({jobs[0].run})" if ahead else None,
            "devices": list(devices),
        }
        try:
            send_message(self._server, request, (theirs.fileno(), writing, output.descriptor))
            self._starting[worker.id] = worker
        except OSError:
            worker.orphaned = True
        finally:
            os.close(writing)
            theirs.close()
        self.workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._read_worker(worker))
        return worker

    def tick(self) -> None:
        """Check workers whose fork server died, and those whose last output is not written yet."""
        problem = self._outputs.take_problem()
        if problem is not None:
            self.on_problem(problem)
        if self._ended:
            self._report_ended()
        if self._process is not None and not self._is_ready and self.workers and all(w.killed for w in self.workers):
            self._process.kill()  # it still imports torch, has no workers, and is not needed any more
        for worker in [worker for worker in self.workers if worker.orphaned]:
            if worker.closed if worker.pid is None else not _alive(worker.pid):
                worker.status = -signal.SIGKILL
                self._finish(worker)

    def hang_up(self) -> None:
        """End the fork server and with it every worker; `close` waits until they are gone."""
        if self._server is not None:
            self._selector.unregister(self._server)
            self._server.close()
            self._server = None

    def close(self) -> None:
        """End the fork server and with it every worker, and wait until they are gone."""
        self.hang_up()
        if self._process is not None:
            if not self._is_ready:
                self._process.kill()  # it may still be importing torch, and has no workers
            self._process.wait()
            self._process = None

    def capacity(self) -> None:
        """As many as the resource rules allow."""

    def owners(self, pids: Collection[int]) -> Mapping[int, int]:
        """The workers whose processes these are, or their ancestors."""
        workers = {worker.pid: worker.id for worker in self.workers if worker.pid is not None}
        found = {pid: ancestor_among(pid, workers) for pid in pids}
        return {pid: workers[ancestor] for pid, ancestor in found.items() if ancestor is not None}

    def samples(self) -> Mapping[int, int]:
        """The resident memory of every worker process, of a command's with all that it has started."""
        found = {}
        for worker in self.workers:
            memory = None if worker.pid is None else process_memory(worker.pid)
            if memory is None or worker.pid is None:
                continue
            found[worker.id] = memory.resident + (self._of_command(worker, worker.pid) if self._has_commands else 0)
        return found

    def _of_command(self, worker: LocalWorker, pid: int) -> int:
        """Bytes of what a worker has started, at most a second old: finding its processes takes 3 ms."""
        now = time.monotonic()
        if now >= worker.measured_at + _TREE_SECONDS:
            worker.measured_at, worker.of_command = now, descendants_rss(pid)
        return worker.of_command

    def _read_server(self) -> None:
        assert self._server is not None
        try:
            received = receive_message(self._server)
        except OSError:
            received = None
        if received is None:
            self._server_died()
            return
        message = received[0]
        self._is_ready = True
        if "started" in message:
            worker = self._starting.pop(message["started"], None)
            if worker is not None:
                worker.placed(message["pid"])
        elif "exited" in message:
            for worker in self.workers:
                if worker.pid == message["exited"]:
                    worker.status = message["status"]
                    self._finish(worker)
                    break

    def _server_died(self) -> None:
        assert self._server is not None
        assert self._process is not None
        self._selector.unregister(self._server)
        self._server.close()
        self._server = None
        status = self._process.wait()
        self._process = None
        for worker in self.workers:
            worker.orphaned = True
            worker.kill_group()
        self._starting.clear()
        if status > 0 and not any(worker.pid for worker in self.workers):
            assert self._server_output is not None
            self._outputs.drained(self._server_output)
            hint = "" if self._trains is Trains.COMMAND else "; try: python -c 'import torch' in the same environment"
            said = self._server_output.log.last.decode(errors="replace").strip() or "nothing"
            raise ForgeError(f"the fork server could not start{hint}. Its output:\n{said}")

    def _read_worker(self, worker: LocalWorker) -> None:
        """Handle the worker's messages so far."""
        while not worker.closed:
            try:
                data = worker.channel.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._hang_up(worker)
                if worker.killed and worker.pid is None and not worker.orphaned:
                    del self._starting[worker.id]
                    self._finish(worker)
                    return
            for message in worker.buffer.feed(data):
                worker.on_message(worker, message)

    def _hang_up(self, worker: LocalWorker) -> None:
        worker.closed = True
        self._selector.unregister(worker.channel)
        worker.channel.close()

    def _finish(self, worker: LocalWorker) -> None:
        """Read the rest of an ended worker's messages from its socket, then report its end."""
        self._read_worker(worker)
        if not worker.closed:  # a process forked by user code still has the other side open
            self._hang_up(worker)
        self.workers.remove(worker)
        worker.end = self._end_of(worker)
        mark = self._outputs.drained(worker.output)
        self._ended.append((worker, mark, time.monotonic() + _OUTPUT_SECONDS))
        self._report_ended()

    def _end_of(self, worker: LocalWorker) -> Ended:
        if worker.pid is None and worker.killed:
            return _WITHDRAWN
        if worker.orphaned:
            return Ended(EndKind.SIGNAL, "ended because its fork server died")
        status = worker.status or 0
        if status == -signal.SIGKILL and not worker.killed and self._ran_out(worker):
            return Ended(EndKind.OUT_OF_MEMORY, "was killed by the kernel for lack of memory (SIGKILL)")
        return Ended(EndKind.SIGNAL if status < 0 else EndKind.EXIT, exit_in_words(status))

    def _ran_out(self, worker: LocalWorker) -> bool:
        """Whether the kernel has killed a process for lack of memory since the worker was requested.

        Each kill explains one worker's end only.
        """
        now = _oom_kills()
        if now is None or worker.oom_kills is None or now <= worker.oom_kills:
            return False
        for other in self.workers:
            if other.oom_kills is not None:
                other.oom_kills += 1
        return True

    def _report_ended(self) -> None:
        """Report ended workers whose output is in their logs."""
        self._outputs.hear_news()
        now = time.monotonic()
        waiting, self._ended = self._ended, []
        for ended in waiting:
            worker, mark, deadline = ended
            if now < deadline and not self._outputs.is_written(worker.output, mark):
                self._ended.append(ended)
            else:
                worker.on_exit(worker)


def _oom_kills() -> int | None:
    return oom_kills(SystemProbe().read)


def _alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in ("Z", "X")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
