"""Finished models get their final names beside the scheduler, which hears of it."""

from __future__ import annotations

import contextlib
import selectors
from pathlib import Path

from running import wait_until

from forge_tui.errors import RunDirectoryError
from forge_tui.runner.publisher import Publisher
from forge_tui.runs.location import Location
from forge_tui.runs.results import Result


def test_whoever_waits_on_the_selector_hears_what_was_published_and_what_was_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for number in range(20):
        directory = run / "checkpoints" / f"model_{number}"
        directory.mkdir(parents=True)
        for ending in ("json", "safetensors"):
            (directory / f"result-attempt-1.{ending}").write_text(f"{number}")
    told: dict[int, RunDirectoryError | None] = {}
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        place = stack.enter_context(contextlib.closing(Location(run)))
        publisher = stack.enter_context(contextlib.closing(Publisher(place, selector)))
        run.rename(tmp_path / "moved")  # it is found by what it is, not by its name
        for number in range(21):
            publisher.publish(Result(f"model_{number}", 1), lambda error, number=number: told.update({number: error}))  # type: ignore[misc]

        def look() -> bool:
            for key, _ in selector.select(0.05):
                key.data()
            return len(told) == 21

        wait_until(look, "the answers", 30.0)
    assert [number for number, error in told.items() if error is not None] == [20]
    moved = tmp_path / "moved"
    assert [(moved / f"model_{number}.json").read_text() for number in range(20)] == [str(n) for n in range(20)]
    assert len(list(moved.glob("*.safetensors"))) == 20
