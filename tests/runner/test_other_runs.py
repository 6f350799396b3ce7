"""Two runs of one user: each sees what the other has taken, and a state directory out of order stops neither."""

from __future__ import annotations

from pathlib import Path

from forge_tui.resources.policy import OtherRuns
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory


def neighbours(base: Path, name: str, threads: int, state: str = "state") -> OtherLiveRuns:
    return OtherLiveRuns(Claims(RunDirectory(base / name), base / state), threads)


def test_each_decides_with_what_the_others_have_taken_and_its_own_claim_does_not_count(tmp_path: Path) -> None:
    one, two, three = (neighbours(tmp_path, name, threads) for name, threads in (("1", 2), ("2", 1), ("3", 4)))
    assert one.decide(lambda others: others, lambda: 3) == OtherRuns()
    assert two.decide(lambda others: others, lambda: 5) == OtherRuns(3, 6)
    assert three.decide(lambda others: others, lambda: 0) == OtherRuns(8, 11)
    assert one.decide(lambda others: others, lambda: 1) == OtherRuns(5, 5)
    assert two.taken() == OtherRuns(1, 2)
    one.release()
    assert two.taken() == OtherRuns()
    two.release()
    three.release()


def test_what_is_claimed_is_asked_for_after_the_decision(tmp_path: Path) -> None:
    one, two = neighbours(tmp_path, "1", 1), neighbours(tmp_path, "2", 1)
    state = {"workers": 1}
    one.decide(lambda _: state.update(workers=7), lambda: state["workers"])
    assert two.taken() == OtherRuns(7, 7)
    one.release()


def test_without_a_usable_state_directory_each_run_keeps_the_rules_by_itself_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory")
    one = neighbours(tmp_path, "1", 1)
    assert one.decide(lambda others: ("decided", others), lambda: 3) == ("decided", OtherRuns())
    assert one.problem is not None
    assert str(tmp_path / "state") in one.problem
    one.release()
