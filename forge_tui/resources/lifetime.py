"""What would end a detached run here: the end of a login, a batch job, a container or a service.

A run has a session of its own and outlives its terminal. It cannot outlive the control group, the job or the process
namespace that it was started in: that is reported, with what to do instead.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from forge_tui.resources.logind import read_logind
from forge_tui.resources.system_probe import SystemProbe

_log = logging.getLogger(__name__)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Ending:
    """Something whose end also ends the run: `what` it is, when and how (`reason`), and what to do (or None)."""

    what: str
    reason: str
    remedy: str | None


def endings(probe: SystemProbe) -> tuple[Ending, ...]:
    """Everything that would end a detached run started from this process; empty if nothing was found.

    Never raises: unreadable counts as absent.
    """
    system = _Readable(probe)
    found = [*_jobs(system), *_container(system)]
    # In a container, the logind configuration is the image's; and a job's processes are not in a login.
    return tuple(found or _systemd(system))


class _Readable:
    """A probe whose failures count as absent values."""

    def __init__(self, probe: SystemProbe) -> None:
        self.environment = probe.environment
        self._probe = probe

    def read(self, path: str) -> str | None:
        return _attempt(lambda: self._probe.read(path), None)

    def names(self, path: str) -> tuple[str, ...]:
        return _attempt(lambda: self._probe.names(path), ())

    def link(self, path: str) -> str | None:
        return _attempt(lambda: self._probe.link(path), None)

    def user_name(self, uid: int) -> str:
        return self._probe.user_name(uid)

    def groups(self) -> list[str]:
        """The paths of this process's control groups; under systemd, one of them names its unit."""
        lines = (self.read("/proc/self/cgroup") or "").splitlines()
        return [line.split(":", 2)[2] for line in lines if line.count(":") >= 2]

    def match(self, pattern: str) -> re.Match[str] | None:
        """The match of the first control group that fits the pattern."""
        return next((match for path in self.groups() if (match := re.search(pattern, path))), None)


def _attempt(probe: Callable[[], _Value], absent: _Value) -> _Value:
    try:
        return probe()
    except OSError as error:
        _log.debug("what ends a run: %s", error)
        return absent


# --- batch systems


@dataclass(frozen=True, slots=True)
class _BatchSystem:
    """`job` is the variable with the job's number; one of `inside`, if any, is set only where the job really runs."""

    name: str
    job: str
    inside: tuple[str, ...]
    submit: str


_BATCH_SYSTEMS = (
    # A shell of `salloc` on the login node has SLURM_JOB_ID, but is not part of the job.
    _BatchSystem("Slurm", "SLURM_JOB_ID", ("SLURM_STEP_ID", "SLURMD_NODENAME"), "sbatch"),
    _BatchSystem("PBS", "PBS_JOBID", (), "qsub"),
    _BatchSystem("LSF", "LSB_JOBID", (), "bsub"),
    # JOB_ID alone is too common a name.
    _BatchSystem("Grid Engine", "JOB_ID", ("SGE_JOB_SPOOL_DIR", "SGE_O_HOST"), "qsub"),
)


def _jobs(system: _Readable) -> Iterator[Ending]:
    for batch in _BATCH_SYSTEMS:
        job = system.environment.get(batch.job, "").strip()
        if batch.inside and not any(system.environment.get(name) for name in batch.inside):
            job = ""
        if not job and batch.name == "Slurm":
            # An SSH login to a node of the user's job joins the job, without its environment (pam_slurm_adopt).
            group = system.match(r"/slurm[^/]*/(?:.*/)?job_(\d+)(?:/|$)")
            job = group[1] if group else ""
        if job:
            yield Ending(
                f"{batch.name} job {job}",
                f"{batch.name} ends all processes of a job when its script or shell ends, and at its time limit",
                f"submit a script with `{batch.submit}` in which `forge-tui --no-ui` runs without `--detach`: the job "
                "then lasts as long as the run; `forge-tui resume` continues in the next one",
            )


# --- containers and process namespaces

_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h
_FULL_INITS = re.compile(r"(systemd|init|openrc-init|runit|s6-svscan|supervisord|dinit|procd)$|init\(")
_DEPTH = 100


def _container(system: _Readable) -> Iterator[Ending]:
    kind = _kind_of_container(system)
    namespace = system.link("/proc/self/ns/pid")
    if kind == "marked" and namespace == _FIRST_PID_NAMESPACE:
        return  # a machine made from a container's image
    if kind is None and namespace in (None, _FIRST_PID_NAMESPACE):
        return
    first, is_ancestor = _first_process(system)
    is_machine = _FULL_INITS.match(first) is not None
    if kind == "other" and is_machine:
        return  # a whole system, with logins and services of its own
    is_inside = is_ancestor and not is_machine
    if kind is None:
        if is_inside:
            yield Ending(
                "process namespace",
                f"all processes in it end with its first one (`{first}`), an ancestor of this one",
                "start forge-tui outside of it (it was made by unshare, bwrap, firejail or the like)",
            )
        return
    name = "pod" if kind == "Kubernetes" else "container"
    if is_inside:
        when = f"when its first process ends (`{first}`), an ancestor of this one, or when it is stopped"
    else:
        when = f"when it is stopped or deleted, or its first process ends (`{first}`)"
    yield Ending(name, f"the {name} ends, with all that runs in it, {when}", _remedy_in(kind, is_inside))


def _kind_of_container(system: _Readable) -> str | None:
    """`Kubernetes`, `Podman`, `Docker`, `other`; `marked` where only a file of an image says so; None for none."""
    if system.environment.get("KUBERNETES_SERVICE_HOST") or system.match(r"kubepods"):
        return "Kubernetes"
    if system.read("/run/.containerenv") is not None or system.match(r"/libpod-"):
        return "Podman"
    if system.match(r"/docker[-/]"):
        return "Docker"
    if system.match(r"/(lxc|lxc\.payload\.[^/]*|machine\.slice|cri-containerd-[^/]*|containerd)(/|$)"):
        return "other"
    return "marked" if system.read("/.dockerenv") is not None else None


def _remedy_in(kind: str, is_inside: bool) -> str:
    keep = "keep the run directory on a volume, and `forge-tui resume` continues from there"
    if kind == "Kubernetes":
        return f"make `forge-tui --no-ui` the command of a Job; {keep}"
    if kind == "other" or not is_inside:
        return keep
    command = "podman" if kind == "Podman" else "docker"
    return (
        f"leave a terminal of `{command} run -it` by Ctrl+P Ctrl+Q instead of ending its shell, or start the container "
        f"with `{command} run -d` and work in it with `{command} exec -it`; {keep}"
    )


def _first_process(system: _Readable) -> tuple[str, bool]:
    """The name of this namespace's first process, and whether this process descends from it (or is it)."""
    pid, depth = "self", 0
    for _ in range(_DEPTH):
        fields = _status(system, pid)
        numbers = fields.get("NSpid", "").split()
        depth = depth or len(numbers)
        # Process ids from the outermost namespace in /proc to the process's own: there 1 is the first process.
        if numbers[-1:] == ["1"] and len(numbers) == depth:
            return fields.get("Name", "?"), True
        pid = fields.get("PPid", "0")
        if pid == "0":
            break  # started from outside, as by `docker exec`
    return _status(system, "1").get("Name", "?"), False


def _status(system: _Readable, pid: str) -> dict[str, str]:
    lines = (system.read(f"/proc/{pid}/status") or "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


# --- logins and services under systemd

_SCOPE = r"/user\.slice/user-(\d+)\.slice/(session-[^/]+\.scope)"
_MANAGER = r"/user\.slice/user-(\d+)\.slice/user@\1\.service(?:/|$)"
_SERVICE = r"/system\.slice/(?:[^/]+\.slice/)*([^/]+)\.service(?:/|$)"
# These leave their children running (KillMode=process), and users do not work in them.
_SPARING = re.compile(r"(ssh|sshd|dropbear|cron|crond|atd|xrdp-sesman)(@|$)")


def _systemd(system: _Readable) -> Iterator[Ending]:
    login, manager, service = (system.match(pattern) for pattern in (_SCOPE, _MANAGER, _SERVICE))
    if login:
        user = system.user_name(int(login[1]))
        killing = read_logind(system.read, system.names).killing(user)
        if killing:
            linger = "" if _lingers(system, user) else "`loginctl enable-linger` once, then "
            yield Ending(
                "login",
                f"systemd-logind kills all that was started in this login ({login[2]}) when it ends: {killing}",
                f"{linger}start it with `systemd-run --user --scope forge-tui …`, which is outside of the login",
            )
    elif manager:
        user = system.user_name(int(manager[1]))
        if not _lingers(system, user) and not read_logind(system.read, system.names).keeps_manager:
            yield Ending(
                "last login",
                f"this was started by the service manager of {user} (user@{manager[1]}.service), which ends, with all "
                f"that it started, when the last login of {user} has ended",
                "`loginctl enable-linger` once: the manager then stays",
            )
    elif service and not _SPARING.match(service[1]):
        yield Ending(
            "service",
            f"systemd ends all that was started in {service[1]}.service when that is stopped or restarted",
            "start it from a login, or as a service of its own with `systemd-run`",
        )


def _lingers(system: _Readable, user: str) -> bool:
    """Whether the user's service manager stays when no login is left."""
    return system.read(f"/var/lib/systemd/linger/{user}") is not None
