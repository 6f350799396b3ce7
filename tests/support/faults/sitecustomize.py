"""Faults inside a worker, as a user's own training code may have them. For tests: put this directory on PYTHONPATH.

`WORKER_FAULTS` is a JSON object: NAME of a model → `{"do": FAULT, "epoch": n, "attempts": k}`. The fault comes about at
the start of epoch n (slowness: from it on) of the model's attempts 1…k (default: all); `then`: the fault of later ones.
Only the fork server, and so its workers, are changed; without the variable nothing is. With `"tell": PATH` every phase
is written there, too, with its reason, and `checkpoint` for every one that is begun: of a run whose own disk takes
nothing.

`CLOCK_FILE`: every process takes the time of day to be so many seconds from the real one as the file says. The
monotonic clock goes on, as it does when somebody sets a machine's clock; libfaketime 0.9.10 cannot do that (told to
leave the monotonic clock alone, it has every `time.sleep` of Python 3.11 fail with EINVAL).

`SAME_PRIORITY`: runs do not yield to other work, as they do by default; else those that a busy machine starts take ten
times as long.

`KILL_AT_RENAME`: the runner ends, as by SIGKILL, before it renames a file or directory to a path that ends so.
`TRACED_RUNNER`: a program by which front ends start the runner. `PLAIN_NAMES`: temporary names are counted, not drawn,
so that they are the same in every run.

`MACHINE_CPUS`: the runner finds a machine with so many CPUs, so that it is memory that limits the workers.
`MACHINE_GPUS`: the runner finds these GPUs: a JSON list of their GiB in all and in use, and other fields of `Gpu`, with
processes as pid and GiB (null: not there); or a file with such a list, which is read at every look. `NODE_GPUS`: so
does the agent of a Ray node that was started with it.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import sys
import threading
import time

NOISE = "noise \x1b]0;owned\x07 \x1b[31m red \x00 \x9b2J end"
HUGE = 3_000_000


class Unprintable(Exception):
    """An exception that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def _raise() -> None:
    raise ValueError("the user's own loss function gave up")


def _sleep() -> None:
    time.sleep(100_000)


def _busy() -> None:
    while True:
        pass


def _stuck_in_native_code() -> None:
    ctypes.PyDLL(None).sleep(100_000)  # PyDLL keeps the interpreter's lock: no other thread gets on


def _native_crash() -> None:
    ctypes.string_at(0)


def _stop_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _leave_a_child() -> None:
    if os.fork() == 0:
        signal.pause()


def _leave_a_daemon() -> None:
    """A grandchild in a session of its own, as daemons are made."""
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            signal.pause()
        os._exit(0)
    os.waitpid(child, 0)


def _leave_a_child_and_end() -> None:
    _leave_a_child()
    os._exit(5)


def _leave_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(100_000,)).start()


def _print_noise() -> None:
    print(NOISE)
    os.write(1, bytes(range(256)) * 16)
    os.write(2, b"\xff\xfe no text \x1b[2J")
    raise RuntimeError(f"{NOISE} \udcff [bold]no markup[/bold]")


def _raise_unprintable() -> None:
    raise Unprintable


def _raise_huge() -> None:
    raise ValueError("x" * HUGE)


def _close_everything() -> None:
    os.closerange(3, 4096)


def _eat_memory(mebibytes: int) -> bytearray:
    eaten = bytearray(mebibytes << 20)
    eaten[::4096] = b"x" * len(eaten[::4096])
    return eaten


FAULTS = {
    "raise": _raise,
    "exit": lambda: sys.exit("enough"),
    "_exit": lambda: os._exit(3),
    "sleep": _sleep,
    "busy": _busy,
    "native hang": _stuck_in_native_code,
    "native crash": _native_crash,
    "stop": _stop_itself,
    "child": _leave_a_child,
    "daemon": _leave_a_daemon,
    "child and end": _leave_a_child_and_end,
    "thread": _leave_a_thread,
    "noise": _print_noise,
    "unprintable": _raise_unprintable,
    "huge": _raise_huge,
    "close": _close_everything,
}


def _install(plan: dict[str, dict]) -> None:
    import torch

    from forge_tui.training import checkpoint
    from forge_tui.training.reporter import Reporter
    from forge_tui.training.trainer import Trainer

    train_epoch = Trainer._train_epoch
    kept = []

    def with_faults(self, state, data):
        job = self._members[0].job
        fault = plan.get(job.model)
        while fault is not None and job.attempt > fault.get("attempts", 1 << 30):
            fault = fault.get("then")
        if fault is None or state.epoch + 1 < fault["epoch"]:
            return train_epoch(self, state, data)
        if fault["do"] == "slow":
            began = time.perf_counter()
            done = train_epoch(self, state, data)
            time.sleep(9 * (time.perf_counter() - began))
            state.epoch_seconds *= 10
            return done
        if fault["do"] == "pace":
            time.sleep(fault["seconds"])
        elif state.epoch + 1 == fault["epoch"]:
            match fault["do"]:
                case "nan":
                    with torch.no_grad():
                        state.parameters[0].fill_(float("nan"))
                case "eat":
                    kept.append(_eat_memory(fault["mebibytes"]))
                case name:
                    self._saving._writer.wait()  # what the fault cuts off is an epoch, never a write of another thread
                    FAULTS[name]()
        return train_epoch(self, state, data)

    Trainer._train_epoch = with_faults
    enter = Reporter.enter

    def and_tell(self, phase, reason=None):
        if told := plan.get(self._job.model, {}).get("tell"):
            with open(told, "a", encoding="utf-8") as file:
                print(phase.value, reason, file=file)
        enter(self, phase, reason)

    Reporter.enter = and_tell
    save = checkpoint.save_checkpoint

    def tell_and_save(directory, *content):
        if told := plan.get(directory.name, {}).get("tell"):
            with open(told, "a", encoding="utf-8") as file:
                print("checkpoint", file=file)
        return save(directory, *content)

    checkpoint.save_checkpoint = tell_and_save


def _pretend(cpus: int) -> None:
    from forge_tui.resources import cgroups
    from forge_tui.resources.system_probe import SystemProbe

    SystemProbe.cpu_count = SystemProbe.online_cpus = lambda self: cpus
    SystemProbe.affinity = lambda self: frozenset(range(cpus))
    cgroups._READERS = {
        version: tuple(reader for reader in readers if reader.controller == "memory")
        for version, readers in cgroups._READERS.items()
    }


def _pretend_gpus(given):
    from forge_tui.resources.gpus import Gpu, GpuProcess
    from forge_tui.resources.system_probe import SystemProbe

    def gpu(index, about):
        whole, used, more = (*about, {})[:3]
        more = {"uuid": f"GPU-{index:08x}", "utilization_percent": 0.0, "processes": [], **more}
        processes = tuple(GpuProcess(pid, int(gib * 2**30)) for pid, gib in more.pop("processes"))
        return Gpu(index, "Pretended", whole << 30, int(used * 2**30), processes=processes, **more)

    def gpus(self):
        if given.startswith("/"):
            with open(given) as file:
                cards = json.load(file)
        else:
            cards = json.loads(given)
        return tuple(gpu(index, about) for index, about in enumerate(cards) if about is not None)

    SystemProbe.gpus = gpus


def _die_at_rename(end: str) -> None:
    def dying(call):
        def renamed(source, target, **where):
            below = where.get("dst_dir_fd")
            path = os.fspath(target) if below is None else f"{os.readlink(f'/proc/self/fd/{below}')}/{target}"
            if path.endswith(end):
                os.kill(os.getpid(), signal.SIGKILL)
            return call(source, target, **where)

        return renamed

    os.rename, os.replace = dying(os.rename), dying(os.replace)


def _count_names() -> None:
    real, numbers = os.urandom, itertools.count(1)

    def counted(size: int) -> bytes:
        return next(numbers).to_bytes(size, "big") if size in (4, 8) else real(size)

    os.urandom = counted


def _yield_to_nobody() -> None:
    from forge_tui.resources import priority

    for module in (priority, sys.modules.get("forge_tui.runner.main")):
        if module is not None:
            module.LOWER_PRIORITY = 0


def _set_clock(file: str) -> None:
    real, real_ns = time.time, time.time_ns

    def offset() -> int:
        with open(file, encoding="ascii") as text:
            return int(text.read())

    time.time = lambda: real() + offset()
    time.time_ns = lambda: real_ns() + offset() * 1_000_000_000


if "TRACED_RUNNER" in os.environ and not {"forge_tui.runner", "forge_tui.worker.fork_server"} & {*sys.orig_argv}:
    sys.executable = os.environ["TRACED_RUNNER"]
if "PLAIN_NAMES" in os.environ:
    _count_names()
if "CLOCK_FILE" in os.environ:
    _set_clock(os.environ["CLOCK_FILE"])
if "SAME_PRIORITY" in os.environ and "forge_tui.runner" in sys.orig_argv:
    _yield_to_nobody()
if "KILL_AT_RENAME" in os.environ and "forge_tui.runner" in sys.orig_argv:
    _die_at_rename(os.environ["KILL_AT_RENAME"])
if "MACHINE_CPUS" in os.environ and "forge_tui.runner" in sys.orig_argv:
    _pretend(int(os.environ["MACHINE_CPUS"]))
if "MACHINE_GPUS" in os.environ and "forge_tui.runner" in sys.orig_argv:
    _pretend_gpus(os.environ["MACHINE_GPUS"])
if "NODE_GPUS" in os.environ and any(one.endswith("/default_worker.py") for one in sys.orig_argv):
    _pretend_gpus(os.environ["NODE_GPUS"])
if "WORKER_FAULTS" in os.environ and "forge_tui.worker.fork_server" in sys.orig_argv:
    _install(json.loads(os.environ["WORKER_FAULTS"]))
