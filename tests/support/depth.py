"""Which values of a parametrized test are tried each time, and which with `pytest --deep` only (`.ci/run-deep`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def deep(*values: Any) -> Any:
    """Values that are tried with `--deep` only: others of the same test fail with them where one mechanism breaks."""
    return pytest.param(*values, marks=pytest.mark.deep)


def all_but(deeper: Collection[Any], values: Iterable[Any]) -> list[Any]:
    """`values`, those among `deeper` with `--deep` only."""
    return [deep(value) if value in deeper else value for value in values]
