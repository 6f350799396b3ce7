"""Train under a real limit of memory: 60 % of what the models would take together at their peaks.

    python tests/faults/memory_limit.py [--models 6] [--share 0.6] [--pressure]

Prints the limit, the summed peaks, how many ran at once at most, the kernel's kills, and every decision. With
`--pressure` another process in the same control group eats memory while the run goes on, and leaves again when a worker
has made room (`--models 3 --share 2 --pressure`; the governor takes its time: two minutes). Exits with 1 unless all
models finish without a kill.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parents[1] / "support"
sys.path.insert(0, str(SUPPORT))
from memory_groups import MemoryGroup, NotPossible  # noqa: E402

MIB = 1 << 20
# The memory is in the activations, so that checkpoints stay small and the test does not measure the disk.
MODEL = ("--model-type", "reasoner", "--model-size", "20000", "--batch-size", "2000", "--set", "data.samples=2500")
# The memory is in weights and optimizer, the same all the time: what else eats is seen at once. A fifth is kept free.
STEADY = (
    "--model-type", "planner", "--model-size", "8000000", "--batch-size", "32", "--set", "data.samples=72",
    "--checkpoint-interval", "100000", "--set", "resources.memory_reserve=0.2",
)  # fmt: skip
_EATER = (
    "import sys, time; b = bytearray(int(sys.argv[1])); b[::4096] = b'x' * len(b[::4096]); print(); time.sleep(1e6)"
)


@dataclass(frozen=True)
class Observed:
    """What came of a run under a limit (bytes)."""

    status: int
    events: list[dict[str, Any]]
    limit: int
    oom_kills: int
    err: str

    @property
    def most_at_once(self) -> int:
        """The most models that were at work at the same time, by the events."""
        active: set[int] = set()
        most = 0
        for record in self.events:
            if record["event"] == "phase_changed":
                working = record["phase"] in ("initializing", "training", "checkpointing", "saving")
                (active.add if working else active.discard)(record["index"])
                most = max(most, len(active))
        return most

    @property
    def completed(self) -> int:
        """How many models were finished."""
        return sum(record["event"] == "model_completed" for record in self.events)

    def decisions(self, *kinds: str) -> list[str]:
        """The decisions of these kinds with their reasons, in order."""
        return [
            f"{record['kind']}: {record['reason']}"
            for record in self.events
            if record["event"] == "decision" and record["kind"] in kinds
        ]


def command(directory: Path, models: int, epochs: int, *more: str) -> list[str]:
    """A run that asks for as many workers as it has models, by a policy that measures memory."""
    return [
        sys.executable, "-m", "forge_tui", "--no-ui", "--json", "--mode", "parallel", "--workers", str(models),
        "--models", str(models), "--epochs", str(epochs), "--policy", "dedicated", "--threads", "1", *MODEL,
        "--output", str(directory), *more,
    ]  # fmt: skip


def environment(base: Path, cpus: int, **more: str) -> dict[str, str]:
    """Where the runner finds `cpus`, so that memory is what limits the workers."""
    about = {"PYTHONPATH": str(SUPPORT / "faults"), "MACHINE_CPUS": str(cpus)}
    return {**os.environ, **about, "XDG_STATE_HOME": str(base / "state"), **more}


def cost_of_one(base: Path, *more: str, epochs: int = 8) -> int:
    """The peak of one such model as its worker measures it (bytes)."""
    arguments = command(base / "one", 1, epochs, *more)
    subprocess.run(arguments, env=environment(base, 1), check=True, capture_output=True, stdin=subprocess.DEVNULL)
    with contextlib.closing(sqlite3.connect(base / "one" / "run.db")) as database:
        return max(json.loads(row[0])["own_memory"] for row in database.execute("SELECT record FROM resources"))


def run_in(group: MemoryGroup, arguments: Sequence[str], env: dict[str, str]) -> Observed:
    """The run from start to end in a group."""
    done = subprocess.run(
        group.command(*arguments), env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return Observed(done.returncode, records, group.limit, group.oom_kills, done.stderr)


@contextlib.contextmanager
def eating(group: MemoryGroup, size: int) -> Iterator[None]:
    """Another process in the group that has `size` bytes."""
    eater = subprocess.Popen(group.command(sys.executable, "-c", _EATER, str(size)), stdout=subprocess.PIPE)
    try:
        assert eater.stdout is not None
        eater.stdout.readline()
        yield
    finally:
        eater.kill()
        eater.communicate()


def pressed(base: Path, group: MemoryGroup, models: int, epochs: int) -> Observed:
    """A run beside which something eats most of what is left, until a worker has made room, and then leaves."""
    run = subprocess.Popen(
        group.command(*command(base / "pressed", models, epochs, *STEADY)), env=environment(base, models), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert run.stdout is not None
    records: list[dict[str, Any]] = []

    def until(*kinds: str) -> None:
        assert run.stdout is not None
        for line in run.stdout:
            records.append(json.loads(line))
            if kinds and (records[-1]["event"] in kinds or records[-1].get("kind") in kinds):
                return

    until("model_started")
    until("model_started")
    most, settled = 0, time.monotonic() + 10.0
    while time.monotonic() < settled:
        most = max(most, group.usage)
        time.sleep(0.01)
    with eating(group, group.limit - most - group.limit // 20):
        until("requeue")
        time.sleep(10.0)
    until("grow")
    until()
    _out, err = run.communicate()
    return Observed(run.returncode, records, group.limit, group.oom_kills, err)


def main() -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--share", type=float, default=0.6, help="the limit as a part of the summed peaks")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--pressure", action="store_true", help="something else eats memory for a while")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        cost = cost_of_one(base, *STEADY, epochs=40) if given.pressure else cost_of_one(base)
        limit = int(given.share * given.models * cost)
        try:
            group = MemoryGroup.make(limit)
        except NotPossible as error:
            print(error)
            return 2
        with group:
            if given.pressure:
                seen = pressed(base, group, given.models, given.epochs or 1200)
            else:
                env = environment(base, given.models)
                seen = run_in(group, command(base / "run", given.models, given.epochs or 6), env)
    print(f"control group v{group.version}, limit {limit // MIB} MiB = {given.share:.0%} of the summed peaks")
    print(f"summed peaks {given.models * cost // MIB} MiB ({given.models} models of {cost // MIB} MiB)")
    print(f"asked for {given.models} at once, at most {seen.most_at_once} ran at once")
    print(f"{seen.completed} of {given.models} models finished, exit status {seen.status}")
    print(f"{seen.oom_kills} processes ended by the kernel for want of memory")
    for decision in seen.decisions("hold", "requeue", "shrink", "grow"):
        print(f"  {decision}")
    return 0 if (seen.completed, seen.oom_kills, seen.status) == (given.models, 0, 0) else 1


if __name__ == "__main__":
    sys.exit(main())
