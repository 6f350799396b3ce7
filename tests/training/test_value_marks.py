"""What counts as a change of a value: every mutation of what can be seen, and nothing that only looks at it."""

from __future__ import annotations

import collections
import functools
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forge_tui.training.value_marks import generator_state, mark_of, set_generator_state


class Plain:
    def __init__(self) -> None:
        self.steps = 0
        self.inner: list[Any] = [{"a": 1}]


class Slotted:
    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0


class Counts(int):
    steps = 0


def closure() -> Callable[[], int]:
    count = [0]

    def add() -> int:
        count[0] += 1
        return count[0]

    return add


def set_attribute(value: Any) -> None:
    value.steps += 1


CHANGES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "list": ([1, 2], lambda value: value.append(3)),
    "nested": ({"a": [1, (2, [3])]}, lambda value: value["a"][1][1].append(4)),
    "order of a dict": ({"a": 1, "b": 2}, lambda value: value.update(a=value.pop("a"))),
    "set": ({1, 2}, lambda value: value.add(3)),
    "deque": (collections.deque([1], maxlen=1), lambda value: value.append(2)),
    "counter": (collections.Counter("ab"), lambda value: value.update("a")),
    "tensor": (torch.zeros(3), lambda value: value.add_(1e-7)),
    "tensor by data": (torch.zeros(3), lambda value: value.data.fill_(1)),
    "double complex": (torch.zeros(3, dtype=torch.complex128), lambda value: value.add_(1j)),
    "array": (np.zeros(3), lambda value: value.__setitem__(0, 1)),
    "objects in an array": (np.array([[1], None], dtype=object), lambda value: value[0].append(2)),
    "object": (Plain(), set_attribute),
    "deep in an object": (Plain(), lambda value: value.inner[0].update(a=2)),
    "slots": (Slotted(), set_attribute),
    "a number with attributes": (Counts(3), set_attribute),
    "closure": (closure(), lambda value: value()),
    "partial": (functools.partial(print, [1]), lambda value: value.args[0].append(2)),
    "bound method": (Plain().__init__, lambda value: value.__self__.inner.append(1)),  # type: ignore[misc]
    "module beside the model": (nn.BatchNorm1d(2), lambda value: value(torch.rand(4, 2))),
    "torch generator": (torch.Generator(), lambda value: torch.rand(1, generator=value)),
    "NumPy generator": (np.random.default_rng(0), lambda value: value.normal()),
    "NumPy's older one": (np.random.RandomState(0), lambda value: value.normal()),
    "Python generator": (random.Random(0), lambda value: value.random()),
    "iterator": (iter([1, 2]), lambda value: next(value)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_and_no_change_is_not(name: str) -> None:
    value, change = CHANGES[name]
    before = mark_of(value)
    if name != "iterator":  # nobody can tell its place
        assert mark_of(value) == before
    change(value)
    assert mark_of(value) != before


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), ("1", 1), ([1], (1,)), (0.0, -0.0), ({}, set()), ("", b"")]
)
def test_types_are_told_apart(one: Any, other: Any) -> None:
    assert mark_of(one) != mark_of(other)


def test_what_cannot_be_looked_into_counts_by_identity_or_type() -> None:
    one, other = threading.Lock(), threading.Lock()
    assert mark_of(one) == mark_of(one) != mark_of(other)
    assert mark_of(one, by_identity=False) == mark_of(other, by_identity=False)
    with open(__file__, encoding="utf-8") as file:
        before = mark_of(file)
        file.readline()
        assert mark_of(file) == before


def test_functions_that_look_the_same_are_the_same_if_their_values_are() -> None:
    def scaled(factor: float) -> Callable[[float], float]:
        return lambda value: value * factor

    assert mark_of(scaled(2.0), by_identity=False) == mark_of(scaled(2.0), by_identity=False)
    assert mark_of(scaled(2.0), by_identity=False) != mark_of(scaled(3.0), by_identity=False)


def test_parts_of_the_model_count_by_name() -> None:
    weight = nn.Parameter(torch.zeros(2))
    value = {"tied": [weight]}
    before = mark_of(value, {id(weight): "first.weight"})
    weight.data.add_(1)
    assert mark_of(value, {id(weight): "first.weight"}) == before
    assert mark_of(value, {id(weight): "second.weight"}) != before


def test_values_without_end_have_a_fingerprint() -> None:
    holds_itself: list[Any] = [1]
    holds_itself.append(holds_itself)
    before = mark_of(holds_itself)
    assert mark_of(holds_itself) == before
    holds_itself.append(2)
    assert mark_of(holds_itself) != before
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    assert mark_of(deep) == mark_of(deep)


class Raising:
    __slots__ = ("_value",)

    def __getattribute__(self, name: str) -> Any:
        raise ValueError("not now")


def test_a_value_that_does_not_let_itself_be_looked_into_counts_by_identity() -> None:
    one, other = Raising(), Raising()
    assert mark_of(one) == mark_of(one) != mark_of(other)
    assert mark_of([one], by_identity=False) == mark_of([other], by_identity=False)


@pytest.mark.parametrize(
    ("made", "draw"),
    [
        (lambda: torch.Generator().manual_seed(3), lambda one: torch.rand(3, generator=one).tolist()),
        (lambda: np.random.default_rng(3), lambda one: one.normal(size=3).tolist()),
        (lambda: np.random.RandomState(3), lambda one: one.normal(size=3).tolist()),
        (lambda: random.Random(3), lambda one: [one.gauss(0, 1) for _ in range(3)]),
    ],
    ids=["torch", "NumPy", "NumPy's older one", "Python"],
)
def test_a_generator_goes_on_from_its_state(made: Callable[[], Any], draw: Callable[[Any], Any]) -> None:
    one, other = made(), made()
    draw(one)
    set_generator_state(other, generator_state(one))
    assert draw(other) == draw(one)
    with pytest.raises(ValueError, match="a int is not a random number generator"):
        set_generator_state(3, generator_state(one))
