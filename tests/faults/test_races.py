"""Many at once on one directory: exactly one trains, the others say why not, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
from collections import Counter
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from depth import deep
from faulty import environment
from running import SMALL, begin, epochs_of, forge, processes_of, wait_until, weights
from storm_checks import history_problems
from storm_run import Role, holders

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.request import Request
from forge_tui.runner.directory import take_directory
from forge_tui.runs.lock import is_locked
from forge_tui.runs.starting import Start

ARGUMENTS = (*SMALL, "--no-ui", "--json", "--models", "2", "--epochs", "30", "--checkpoint-interval", "5")
RACERS = 4


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The weights of the same run left alone."""
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    forge(*ARGUMENTS, "--output", directory)
    return weights(directory)


def outcomes(racers: list[Popen[str]]) -> list[int]:
    """The exit statuses, sorted; those that were refused said so in words.

    A resume that was late found the run completed (2).
    """
    for racer in racers:
        _out, err = racer.communicate()
        assert "Traceback" not in err
        if racer.returncode == 2:
            assert "is completed: there is nothing to resume" in err
        elif racer.returncode != 0:
            assert "in use" in err or "has a run already" in err, err
    return sorted(racer.returncode for racer in racers)


@pytest.mark.parametrize("existing", [False, deep(True)], ids=["no directory yet", "an empty directory"])
def test_of_many_starts_one_trains(existing: bool, run_directory: Path, undisturbed: dict[str, bytes]) -> None:
    if existing:
        run_directory.mkdir()
    racers = [begin(*ARGUMENTS, "--output", run_directory) for _ in range(RACERS)]
    assert outcomes(racers) == [0] + [4] * (RACERS - 1)
    assert weights(run_directory) == undisturbed
    assert history_problems(run_directory) == []
    for room in ("checkpoints", "commands", "logs", "lock"):
        assert (run_directory / room).exists(), room


def test_a_start_that_was_refused_takes_nothing_of_the_live_run_away(run_directory: Path) -> None:
    first = begin(*ARGUMENTS, "--epochs", "100000000", "--output", run_directory)
    wait_until(lambda: epochs_of(run_directory) >= 1, "an epoch")
    forge("pause", run_directory)  # live as before, it leaves the CPU to the others
    for _ in range(2):
        forge(*ARGUMENTS, "--output", run_directory, status=4)
        assert (run_directory / "commands").is_dir()
    assert "paused" in forge("status", run_directory).stdout
    forge("stop", run_directory)
    first.communicate()


def _take_and_give_back(path: str, rounds: int, barrier: Any, results: Any) -> None:
    """Start at one moment with the others, `rounds` times; the one who has the directory sees that it stays whole."""
    for number in range(rounds):
        request = Request(action="start", directory=f"{path}/{number}", working_directory=path)
        barrier.wait()
        with contextlib.ExitStack() as stack:
            try:
                directory, _lock, undo, made_root = take_directory(request, stack)
                undo.callback(Start.begin(directory, (), b"", "refuse", made_root=made_root).undo)
            except RunDirectoryError as error:
                results.put((number, "refused" if "is in use" in str(error) else str(error)))
                stack.close()
                barrier.wait()
                continue
            barrier.wait()  # the others have been refused by now, and have undone what they made
            whole = is_locked(directory.lock) and all(room.is_dir() for room in directory.rooms)
            results.put((number, "whole" if whole else "taken away"))


def test_those_that_are_refused_take_nothing_away_from_the_one_who_begins(tmp_path: Path) -> None:
    # A round lasts as long as a lock is waited for; several races are run side by side.
    races, rounds, racers = 6, 8, 4
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = []
    for race in range(races):
        barrier = context.Barrier(racers, timeout=60)
        arguments = (str(tmp_path / f"{race}"), rounds, barrier, results)
        processes += [context.Process(target=_take_and_give_back, args=arguments) for _ in range(racers)]
    for process in processes:
        process.start()
    found = Counter(results.get(timeout=120)[1] for _ in range(races * rounds * racers))
    for process in processes:
        process.join()
    assert found == {"whole": races * rounds, "refused": races * rounds * (racers - 1)}


def test_of_many_resumes_one_trains(run_directory: Path, undisturbed: dict[str, bytes]) -> None:
    pace = {"do": "pace", "seconds": 0.1, "epoch": 1}
    with environment(run_directory.parent, dict.fromkeys((1, 2), pace)):
        first = begin(*ARGUMENTS, "--output", run_directory)
    wait_until(lambda: epochs_of(run_directory) >= 6, "six epochs")
    for holder in holders(run_directory):
        if holder.role is Role.RUNNER:
            processes_of(run_directory, "runner")[0].kill()
    racers = [begin("resume", run_directory, "--json") for _ in range(RACERS)]
    first.communicate()
    statuses = outcomes(racers)
    # All are too early where the workers of the dead runner have not ended yet.
    trained = statuses.count(0)
    assert trained == 1 or statuses == [4] * RACERS
    if not trained:
        wait_until(lambda: not holders(run_directory), "the end of the dead runner's workers")
        forge("resume", run_directory)
    assert weights(run_directory) == undisturbed
    assert history_problems(run_directory) == []


def test_of_many_that_overwrite_one_trains_at_a_time_and_all_that_was_is_kept(
    run_directory: Path, undisturbed: dict[str, bytes]
) -> None:
    forge(*ARGUMENTS, "--output", run_directory)
    # The others come while the first one trains: one that is replaced just after its end says that in place of its end.
    pace = {"do": "pace", "seconds": 0.1, "epoch": 1}
    with environment(run_directory.parent, dict.fromkeys((1, 2), pace)):
        racers = [begin(*ARGUMENTS, "--overwrite", "--output", run_directory) for _ in range(RACERS)]
    statuses = outcomes(racers)
    trained = statuses.count(0)
    assert trained >= 1
    assert set(statuses) <= {0, 4}
    assert weights(run_directory) == undisturbed
    previous = sorted(run_directory.glob("previous-*"))
    assert len(previous) == trained
    assert all(weights(earlier) == undisturbed for earlier in previous)
    records = [json.loads((earlier / "cognate_planner_1.json").read_bytes()) for earlier in previous]
    assert {record["epochs_completed"] for record in records} == {30}
