"""A Slurm on this machine, for tests: its daemons, without systemd, in a directory."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
_SECONDS = 120.0
_MEMORY = Path("/sys/fs/cgroup/memory")
_CONTROLLERS = ("cpuset", "memory", "freezer")


def missing() -> str | None:
    """Why no Slurm can be started here, or None."""
    absent = [name for name in (*DAEMONS, "sbatch") if shutil.which(name) is None]
    if absent:
        return f"Slurm is not installed ({', '.join(absent)}); .ci/run-peers installs it"
    if os.getuid() != 0:
        return "Slurm's daemons are started as root"
    if not os.access(_MEMORY / "memory.limit_in_bytes", os.R_OK) or not os.access(_MEMORY, os.W_OK):
        return "there are no control groups (v1) that can be written"
    return None


def _configuration(place: Path, host: str, nodes: Sequence[str], ports: Sequence[int]) -> str:
    declared = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4096"
        for name, port in zip(nodes, ports[1:], strict=True)
    )
    return f"""\
ClusterName=forge
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge/socket
SlurmctldPort={ports[0]}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ReturnToService=2
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1
{declared}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


_CGROUPS = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=yes
ConstrainRAMSpace=yes
"""


@dataclass(slots=True)
class SlurmCluster:
    """A running Slurm. Its commands get `variables` beside this process's own."""

    place: Path
    nodes: tuple[str, ...]
    variables: dict[str, str]
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """That of commands and of their jobs."""
        return {**os.environ, **self.variables}

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """The output of a command of Slurm; raises with its words if it fails."""
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command} exits {done.returncode}: {done.stderr}"
        return done.stdout

    def submit(self, *arguments: str | Path, cwd: Path) -> str:
        """The number of a new job of `sbatch ARGUMENTS`."""
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd).strip()

    def told(self, job: str, name: str) -> str:
        """What `scontrol show job` says of a job, such as its `JobState`."""
        found = re.search(rf"\b{name}=(\S*)", self.run("scontrol", "show", "job", job))
        assert found is not None
        return found[1]

    def wait_for(self, job: str, *states: str) -> str:
        """Wait until a job is in one of these states, and return it."""
        deadline = time.monotonic() + _SECONDS
        while (state := self.told(job, "JobState")) not in states:
            told = self.run("scontrol", "show", "job", job)
            assert time.monotonic() < deadline, f"not {' or '.join(states)}: {told}"
            time.sleep(0.1)
        return state

    def start_now(self, job: str) -> None:
        """Let a job that was queued again begin: Slurm lets it wait for two minutes."""
        self._until(lambda: self.told(job, "Reason") == "BeginTime", f"job {job} to be queued again")
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def begin(self) -> None:
        """Start the daemons, and wait until the node is idle."""
        munge = self.place / "munge"
        files = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed", "key-file": "key"}
        for command in (
            ("munged", "--foreground", *(f"--{name}={munge / file}" for name, file in files.items())),
            ("slurmctld", "-D", "-i"),
            *(("slurmd", "-D", "-N", name) for name in self.nodes),
        ):
            with (self.place / f"{command[0]}{len(self._daemons)}.out").open("wb") as said:
                self._daemons.append(
                    subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
                )
            if command[0] == "munged":
                self._until(lambda: (munge / "socket").exists(), "munged")
        self._until(self._is_idle, "slurmd")

    def end(self) -> None:
        """End all jobs and the daemons."""
        with contextlib.suppress(AssertionError, OSError):
            self.run("scancel", "--user=root", "--signal=KILL", "--full")
            self.run("scancel", "--user=root")
            self._until(lambda: not self.run("squeue", "--noheader").strip(), "the end of the jobs")
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for controller, node in product(_CONTROLLERS, self.nodes):
            top = Path("/sys/fs/cgroup") / controller / f"slurm_{node}"
            for group in (*sorted(top.rglob("*/"), reverse=True), top):
                with contextlib.suppress(OSError):
                    group.rmdir()

    def _is_idle(self) -> bool:
        done = subprocess.run(
            ("sinfo", "--noheader", "--format=%t"), env=self.environment, capture_output=True, text=True, check=False
        )
        return set(done.stdout.split()) == {"idle"}

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while not condition():
            said = {path.name: path.read_text(errors="replace")[-2_000:] for path in self.place.glob("*.out")}
            assert time.monotonic() < deadline, f"waited in vain for {what}: {said}"
            assert all(daemon.poll() is None for daemon in self._daemons), said
            time.sleep(0.1)


@contextlib.contextmanager
def slurm_cluster(variables: dict[str, str], nodes: int = 1) -> Iterator[SlurmCluster]:
    """A Slurm whose nodes have two CPUs and 4 GiB, in the partitions `low` (can be preempted) and `high`."""
    # The socket of munge has to be within everybody's reach.
    with tempfile.TemporaryDirectory(prefix="forge-tui-slurm-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        with _cluster_in(place, variables, nodes) as cluster:
            yield cluster


@contextlib.contextmanager
def _cluster_in(place: Path, variables: dict[str, str], number: int) -> Iterator[SlurmCluster]:
    host = socket.gethostname().partition(".")[0]
    nodes = tuple(f"{host}-{one}" for one in range(1, number + 1)) if number > 1 else (host,)
    for name in ("munge", "state", *(f"spool-{node}" for node in nodes)):
        (place / name).mkdir(mode=0o755)
    key = place / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(1 + number)]
        ports = [one.getsockname()[1] for one in sockets]
    (place / "slurm.conf").write_text(_configuration(place, host, nodes, ports))
    (place / "cgroup.conf").write_text(_CGROUPS)
    cluster = SlurmCluster(place, nodes, {**variables, "SLURM_CONF": str(place / "slurm.conf")})
    try:
        cluster.begin()
        yield cluster
    finally:
        cluster.end()
