"""A real limit of memory, by a control group: fewer at once, all models finish, nobody is killed."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from memory_groups import MemoryGroup, NotPossible

MIB = 1 << 20


def _command() -> ModuleType:
    """`memory_limit.py`, the same by hand."""
    spec = importlib.util.spec_from_file_location("memory_limit", Path(__file__).with_name("memory_limit.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["memory_limit"] = module
    spec.loader.exec_module(module)
    return module


memory_limit = _command()


@contextmanager
def group_of(limit: int) -> Iterator[MemoryGroup]:
    try:
        group = MemoryGroup.make(limit)
    except NotPossible as error:
        pytest.skip(str(error))
    with group:
        yield group


def test_limit_at_60_percent_of_the_summed_peaks_means_fewer_at_once_and_no_kill(tmp_path: Path) -> None:
    models = 6
    with group_of(int(0.6 * models * memory_limit.cost_of_one(tmp_path))) as group:
        arguments = memory_limit.command(tmp_path / "run", models, 6)
        seen = memory_limit.run_in(group, arguments, memory_limit.environment(tmp_path, models))
    assert (seen.status, seen.completed, seen.oom_kills) == (0, models, 0), seen.err
    assert 1 <= seen.most_at_once <= 3
    (limit,) = [record for record in seen.events if record["event"] == "worker_limit"]
    assert limit["workers"] == models  # it was memory that held them back, nothing else
    holds = seen.decisions("hold")
    assert holds
    assert all(" at once: a further worker needs " in hold for hold in holds)
    # One for each time that the workers at work changed, not one for each look.
    assert len(holds) <= 4 * models


def test_worker_that_the_kernel_ends_for_want_of_memory_is_told_and_tried_again_with_fewer(tmp_path: Path) -> None:
    """The small models fit side by side; what one of them then eats does not."""
    faults = {"cognate_planner_2": {"do": "eat", "mebibytes": 900, "epoch": 3, "attempts": 1}}
    faults["cognate_planner_1"] = {"do": "pace", "epoch": 1, "seconds": 1.5}  # it still trains when the other is killed
    arguments = [
        *memory_limit.command(tmp_path / "run", 3, 6), "--model-type", "planner", "--model-size", "2000",
        "--batch-size", "32", "--checkpoint-interval", "2",
    ]  # fmt: skip
    with group_of(900 * MIB) as group:
        env = memory_limit.environment(tmp_path, 3, WORKER_FAULTS=json.dumps(faults))
        seen = memory_limit.run_in(group, arguments, env)
    assert (seen.status, seen.completed) == (0, 3), seen.err
    assert seen.oom_kills == 1
    (failed,) = [record for record in seen.events if record["event"] == "model_failed"]
    assert (failed["model"], failed["kind"], failed["will_retry"]) == ("cognate_planner_2", "out_of_memory", True)
    assert "was killed by the kernel for lack of memory (SIGKILL)" in failed["message"]
    (shrunk,) = seen.decisions("shrink")
    assert shrunk.startswith("shrink: cognate_planner_2 ran out of memory: ")
