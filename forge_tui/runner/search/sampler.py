"""What proposes the trials of a search."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from forge_tui.runner.search.draws import drawn
from forge_tui.runner.search.trials import Trial
from forge_tui.settings.space import Dimension


@dataclass(frozen=True, slots=True)
class Question:
    """Which values trial `number` gets; `trials`: all that were proposed before, in the order of their numbers.

    `known`: their keys (`trials.key_of`), for samplers that need no more.
    """

    number: int
    trials: Sequence[Trial]
    known: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Proposal:
    """The answer: values by the settings' full names, or None with the `problem`. `about`: how they were chosen."""

    number: int
    values: dict[str, Any] | None
    about: str = ""
    problem: str = ""


class Sampler(Protocol):
    """Answers one question at a time, with the same values for the same question."""

    def ask(self, question: Question, answer: Callable[[Proposal], None]) -> None:
        """Find the values; `answer` is called in the thread that waits on the selector, at once or later."""

    def look(self) -> None:
        """See to an answer that does not come; called again and again while one is waited for."""

    def hang_up(self) -> None:
        """Begin to free what it has: no further question is expected."""

    def close(self) -> None:
        """Free what it has."""


class RandomSampler:
    """Random values, evenly over each range or list; no config twice."""

    def __init__(self, space: Mapping[str, Dimension], seed: int) -> None:
        self._space, self._seed = space, seed

    def ask(self, question: Question, answer: Callable[[Proposal], None]) -> None:
        """Answer at once."""
        values = drawn(self._space, self._seed, question.number, question.known)
        answer(Proposal(question.number, values, "at random"))

    def look(self) -> None:
        """Nothing to see to."""

    def hang_up(self) -> None:
        """Nothing to free."""

    def close(self) -> None:
        """Nothing to free."""
