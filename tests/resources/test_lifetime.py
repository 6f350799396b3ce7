"""What would end a detached run: logins, jobs, containers, services; each told with what to do about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forge_tui.resources.doctor import doctor_text
from forge_tui.resources.lifetime import endings
from forge_tui.resources.manager import ResourceManager
from forge_tui.resources.system_probe import SystemProbe

LOGIN = {"/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-7.scope\n"}
LOGIN_V1 = {"/proc/self/cgroup": "4:memory:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-c2.scope\n"}
MANAGER = {"/proc/self/cgroup": "0::/user.slice/user-1000.slice/user@1000.service/app.slice/tmux-spawn-1.scope\n"}
KILLING = {"/etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\n"}
LINGERING = {"/var/lib/systemd/linger/ada": ""}
SCOPE = "start it with `systemd-run --user --scope forge-tui …`, which is outside of the login"
LINGER_FIRST = "`loginctl enable-linger` once, then " + SCOPE
ELSEWHERE = {"/proc/self/ns/pid": "pid:[4026532799]"}
FIRST_NAMESPACE = {"/proc/self/ns/pid": "pid:[4026531836]"}


def process(name: str, pid: int, parent: int, numbers: str | None = None) -> str:
    return f"Name:\t{name}\nUmask:\t0022\nPid:\t{pid}\nPPid:\t{parent}\nNSpid:\t{numbers or pid}\n"


def chain(first: str, *, attached: bool = True) -> dict[str, str]:
    """A first process, a shell started by it (or from outside, as by `docker exec`), and this process."""
    own = process("python", 40, 30)
    return {
        "/proc/self/status": own,
        "/proc/40/status": own,
        "/proc/30/status": process("bash", 30, 1 if attached else 0),
        "/proc/1/status": process(first, 1, 0),
    }


def what(found) -> list[str]:
    return [ending.what for ending in found]


def test_nothing_ends_a_run_on_a_plain_machine(machine):
    probe = machine(files={**LOGIN, **chain("systemd")}, links=FIRST_NAMESPACE, users={1000: "ada"})
    assert endings(probe) == ()
    assert endings(machine()) == ()
    report = ResourceManager(probe).generate_resource_report()
    assert report["detection"]["endings"] == []
    assert "After you leave a run continues when you log out" in " ".join(doctor_text(report).split())


# --- logins


@pytest.mark.parametrize("login", [LOGIN, LOGIN_V1])
@pytest.mark.parametrize(("linger", "remedy"), [({}, LINGER_FIRST), (LINGERING, SCOPE)])
def test_logind_that_kills_is_told(machine, login, linger, remedy):
    # Lingering alone does not help: it keeps the user's service manager, not what was started in a login.
    (ending,) = endings(machine(files={**login, **KILLING, **linger}, users={1000: "ada"}))
    scope = "session-7.scope" if login is LOGIN else "session-c2.scope"
    assert (ending.what, ending.remedy) == ("login", remedy)
    assert ending.reason == (
        f"systemd-logind kills all that was started in this login ({scope}) when it ends: "
        "KillUserProcesses=yes in /etc/systemd/logind.conf"
    )


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"/usr/lib/systemd/logind.conf": "[Login]\nKillUserProcesses = On\n"}, "/usr/lib/systemd/logind.conf"),
        # The first main file is the only one.
        (
            {
                "/etc/systemd/logind.conf": "[Login]\n#KillUserProcesses=no\n",
                "/usr/lib/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\n",
            },
            None,
        ),
        # Drop-ins win over it, the last name over the others, and /etc over the others for one name.
        ({**KILLING, "/usr/lib/systemd/logind.conf.d/50-keep.conf": "[Login]\nKillUserProcesses=no\n"}, None),
        (
            {
                "/run/systemd/logind.conf.d/90-kill.conf": "[Login]\nKillUserProcesses=1\n",
                "/etc/systemd/logind.conf.d/10-keep.conf": "[Login]\nKillUserProcesses=no\n",
            },
            "/run/systemd/logind.conf.d/90-kill.conf",
        ),
        (
            {
                "/usr/lib/systemd/logind.conf.d/90.conf": "[Login]\nKillUserProcesses=yes\n",
                "/etc/systemd/logind.conf.d/90.conf": "",
            },
            None,
        ),
        ({"/etc/systemd/logind.conf.d/90.conf.bak": "[Login]\nKillUserProcesses=yes\n"}, None),
        # What the distribution built it with is shown as a comment.
        (
            {"/etc/systemd/logind.conf": "# about\n[Login]\n#KillUserProcesses=yes\n"},
            "/etc/systemd/logind.conf, where it is the default",
        ),
        ({"/etc/systemd/logind.conf": "[Login]\nKillUserProcesses=no\n#KillUserProcesses=yes\n"}, None),
        ({"/etc/systemd/logind.conf": "[Sleep]\nKillUserProcesses=yes\n"}, None),
        ({"/etc/systemd/logind.conf": "[Login]\nKillUserProcesses=perhaps\n"}, None),
        ({"/etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=bob ada\n"}, None),
        ({"/etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob\n"}, None),
    ],
)
def test_logind_configuration_is_read_as_logind_does(machine, files, source):
    found = endings(machine(files={**LOGIN, **files}, users={1000: "ada"}))
    assert [ending.reason.rpartition(": ")[2] for ending in found] == (
        [f"KillUserProcesses=yes in {source}"] if source else []
    )


def test_users_named_by_logind_are_killed_though_others_are_not(machine):
    files = {"/etc/systemd/logind.conf": "[Login]\nKillOnlyUsers=bob \\\n  ada\n"}
    (ending,) = endings(machine(files={**LOGIN, **files}, users={1000: "ada"}))
    assert ending.reason.endswith("KillOnlyUsers in /etc/systemd/logind.conf")
    assert endings(machine(files={**LOGIN, **files}, users={1000: "eve"})) == ()


def test_root_is_left_out_unless_the_list_is_emptied(machine):
    assert endings(machine(files={**LOGIN, **KILLING}, users={1000: "root"})) == ()
    emptied = {"/etc/systemd/logind.conf.d/1.conf": "[Login]\nKillExcludeUsers=\n"}
    assert what(endings(machine(files={**LOGIN, **KILLING, **emptied}, users={1000: "root"}))) == ["login"]


def test_the_users_service_manager_ends_with_the_last_login(machine):
    (ending,) = endings(machine(files=MANAGER, users={1000: "ada"}))
    assert (ending.what, ending.remedy) == ("last login", "`loginctl enable-linger` once: the manager then stays")
    assert "service manager of ada (user@1000.service)" in ending.reason
    # Started so, a run outlives its login however logind treats logins.
    assert endings(machine(files={**MANAGER, **KILLING, **LINGERING}, users={1000: "ada"})) == ()
    stays = {"/etc/systemd/logind.conf": "[Login]\nUserStopDelaySec=infinity\n"}
    assert endings(machine(files={**MANAGER, **stays}, users={1000: "ada"})) == ()


@pytest.mark.parametrize(
    ("unit", "found"), [("jupyterhub", ["service"]), ("app.slice/web", ["service"]), ("ssh", []), ("sshd@3-x", [])]
)
def test_a_service_ends_all_that_was_started_in_it(machine, unit, found):
    probe = machine(files={"/proc/self/cgroup": f"0::/system.slice/{unit}.service\n"})
    assert what(endings(probe)) == found


# --- batch systems


@pytest.mark.parametrize(
    ("environment", "job", "submit"),
    [
        ({"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0"}, "Slurm job 12", "`sbatch`"),
        ({"SLURM_JOB_ID": "12", "SLURMD_NODENAME": "n1"}, "Slurm job 12", "`sbatch`"),
        ({"PBS_JOBID": "7.head"}, "PBS job 7.head", "`qsub`"),
        ({"LSB_JOBID": "8"}, "LSF job 8", "`bsub`"),
        ({"JOB_ID": "9", "SGE_O_HOST": "head"}, "Grid Engine job 9", "`qsub`"),
        ({"SLURM_JOB_ID": "12"}, None, ""),  # a shell of salloc, on the login node
        ({"JOB_ID": "9"}, None, ""),
        ({"PBS_JOBID": ""}, None, ""),
    ],
)
def test_a_batch_job_ends_all_its_processes(machine, environment, job, submit):
    found = endings(machine(environment=environment))
    assert what(found) == ([job] if job else [])
    for ending in found:
        assert submit in ending.remedy
        assert "at its time limit" in ending.reason


@pytest.mark.parametrize(
    "group",
    [
        "0::/system.slice/slurmstepd.scope/job_34/step_extern/user/task_0",
        "4:memory:/slurm/uid_1000/job_34/step_0",
        "4:memory:/slurm_node7/uid_1000/job_34",
    ],
)
def test_a_login_adopted_by_a_slurm_job_ends_with_it(machine, group):
    probe = machine(files={"/proc/self/cgroup": f"{group}\n", **KILLING}, users={1000: "ada"})
    assert what(endings(probe)) == ["Slurm job 34"]


# --- containers


@pytest.mark.parametrize(
    ("files", "name", "remedy"),
    [
        ({"/.dockerenv": "", "/proc/self/cgroup": "0::/\n"}, "container", "`docker run -it` by Ctrl+P Ctrl+Q"),
        ({"/proc/self/cgroup": "4:memory:/docker/abc\n"}, "container", "`docker exec -it`"),
        ({"/proc/self/cgroup": "0::/system.slice/docker-abc.scope\n"}, "container", "`docker run -d`"),
        ({"/run/.containerenv": ""}, "container", "`podman run -it` by Ctrl+P Ctrl+Q"),
        ({"/proc/self/cgroup": "0::/kubepods.slice/pod1/abc\n"}, "pod", "the command of a Job"),
        ({"/proc/self/cgroup": "4:memory:/lxc/box\n"}, "container", "keep the run directory on a volume"),
    ],
)
def test_leaving_the_first_process_ends_the_container(machine, files, name, remedy):
    (ending,) = endings(machine(files={**chain("bash"), **files, **KILLING}, links=ELSEWHERE))
    assert ending.what == name
    assert ending.reason == (
        f"the {name} ends, with all that runs in it, when its first process ends (`bash`), "
        "an ancestor of this one, or when it is stopped"
    )
    assert remedy in ending.remedy


def test_a_pod_is_known_by_its_environment(machine):
    probe = machine(files=chain("sleep"), links=ELSEWHERE, environment={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert what(endings(probe)) == ["pod"]


@pytest.mark.parametrize("files", [chain("sleep", attached=False), chain("systemd"), chain("supervisord")])
def test_leaving_a_container_that_goes_on_is_no_end(machine, files):
    (ending,) = endings(machine(files={**files, "/.dockerenv": ""}, links=ELSEWHERE))
    assert "when it is stopped or deleted, or its first process ends" in ending.reason
    assert ending.remedy == "keep the run directory on a volume, and `forge-tui resume` continues from there"


def test_a_machine_made_from_an_image_is_no_container(machine):
    probe = machine(files={**chain("init"), **LOGIN, **KILLING, "/.dockerenv": ""}, links=FIRST_NAMESPACE)
    assert what(endings(probe)) == ["login"]


def test_a_whole_system_in_a_container_is_a_machine(machine):
    group = "1:name=systemd:/lxc/box/user.slice/user-1000.slice/session-7.scope\n"
    probe = machine(files={**chain("systemd"), **KILLING, "/proc/self/cgroup": group}, links=ELSEWHERE)
    assert what(endings(probe)) == ["login"]


def test_a_process_namespace_ends_with_its_first_process(machine):
    (ending,) = endings(machine(files=chain("bwrap"), links=ELSEWHERE))
    assert ending.what == "process namespace"
    assert "end with its first one (`bwrap`), an ancestor of this one" in ending.reason
    # Not with one that this does not descend from, and not in a system of its own (WSL).
    assert endings(machine(files=chain("bwrap", attached=False), links=ELSEWHERE)) == ()
    assert endings(machine(files=chain("init(Ubuntu)"), links=ELSEWHERE)) == ()


def test_the_first_process_is_found_in_another_namespaces_proc(machine):
    files = {
        "/proc/self/status": process("python", 940, 930, "940 40"),
        "/proc/930/status": process("zsh", 930, 901, "930 30"),
        "/proc/901/status": process("unshare", 901, 1, "901 1"),
        "/proc/1/status": process("systemd", 1, 0),
    }
    (ending,) = endings(machine(files=files, links=ELSEWHERE))
    assert "(`unshare`)" in ending.reason
    # One that entered from outside (nsenter) descends from the machine's first process, not the namespace's.
    entered = {"/proc/930/status": process("zsh", 930, 1), "/proc/1/status": process("launcher", 1, 0)}
    assert endings(machine(files={**files, **entered}, links=ELSEWHERE)) == ()


def test_files_that_cannot_be_read_are_taken_as_absent(machine):
    files = {**LOGIN, "/etc/systemd/logind.conf/file": "", "/proc/self/status/file": "", "/.dockerenv/file": ""}
    assert endings(machine(files=files, links={"/etc/systemd/logind.conf.d": "logind.conf.d"})) == ()


def test_doctor_tells_in_text_and_as_data(machine):
    probe = machine(files={**LOGIN, **KILLING}, users={1000: "ada"})
    report = ResourceManager(probe).generate_resource_report()
    assert json.loads(json.dumps(report)) == report
    (ending,) = report["detection"]["endings"]
    assert (ending["what"], ending["remedy"]) == ("login", LINGER_FIRST)
    text = doctor_text(report)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "After you leave\n  login            systemd-logind kills all" in text
    assert f"advice {LINGER_FIRST}" in " ".join(text.split())


_SHOW = "from forge_tui.resources.lifetime import endings\nfrom forge_tui.resources.system_probe import SystemProbe\n"
_SHOW += "print([ending.reason for ending in endings(SystemProbe())])"


def test_a_real_process_namespace_is_told():
    if SystemProbe().link("/proc/self/ns/pid") != "pid:[4026531836]":
        pytest.skip("this is a process namespace already")
    inside = ["unshare", "--pid", "--fork", "sh", "-c", '"$@"; true', "sh", sys.executable, "-c", _SHOW]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60, env=environment)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode != 0:
        pytest.skip(f"no process namespace may be made here: {done.stderr.strip()}")
    assert "(`sh`), an ancestor of this one" in done.stdout
