"""The learning tasks."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """The learning task, which follows from the data."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    NEXT_TOKEN = "next_token"
