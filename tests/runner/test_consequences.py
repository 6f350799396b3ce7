"""What a failed attempt leads to, over every case."""

from __future__ import annotations

from itertools import product

import pytest

from forge_tui.protocol.events import ModelFailed
from forge_tui.runner.consequences import MOST_LOSSES, Consequence, OnDevice, consequence

KINDS = ("exception", "signal", "out_of_memory", "hang", "diverged", "changed", "exit", "node_lost", "device_lost")


def failed(kind: str) -> ModelFailed:
    return ModelFailed(time=1.0, model="planner_1", index=1, attempt=1, kind=kind, message="broken")


@pytest.mark.parametrize("kind", KINDS)
def test_while_the_run_is_being_ended_nothing_is_tried_again(kind: str) -> None:
    for beside, earlier, lowers in product((0, 2), (0, 5), (True, False)):
        follows = consequence(failed(kind), earlier=earlier, allowed=2, beside=beside, ending=True, lowers_rate=lowers)
        assert follows.retry is False


@pytest.mark.parametrize("kind", ["exception", "signal", "hang", "exit"])
@pytest.mark.parametrize(("earlier", "retry"), [(0, True), (1, True), (2, False), (9, False)])
def test_a_failure_is_tried_again_as_often_as_allowed(kind: str, earlier: int, retry: bool) -> None:
    follows = consequence(failed(kind), earlier=earlier, allowed=2, beside=3, ending=False, lowers_rate=True)
    assert follows == Consequence(retry=retry)


@pytest.mark.parametrize("kind", ["node_lost", "device_lost"])
def test_a_lost_node_or_device_says_nothing_against_the_model(kind: str) -> None:
    follows = consequence(failed(kind), earlier=9, allowed=0, beside=0, ending=False, lowers_rate=True)
    assert follows == Consequence(retry=True, counts=False)


@pytest.mark.parametrize(("losses", "earlier", "retry", "counts"), [
    (MOST_LOSSES - 1, 2, True, False), (MOST_LOSSES, 1, True, True), (MOST_LOSSES, 2, False, True),
])  # fmt: skip
def test_a_model_that_was_lost_with_many_nodes_in_a_row_is_not_tried_for_ever(
    losses: int, earlier: int, retry: bool, counts: bool
) -> None:
    follows = consequence(
        failed("node_lost"), earlier=earlier, allowed=2, beside=0, ending=False, lowers_rate=False, losses=losses
    )
    assert follows == Consequence(retry=retry, counts=counts)


@pytest.mark.parametrize(
    ("beside", "members", "has_larger", "expected"),
    [
        (2, 3, True, Consequence(retry=True, counts=False, thin=True)),
        (0, 3, True, Consequence(retry=True, counts=False, split=True)),
        (0, 1, True, Consequence(retry=True, counts=False, elsewhere=True)),
        (0, 1, False, Consequence(retry=False)),
    ],
)
def test_a_lack_of_a_devices_memory_thins_out_then_halves_then_moves_and_then_counts(
    beside: int, members: int, has_larger: bool, expected: Consequence
) -> None:
    where = OnDevice(beside=beside, has_larger=has_larger)
    follows = consequence(
        failed("out_of_memory"), earlier=0, allowed=0, beside=9, ending=False, lowers_rate=True, members=members,
        on_device=where,
    )  # fmt: skip
    assert follows == expected


def test_changed_data_or_code_is_not_tried_again() -> None:
    follows = consequence(failed("changed"), earlier=0, allowed=9, beside=1, ending=False, lowers_rate=True)
    assert follows == Consequence(retry=False)


def test_out_of_memory_beside_others_says_nothing_against_the_model() -> None:
    follows = consequence(failed("out_of_memory"), earlier=9, allowed=0, beside=1, ending=False, lowers_rate=False)
    assert follows == Consequence(retry=True, counts=False, shrink=True)


@pytest.mark.parametrize(("earlier", "retry"), [(1, True), (2, False)])
def test_out_of_memory_alone_counts(earlier: int, retry: bool) -> None:
    follows = consequence(
        failed("out_of_memory"), earlier=earlier, allowed=2, beside=0, ending=False, lowers_rate=False
    )
    assert follows == Consequence(retry=retry)


@pytest.mark.parametrize(
    ("earlier", "lowers", "expected"),
    [
        (0, True, Consequence(retry=True, lower_rate=True)),
        (2, True, Consequence(retry=False, lower_rate=True)),
        (0, False, Consequence(retry=False)),
    ],
)
def test_a_divergence_is_tried_again_only_with_a_lower_rate(earlier: int, lowers: bool, expected: Consequence) -> None:
    assert (
        consequence(failed("diverged"), earlier=earlier, allowed=2, beside=3, ending=False, lowers_rate=lowers)
        == expected
    )


@pytest.mark.parametrize(("earlier", "allowed", "retry"), [(0, 2, True), (2, 2, True), (9, 1, True), (0, 0, False)])
def test_to_go_back_further_costs_no_retry(earlier: int, allowed: int, retry: bool) -> None:
    follows = consequence(
        failed("diverged"),
        earlier=earlier,
        allowed=allowed,
        beside=3,
        ending=False,
        lowers_rate=True,
        goes_further=True,
    )
    assert follows == Consequence(retry=retry, counts=False, lower_rate=True)
