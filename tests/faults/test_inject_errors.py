"""A few of the errors that `inject_errors.py` injects at every call: each at a place of another kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from injected import Stage, Walk
from injected_table import table
from injecting import Injector
from running import processes_of
from traced import Place, Role, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"{missing()}")
PLANNER = "run/checkpoints/cognate_planner_1"
CASES = (
    (Stage.START, Role.RUNNER, "fsync", "run", 1, "screen", "refused"),
    (Stage.START, Role.RUNNER, "fsync", "run", 5, "screen", "died"),
    (Stage.START, Role.RUNNER, "fdatasync", "run/run.db", 2, "records", "completed"),
    (Stage.START, Role.RUNNER, "pwrite64", "run/run.db-wal", 6, "screen", "completed"),
    (Stage.START, Role.RUNNER, "write", "state/forge-tui/runs.jsonl", 3, "records", "completed"),
    (Stage.START, Role.WORKER, "fsync", PLANNER, 1, "screen", "completed"),
    (
        Stage.RESUME,
        Role.WORKER,
        "unlink",
        f"{PLANNER}/step-000000000006-attempt-1.safetensors",
        1,
        "screen",
        "completed",
    ),
    (Stage.REMOVE, Role.FRONT, "rmdir", "run", 1, "screen", "refused"),
)


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Injector]:
    made = Injector(tmp_path_factory.mktemp("injected"))
    yield made
    assert processes_of(made.directory) == []


@pytest.mark.parametrize(("stage", "role", "name", "file", "number", "told", "became"), CASES)
def test_an_error_is_reported_and_loses_nothing(
    injector: Injector, stage: Stage, role: Role, name: str, file: str, number: int, told: str, became: str
) -> None:
    path = str(injector.place / file)
    outcome = injector.attempt(Walk(stage, role, name, Place(path, path), file, (number,)), "EIO", number)
    assert outcome.hit
    assert outcome.problems == [], "\n".join(table([outcome]))
    assert (outcome.told, outcome.became) == (told, became)


def test_what_there_is_to_walk_through_is_found(injector: Injector) -> None:
    walks = {(walk.name, walk.file): walk for walk in injector.walks(Stage.REMOVE, Role.FRONT)}
    assert walks["rmdir", "run"].numbers == (1,)
    assert walks["unlink", "run/run.db-wal"].idle == {1}  # there is none
    assert {"fsync", "rename", "rmdir", "unlink", "unlinkat", "write"} <= {name for name, _ in walks}
    found = list(injector.follow(walks["fsync", "run"], "ENOSPC"))
    assert [outcome.hit for outcome in found] == [True, False]  # up to where nothing is injected any more
    assert [outcome.problems for outcome in found] == [[], []]
