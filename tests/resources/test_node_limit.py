"""What the nodes of a cluster allow together, in numbers and in words."""

from __future__ import annotations

from fake_cluster import limit_of

from forge_tui.resources.node_limit import NodeLimit, cluster_limit


def found(requested: int, mode: str = "parallel", **workers: int) -> tuple[int, str, str, str | None]:
    nodes = [NodeLimit(name, limit_of(count)) for name, count in workers.items()]
    limit = cluster_limit(requested, nodes, mode=mode, policy="dedicated")
    return limit.workers, limit.limited_by, limit.reason, limit.hint


def test_as_many_as_requested_where_the_nodes_allow_more() -> None:
    assert found(3, a=2, b=2) == (3, "request", "2 nodes allow 4 workers (a: 2, b: 2)", "--workers 4")


def test_as_many_as_the_nodes_allow_where_more_are_requested() -> None:
    assert found(9, a=1, b=3) == (4, "cpu", "4 instead of 9: 2 nodes allow 4 workers (a: 1, b: 3)", None)


def test_exactly_as_many_is_limited_by_nothing() -> None:
    assert found(4, a=1, b=3)[:2] == (4, "none")


def test_one_in_series() -> None:
    workers, limited_by, reason, hint = found(5, "series", a=2, b=3)
    assert (workers, limited_by, hint) == (1, "request", "--mode parallel")
    assert reason == "one model at a time (series mode); 2 nodes allow 5 workers (a: 2, b: 3)"


def test_without_a_node_one_worker_may_wait() -> None:
    workers, _, reason, _ = found(4)
    assert (workers, reason) == (1, "1 instead of 4: no node of the cluster can be used yet")


def test_many_nodes_are_not_all_named() -> None:
    reason = found(500, **{f"n{number}": 1 for number in range(100)})[2]
    assert reason.endswith("n7: 1 and 92 more)")


def test_the_warnings_of_the_nodes_are_named_by_node() -> None:
    nodes = [NodeLimit("a", limit_of(1)), NodeLimit("b", limit_of(1, warnings=("CPU warning: busy",)))]
    assert cluster_limit(2, nodes, mode="parallel", policy="shared").warnings == ("b: CPU warning: busy",)
