"""Nodes of a Ray cluster on this machine, each started by `ray start` with processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from running import wait_until

_RAY = (sys.executable, "-c", "from ray.scripts.scripts import main; main()")
_STORE = str(80 << 20)
_FAULTS = Path(__file__).parent / "faults"


class RayNodes:
    """A head node `a`, and others. Their addresses differ, as Ray gives all of 127.0.0.1 the machine's own address."""

    def __init__(self, *, token: bool = True, cpus: int = 1) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="ray-"))
        # Ray gives its processes a lower priority, and other work on the machine would be measured with them.
        self.environment = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        if token:
            self.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._cpus = cpus
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = f"127.0.0.2:{_free_port()}"
        self._start(
            "a",
            [
                "--head",
                "--port",
                self.address.rpartition(":")[2],
                "--temp-dir",
                str(self._scratch / "s"),
                "--include-dashboard",
                "false",
            ],
        )

    def add(self, name: str, *, gpus: Sequence[Sequence[Any]] = (), given: int | None = None) -> None:
        """Start a further node, unless it is there; with pretended `gpus` (`sitecustomize`), of which so many are
        `given` to Ray, by default all.
        """
        if name in self._processes:
            return
        pretended = {"NODE_GPUS": json.dumps(gpus), "PYTHONPATH": str(_FAULTS)} if gpus else {}
        count = len(gpus) if given is None else given
        self._start(name, ["--address", self.address, "--num-gpus", str(count)], pretended)

    def _start(self, name: str, how: list[str], more: Mapping[str, str] | None = None) -> None:
        ip = f"127.0.0.{ord(name) - ord('a') + 2}"
        said = self._scratch / f"{name}.log"
        with said.open("wb") as output:
            self._processes[name] = subprocess.Popen(
                [
                    *_RAY, "start", *how, "--block", "--node-name", name, "--node-ip-address", ip, "--num-cpus",
                    str(self._cpus), "--disable-usage-stats", "--object-store-memory",
                    _STORE,
                ],
                env={**os.environ, **self.environment, **(more or {})}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: self._has_started(name, said), f"node {name} started: {said}", 60.0)

    def _has_started(self, name: str, said: Path) -> bool:
        assert self._processes[name].poll() is None, said.read_text()
        return b"Ray runtime started" in said.read_bytes()

    def processes(self, name: str) -> list[psutil.Process]:
        """All processes of a node, its raylet first."""
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self._processes[name].pid).children(recursive=True)
        return sorted(found, key=lambda process: not _is_raylet(process))

    def kill_raylet(self, name: str) -> None:
        """Kill what makes it a node; its other processes are to end by themselves."""
        self.processes(name)[0].kill()
        self._processes.pop(name).wait()

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop all its processes, and let them go on in the end."""
        stopped = self.processes(name)
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def close(self) -> None:
        """End all nodes."""
        for name in list(self._processes):
            for process in self.processes(name):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            process = self._processes.pop(name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _is_raylet(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name() == "raylet"
    return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        return int(listener.getsockname()[1])
