"""How many workers the nodes of a cluster allow together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forge_tui.resources.policy import WorkerLimit

_NAMED = 8


@dataclass(frozen=True, slots=True)
class NodeLimit:
    """What the rules allow on one node, as its agent applies them; `name` is the node's."""

    name: str
    limit: WorkerLimit


def cluster_limit(requested: int, nodes: Sequence[NodeLimit], *, mode: str, policy: str) -> WorkerLimit:
    """The limit of a run on these nodes: at least one worker, which may have to wait for its place.

    Its reason names what each node allows; the hint is that of the node that allows least.
    """
    most = sum(node.limit.workers for node in nodes)
    wanted = 1 if mode == "series" else requested
    workers = max(1, min(wanted, most))
    words = _in_words(nodes, most)
    threads = max((node.limit.threads_allowed for node in nodes), default=1)
    warnings = tuple(f"{node.name}: {warning}" for node in nodes for warning in node.limit.warnings)
    least = min(nodes, key=lambda node: node.limit.workers, default=None)
    limited_by, hint = "none", None
    if most < wanted:
        limited_by = "detection" if least is None else least.limit.limited_by
        hint = None if least is None else least.limit.hint
        if limited_by in ("none", "request"):
            limited_by = "cpu"
        words = f"{workers} instead of {requested}: {words}"
    elif mode == "series":
        words = f"one model at a time (series mode); {words}"
        limited_by, hint = ("request", "--mode parallel") if most > 1 else ("none", None)
    elif most > wanted:
        limited_by, hint = "request", f"--workers {most}"
    return WorkerLimit(workers, requested, policy, words, limited_by, hint, threads, warnings)


def _in_words(nodes: Sequence[NodeLimit], most: int) -> str:
    """`2 nodes allow 5 workers (a: 3, b: 2)`."""
    if not nodes:
        return "no node of the cluster can be used yet"
    each = ", ".join(f"{node.name}: {node.limit.workers}" for node in nodes[:_NAMED])
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    count = "1 node allows" if len(nodes) == 1 else f"{len(nodes)} nodes allow"
    return f"{count} {most} worker{'' if most == 1 else 's'} ({each}{more})"
