"""Who is on a GPU: workers of this user's runs and what they started, other users, and processes that are hidden."""

from __future__ import annotations

import os

from forge_tui.resources.gpu_users import GpuUser, seen_gpus
from forge_tui.resources.gpus import Gpu, GpuProcess

GIB = 2**30
ME, BOB = os.getuid(), os.getuid() + 1
RUN = "20261123-150210-planner"


def process(pid: int, parent: int, owner: int, title: str) -> dict[str, str]:
    return {
        f"/proc/{pid}/status": f"Name:\tpython\nPPid:\t{parent}\nUid:\t{owner}\t{owner}\t{owner}\t{owner}\n",
        f"/proc/{pid}/cmdline": title,
    }


def users(machine, files, *pids):
    gpu = Gpu(0, "NVIDIA H100", 80 * GIB, GIB, uuid="GPU-aa", processes=tuple(GpuProcess(pid, GIB) for pid in pids))
    (seen,) = seen_gpus((gpu,), machine(files=files, users={ME: "ada", BOB: "bob"}))
    assert seen.gpu is gpu
    return seen.users


def test_a_worker_is_known_by_its_title(machine):
    files = process(10, 9, ME, f"forge-tui: planner_1 and 5 more ({RUN})\0\0\0")
    assert users(machine, files, 10) == (GpuUser(10, GIB, "ada", "planner_1 and 5 more", RUN),)


def test_what_a_command_started_belongs_to_its_worker(machine):
    files = (
        process(10, 9, ME, f"forge-tui: model_2 ({RUN})\0")
        | process(11, 10, ME, "torchrun\0--nproc-per-node\0004\0train.py\0")
        | process(12, 11, ME, "python\0train.py\0")
    )
    assert users(machine, files, 12) == (GpuUser(12, GIB, "ada", "model_2", RUN),)


def test_another_program_of_this_user_is_not_a_worker(machine):
    files = process(8, 1, ME, "bash\0") | process(10, 8, ME, "python\0notebook.py\0")
    assert users(machine, files, 10) == (GpuUser(10, GIB, "ada"),)


def test_the_runner_and_the_fork_server_are_no_workers(machine):
    files = process(8, 1, ME, f"forge-tui: runner {RUN}\0") | process(9, 8, ME, "forge-tui: fork server\0")
    assert users(machine, files, 9, 8) == (GpuUser(9, GIB, "ada"), GpuUser(8, GIB, "ada"))


def test_a_worker_of_another_user_is_theirs(machine):
    files = process(10, 9, BOB, f"forge-tui: planner_1 ({RUN})\0")
    assert users(machine, files, 10) == (GpuUser(10, GIB, "bob"),)


def test_a_process_that_cannot_be_read_has_no_user(machine):
    assert users(machine, {}, 4711) == (GpuUser(4711, GIB),)


def test_processes_that_are_each_others_parents_end_the_search(machine):
    files = process(10, 11, ME, "a\0") | process(11, 10, ME, "b\0")
    assert users(machine, files, 10) == (GpuUser(10, GIB, "ada"),)


def test_a_driver_that_does_not_list_processes_leaves_it_open(machine):
    (seen,) = seen_gpus((Gpu(0, "NVIDIA H100", 80 * GIB, GIB),), machine())
    assert seen.users is None
    assert seen.to_record()["processes"] is None
