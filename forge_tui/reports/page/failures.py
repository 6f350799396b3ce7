"""What failed, on a page: equal failures together, with their tracebacks."""

from __future__ import annotations

from collections.abc import Sequence

from forge_tui.protocol.model_state import Failure, ModelState
from forge_tui.protocol.snapshot import Snapshot
from forge_tui.reports.page.tables import Section, folded, section
from forge_tui.safe_io.printing import shortened
from forge_tui.text.markup import Markup, element

MOST_KINDS, _NAMED = 50, 6
_LONGEST = 20_000


def failures_section(snapshot: Snapshot) -> Section | None:
    """The section, the first failure first; None if nothing failed."""
    found: dict[tuple[str, str], list[tuple[ModelState, Failure]]] = {}
    every = [(model, failure) for model in snapshot.models for failure in model.failures]
    for model, failure in sorted(every, key=lambda one: one[1].time or 0.0):
        found.setdefault((failure.kind, failure.message), []).append((model, failure))
    if not found:
        return None
    parts = [_failure(members) for members in list(found.values())[:MOST_KINDS]]
    left = len(found) - len(parts)
    more = element("p", f"{left:,} other failures are left out; `forge-tui report --json` has all.", class_="note")
    return section("failures", "Failures", *parts, more if left else None)


def _failure(members: Sequence[tuple[ModelState, Failure]]) -> Markup:
    _, first = members[0]
    names = list(dict.fromkeys(model.name for model, _ in members))
    lost = len({model.name for model, _ in members if model.error is not None})
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    who = f"{', '.join(names[:_NAMED])}{more}"
    attempts = f"{len(members)} attempt{'s' if len(members) > 1 else ''}"
    models = f"{len(names)} model{'s' if len(names) > 1 else ''}"
    ended = f"{lost} failed for good" if lost else "all continued"
    trace = None
    if first.traceback:
        text = element("pre", shortened(first.traceback, _LONGEST), tabindex="0")
        trace = folded(f"Traceback of {first.model}, attempt {first.attempt}", text, is_open=True)
    return element(
        "article",
        element("h3", element("span", first.kind, class_="kind"), " ", shortened(first.message, 1_000)),
        element("p", f"{attempts} of {models}; {ended}: {who}."),
        trace,
    )
