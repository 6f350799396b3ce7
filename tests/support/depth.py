"""Which values of a parametrized test are tried each time, and which with `pytest --deep` only (`.ci/run-deep`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def deep(*values: Any) -> Any:
    """Values that are tried with `--deep` only: others of the same test fail with them where one mechanism breaks."""
    return pytest.param(*values, marks=pytest.mark.deep)


def crossed(kinds: Iterable[Any], ways: Iterable[Any], tried: Collection[tuple[Any, Any]]) -> list[Any]:
    """Each kind with each way, those pairs that are not among `tried` with `--deep` only.

    `tried` has each way, and between its users each kind, at least once.
    """
    pairs = [(kind, way) for kind in kinds for way in ways]
    assert set(tried) <= set(pairs), "a pair that there is not"
    return [pair if pair in tried else deep(*pair) for pair in pairs]


def all_but(deeper: Collection[Any], values: Iterable[Any]) -> list[Any]:
    """`values`, those among `deeper` with `--deep` only."""
    return [deep(value) if value in deeper else value for value in values]
