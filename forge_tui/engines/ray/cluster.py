"""The cluster as the bridge sees it: everything that calls Ray. Only the bridge process imports this."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from forge_tui.engines.ray.scratch import remove_scratch
from forge_tui.errors import UsageError
from forge_tui.protocol.job import STOP_SIGNALS
from forge_tui.safe_io.printing import escaped

_PROBE_SECONDS = 20.0
_ANSWER_SECONDS = 10.0
# What `ray health-check` says where a token is wanted.
_REFUSALS = ("AuthenticationError", "InvalidAuthToken", "Unauthenticated")
_OBJECT_STORE_BYTES = 256 << 20
# Read by Ray when it is imported, and by the processes that it starts.
_ALWAYS = {
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_OF_OURS = {
    "RAY_AUTH_MODE": "token",
    # Ray replaces 127.0.0.1 by the machine's own address unless clusters of several machines are off.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_worker_niceness": "0",
    # Our workers are children of an agent: what the kernel kills for memory is a worker, and not the agent.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_enable_metrics_collection": "0",
}


def ignore_signals() -> None:
    """Ignore what may end this process: a batch system signals every process of a job, and the runner decides."""
    for number in (*STOP_SIGNALS, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@dataclass(frozen=True, slots=True)
class NodeFact:
    """A live node: its id, the name that it was given or its host's, and what it has given to Ray."""

    id: str
    name: str
    resources: dict[str, float]


class Cluster:
    """A connection to Ray. Connect first; the methods may be called by any thread."""

    def __init__(self) -> None:
        self._scratch: str | None = None
        self._ray: Any = None

    def connect(self, address: str | None, *, trust: bool, cpus: int, scratch: str | None) -> None:
        """Connect to the cluster at `address`, or start one with `cpus` and files in `scratch`. Raises `UsageError`."""
        if address is not None:
            _require_answer(address)
        os.environ.update(_ALWAYS)
        if address is None:
            self._scratch = scratch
            self._start(cpus)
            return
        question = None if trust else _AuthenticationQuestion(address)
        import ray  # noqa: F401 - a second, while the cluster is asked

        if question is not None:
            question.require()
        try:
            self._init(address=address)
        except Exception as error:  # Ray raises errors of many kinds: a boundary
            raise UsageError(_connection_words(address, error, wants_token=question is not None)) from error

    def _start(self, cpus: int) -> None:
        os.environ.update(_OF_OURS)
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
            os.environ.pop(name, None)
        try:
            self._init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                _node_name=socket.gethostname(),
                _temp_dir=self._scratch,
            )
        except Exception as error:
            raise UsageError(f"a local Ray cluster could not be started: {_first_line(error)}") from error

    def _init(self, **how: Any) -> None:
        import ray

        self._ray = ray
        ray.init(
            **how, namespace="forge-tui", configure_logging=False, log_to_driver=False, logging_level=logging.ERROR
        )
        ignore_signals()  # Ray sets handlers of its own

    def nodes(self) -> list[NodeFact]:
        """The live nodes."""
        found = []
        for node in self._ray.nodes():
            if not node["Alive"]:
                continue
            given = node.get("NodeName") or ""
            name = node["NodeManagerHostname"] if given in ("", node["NodeManagerAddress"]) else given
            resources = {key: float(node["Resources"].get(key, 0.0)) for key in ("CPU", "GPU", "memory")}
            found.append(NodeFact(node["NodeID"], name, resources))
        return found

    def agent(self, node: str) -> Agent:
        """Start an agent on a node; it appears when it first answers."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from forge_tui.engines.ray.agent import NodeAgent

        where = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "max_concurrency": 4, "max_restarts": 0, "max_task_retries": 0}
        return Agent(self._ray, self._ray.remote(NodeAgent).options(**options, scheduling_strategy=where).remote())

    def reserve(self, node: str, cpus: float, memory: float, gpus: int = 0) -> Any:
        """Ask for resources of a node; returns the reservation, to be looked at with `is_ready`."""
        from ray.util.placement_group import placement_group

        bundle = {"CPU": cpus, "memory": memory, "GPU": gpus}
        given = {name: value for name, value in bundle.items() if value}
        return placement_group([given], strategy="PACK", bundle_label_selector=[{"ray.io/node-id": node}])

    def is_ready(self, reservation: Any) -> bool:
        """Whether the resources are reserved."""
        from ray.util.placement_group import placement_group_table

        return bool(placement_group_table(reservation).get("state") == "CREATED")

    def gpu_ids(self, reservation: Any, gpus: int, done: Callable[[Future[list[str]]], None]) -> None:
        """Find out which GPUs a reservation has: Ray reports that only to a process that it starts there."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        where = PlacementGroupSchedulingStrategy(reservation)
        task = self._ray.remote(_gpu_ids).options(num_cpus=0, num_gpus=gpus, max_retries=0, scheduling_strategy=where)
        task.remote().future().add_done_callback(done)

    def release(self, reservation: Any) -> None:
        """Give the resources back."""
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(reservation)

    def close(self) -> None:
        """Disconnect, end a cluster that was started here, and remove its files."""
        if self._ray is not None:
            self._ray.shutdown()
        self.remove_scratch()

    def remove_scratch(self) -> None:
        """Remove the files of a cluster that was started here."""
        remove_scratch(self._scratch)


def _gpu_ids() -> list[str]:
    """What Ray calls the GPUs of this process, inside one that Ray has started."""
    import ray

    return [str(one) for one in ray.get_gpu_ids()]


class _AuthenticationQuestion:
    """Whether a cluster answers without a token, asked by a process of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
        environment["RAY_AUTH_MODE"] = "disabled"
        command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "health-check"]
        if address != "auto":
            command += ["--address", address]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def require(self) -> None:
        """Raise `UsageError` unless the cluster has refused to answer without a token."""
        where = f"the Ray cluster at {escaped(self._address)}"
        try:
            _, said = self._process.communicate(timeout=_PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise UsageError(f"{where} does not answer; `ray status` on one of its machines shows more") from None
        if self._process.returncode == 0:
            raise UsageError(
                f"{where} has no authentication: whoever reaches its ports runs code on it, as you. Start it with "
                "RAY_AUTH_MODE=token (`ray get-auth-token --generate` makes a token), or use it as it is with "
                "--trust-cluster"
            )
        words = said.decode(errors="replace")
        if not any(sign in words for sign in _REFUSALS):
            last = words.strip().splitlines()[-1:] or ["no words"]
            raise UsageError(f"{where}: whether it has authentication could not be determined ({last[0]})")


class Agent:
    """The agent on a node. Answers come in a thread of Ray's."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray, self._handle = ray, handle

    def tell(self, batch: bytes, done: Callable[[Future[None]], None]) -> None:
        """Have it take frames."""
        self._handle.tell.remote(batch).future().add_done_callback(done)

    def listen(self, done: Callable[[Future[bytes]], None]) -> None:
        """Have it give frames."""
        self._handle.listen.remote().future().add_done_callback(done)

    def end(self) -> None:
        """End its process, and with it all its workers."""
        self._ray.kill(self._handle, no_restart=True)


def _require_answer(address: str) -> None:
    """Raise `UsageError` where nothing listens at an address: Ray would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(
            f"nothing answers at {escaped(address)} ({why}); give the address of the cluster's head node, which `ray "
            "status` on one of its machines shows"
        ) from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _connection_words(address: str, error: Exception, *, wants_token: bool) -> str:
    """Why there is no connection. `wants_token`: the cluster has refused to answer without one."""
    if wants_token:
        return (
            f"no connection to the Ray cluster at {escaped(address)}, which wants a token ({_first_line(error)}); set "
            "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's; forge-tui has to run on "
            "a machine of the cluster"
        )
    return (
        f"no connection to a Ray cluster at {escaped(address)} ({_first_line(error)}); forge-tui has to run on a "
        "machine of the cluster, `ray status` shows whether it is one"
    )
