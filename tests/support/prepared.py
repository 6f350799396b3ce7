"""Processes of forge-tui as forks of one that has imported what they import.

A run's start then costs a tenth of a second of CPU time instead of two and a half. Apart from that its processes are as
ever: their own, with their own sockets, signals, sessions, files and parents. Fixture `from_scratch` has them started
as users start them, for what depends on it: their memory, hash seeds, what they import, the seconds of a start. So has
an environment in which Python, its locale or its libraries' threads differ, and a caller with other limits.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import os
import random
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType
from typing import IO, Any, NoReturn, TextIO

import setproctitle

from forge_tui.protocol.wire import receive_message, send_message

_READ_AT_START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "KMP_", "TORCH", "LD_", "MALLOC", "CUDA")
"""Variables with these beginnings are read when Python or a library starts; not so PYTHONPATH, which is done here."""
_FAULTS_OF_ONE_PROCESS = (
    "CLOCK_FILE",
    "TRACED_RUNNER",
    "PLAIN_NAMES",
    "KILL_AT_RENAME",
    "MACHINE_CPUS",
    "MACHINE_GPUS",
)
"""Of `faults/sitecustomize.py`: what a process that is forked from another must not have from that one."""
_MOST_DESCRIPTORS = 64
_ABOVE_ALL = 200
"""Descriptors from this number on are in nobody's way."""


class Child:
    """What the tests and forge-tui itself use of `subprocess.Popen`, for a process that is forked."""

    def __init__(self, pid: int, wait: Any, stdout: IO[str] | None = None, stderr: IO[str] | None = None) -> None:
        """`wait(seconds)` gives the exit status (negative: a signal), or None after so many seconds (None: never)."""
        self.pid = pid
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = None, stdout, stderr
        self._wait = wait
        self._lock = threading.Lock()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, when it has ended; `subprocess.TimeoutExpired` if it has not after so many seconds."""
        with self._lock:
            if self.returncode is None:
                self.returncode = self._wait(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.returncode

    def poll(self) -> int | None:
        """The exit status, None while it runs or another thread waits for it."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it prints until it ends."""
        said: dict[int, str] = {}

        def read(number: int, stream: IO[str]) -> None:
            with contextlib.suppress(ValueError):  # closed, because its time is up
                said[number] = stream.read()

        streams = [stream for stream in (self.stdout, self.stderr) if stream is not None]
        threads = [threading.Thread(target=read, args=(n, stream), daemon=True) for n, stream in enumerate(streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout)
            if thread.is_alive():
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        self.wait(timeout)
        for stream in streams:
            stream.close()
        return said.get(0, ""), said.get(1, "")


class Preparation:
    """Of the tests' process: starts processes from the prepared one, which starts with the first of them."""

    def __init__(self) -> None:
        self.is_on = True
        self._channel: socket.socket | None = None
        self._environment: dict[str, str] = {}
        self._limits: object = None

    def popen(self, command: Sequence[str], **options: Any) -> Any:
        """As `subprocess.Popen`, for the options that forge-tui uses."""
        environment = dict(os.environ if options.get("env") is None else options["env"])
        is_python = command[0] == sys.executable
        if not (self.is_on and is_python and self._has_started_alike(environment)):
            return subprocess.Popen(command, **options)
        return self._start(list(command[1:]), environment, **options)

    def _has_started_alike(self, environment: Mapping[str, str]) -> bool:
        """Whether the prepared process, started now if need be, has read the same as one with this environment."""
        if self._channel is None:
            ours, theirs = socket.socketpair()
            with theirs:
                subprocess.Popen(
                    [sys.executable, "-P", __file__, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            self._channel, self._environment, self._limits = ours, dict(os.environ), _limits()
        return self._limits == _limits() and all(
            environment.get(name) == self._environment.get(name)
            for name in environment.keys() | self._environment.keys()
            if name.startswith(_READ_AT_START + _FAULTS_OF_ONE_PROCESS) and name != "PYTHONPATH"
        )

    def _start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdout: Any,
        stderr: Any,
        stdin: int = subprocess.DEVNULL,
        cwd: Any = None,
        env: object = None,
        pass_fds: Sequence[int] = (),
        start_new_session: bool = False,
        text: bool = False,
    ) -> Child:
        assert self._channel is not None
        assert stdin == subprocess.DEVNULL
        with contextlib.ExitStack() as stack:
            nothing = stack.enter_context(open(os.devnull, "r+b", buffering=0)).fileno()

            def opened(stream: Any) -> tuple[int, IO[str] | None]:
                if stream == subprocess.DEVNULL:
                    return nothing, None
                if stream != subprocess.PIPE:
                    return (stream if isinstance(stream, int) else stream.fileno()), None
                reading, writing = os.pipe()
                stack.callback(os.close, writing)
                return writing, open(reading, encoding="utf-8")

            (out, out_stream), (err, err_stream) = opened(stdout), opened(stderr)
            ours, theirs = socket.socketpair()
            stack.enter_context(theirs)
            request = {
                "arguments": list(arguments),
                "environment": dict(environment),
                "directory": os.path.abspath(cwd or os.getcwd()),
                "session": start_new_session,
                "passed": list(pass_fds),
                "umask": _umask(),
            }
            send_message(self._channel, request, (theirs.fileno(), nothing, out, err, *pass_fds))
        received = receive_message(ours)
        assert received is not None, "the prepared process has ended"

        def wait(seconds: float | None) -> int | None:
            ours.settimeout(seconds if seconds is None else max(seconds, 0.001))
            try:
                ended = receive_message(ours)
            except TimeoutError:
                return None
            ours.close()
            assert ended is not None, "the prepared process has been killed"
            return int(ended[0]["status"])

        return Child(received[0]["pid"], wait, out_stream, err_stream)


def _limits() -> object:
    """What a process inherits, other than its environment, its directory and its umask."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    limits = [resource.getrlimit(getattr(resource, name)) for name in names]
    groups = Path("/proc/self/cgroup")
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return cpus, os.getpriority(os.PRIO_PROCESS, 0), limits, groups.read_bytes() if groups.exists() else None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def forked(command: Sequence[str], **options: Any) -> Any:
    """As `subprocess.Popen`, in a prepared process: its own child."""
    arguments = list(command[1:])
    environment = options.get("env")
    if list(command[:1]) != [sys.executable] or arguments[:2] != ["-P", "-m"]:
        return subprocess.Popen(command, **options)
    outputs = [
        options[name] if isinstance(options[name], int) else options[name].fileno() for name in ("stdout", "stderr")
    ]
    nothing = os.open(os.devnull, os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        passed = {number: number for number in options.get("pass_fds", ())}
        files = {0: nothing, 1: outputs[0], 2: outputs[1], **passed}
        become(arguments, files, environment, session=options.get("start_new_session", False))
    os.close(nothing)

    def wait(seconds: float | None) -> int | None:
        found, status = os.waitpid(pid, 0 if seconds is None else os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if found else None

    return Child(pid, wait)


def run(
    command: Sequence[str], *, cwd: Any = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with captured output, prepared."""
    child = popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = child.communicate()
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def become(
    arguments: Sequence[str], files: Mapping[int, int], environment: Mapping[str, str] | None, *, session: bool
) -> NoReturn:
    """Be `python ARGUMENTS` from now on. `files`: the descriptors to have, and which they are now."""
    status = 1
    try:
        if session:
            os.setsid()
        _have_only(files)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        random.seed()
        sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = _streams()
        status = _run(arguments)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _streams() -> tuple[TextIO, TextIO, TextIO]:
    read, write, tell = (os.fdopen(number, mode, closefd=False, encoding="utf-8") for number, mode in enumerate("rww"))
    tell.reconfigure(errors="backslashreplace", line_buffering=True)
    return read, write, tell


def _have_only(files: Mapping[int, int]) -> None:
    signal.set_wakeup_fd(-1)
    above = {number: fcntl.fcntl(now, fcntl.F_DUPFD_CLOEXEC, _ABOVE_ALL) for number, now in files.items()}
    for number, now in above.items():
        os.dup2(now, number)
    least = 0
    for number in sorted(files):
        if least < number:  # an empty range at 0 closes everything
            os.closerange(least, number)
        least = number + 1
    os.closerange(least, os.sysconf("SC_OPEN_MAX"))


def _run(arguments: Sequence[str]) -> int:
    """Carry out `python ARGUMENTS`: `[-P] -m MODULE …`, `-c CODE …` or `FILE …`; the exit status."""
    sys.orig_argv = [sys.executable, *arguments]
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:0] = places
    for place in places:
        if os.path.exists(at_start := os.path.join(place, "sitecustomize.py")):
            runpy.run_path(at_start, run_name="sitecustomize")
    is_safe = arguments[0] == "-P"
    option, *rest = arguments[is_safe:]
    if option not in ("-m", "-c"):
        rest = [option, *rest]
    try:
        sys.argv = [option, *rest[1:]] if option == "-c" else rest
        if option == "-m":
            sys.path[:0] = [] if is_safe else [os.getcwd()]
            sys.modules.pop(rest[0], None)
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif option == "-c":
            sys.path.insert(0, "")
            sys.modules["__main__"] = module = ModuleType("__main__")
            exec(rest[0], module.__dict__)
        else:
            sys.path.insert(0, os.path.dirname(os.path.abspath(option)))
            runpy.run_path(option, run_name="__main__")
        threading._shutdown()  # type: ignore[attr-defined]
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    finally:
        atexit._run_exitfuncs()
    return 0


def main() -> None:
    """Import, and fork what the tests ask for, until they end."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    setproctitle.getproctitle()  # finds its place beside the environment of the start
    gc.disable()
    import forge_tui.cli.start
    import forge_tui.client.launch
    import forge_tui.engines.local
    import forge_tui.runner.main
    from forge_tui.settings.replacement import Trains
    from forge_tui.worker import fork_server

    fork_server._preload(Trains.FUNCTION)  # collects no garbage of it
    for module in (forge_tui.client.launch, forge_tui.engines.local):
        module.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": forked})  # type: ignore[attr-defined]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        received = receive_message(channel, _MOST_DESCRIPTORS)
        if received is None:
            os._exit(0)
        request, descriptors = received
        if os.fork() == 0:
            channel.close()
            _keep(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(request: Mapping[str, Any], descriptors: Sequence[int]) -> NoReturn:
    """Start one process, say its number, and its status when it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reply, *given = descriptors
    pid = os.fork()
    if pid == 0:
        os.umask(request["umask"])
        os.chdir(request["directory"])
        files = dict(zip([0, 1, 2, *request["passed"]], given, strict=True))
        become(request["arguments"], files, request["environment"], session=request["session"])
    for descriptor in given:
        os.close(descriptor)
    channel = socket.socket(fileno=reply)
    with contextlib.suppress(OSError):
        send_message(channel, {"pid": pid})
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        send_message(channel, {"status": status})
    os._exit(0)


PREPARATION = Preparation()
popen = PREPARATION.popen


@contextlib.contextmanager
def prepared_runners() -> Iterator[None]:
    """forge-tui in this process starts its runners prepared."""
    from forge_tui.client import launch

    before = launch.subprocess
    launch.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": popen})  # type: ignore[assignment]
    try:
        yield
    finally:
        launch.subprocess = before


@contextlib.contextmanager
def from_scratch() -> Iterator[None]:
    """Processes start as users start them."""
    before, PREPARATION.is_on = PREPARATION.is_on, False
    try:
        yield
    finally:
        PREPARATION.is_on = before


if __name__ == "__main__":
    main()
