"""Nested values as JSON and tensors: through a real file and back with the same types, and what is refused."""

from __future__ import annotations

import collections
import enum
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forge_tui.training.packed import CannotPack, pack, unpack
from forge_tui.training.tensor_file import read_tensors, write_tensors

DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip


def through_a_file(value: Any, path: Path) -> Any:
    packed, tensors = pack(value)
    write_tensors(path, tensors, {"packed": packed})
    found, record = read_tensors(path)
    return unpack(record["packed"], found)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert [(type(key), key) for key in found] == [(type(key), key) for key in expected]
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, torch.Tensor):
        assert (found.dtype, found.shape, found.requires_grad) == (
            expected.dtype,
            expected.shape,
            expected.requires_grad,
        )
        torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0, equal_nan=True)
    elif isinstance(expected, np.ndarray | np.generic):
        assert (found.dtype.str, found.shape) == (expected.dtype.str, expected.shape)
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, complex):
        assert_same([found.real, found.imag], [expected.real, expected.imag])
    elif isinstance(expected, float):
        assert math.copysign(1.0, found) == math.copysign(1.0, expected) or math.isnan(expected)
        assert found == expected or (math.isnan(found) and math.isnan(expected))
    else:
        assert found == expected


def test_every_kind_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {
        "tensors": [torch.tensor([[0, 1], [2, 3]]).to(dtype) for dtype in DTYPES],
        "shapes": (torch.zeros(()), torch.zeros(0, 3), torch.arange(6.0).view(2, 3).t(), torch.zeros(1).expand(4)),
        "leaf": torch.ones(2, requires_grad=True),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "arrays": [np.arange(6).reshape(2, 3).astype(name) for name in ("<i2", ">f4", "u1", "f8", "c16", "?", "f2")],
        "odd arrays": (np.array(3.5), np.zeros((0, 2)), np.arange(6).reshape(2, 3).copy("F"), np.arange(9)[::-2]),
        "NumPy numbers": [np.float32(1.5), np.int64(-3), np.bool_(True), np.float64(math.nan), np.complex64(1j)],
        "numbers": [0, -1, 2**70, True, False, 0.1, -0.0, 1e308, math.inf, -math.inf, math.nan],
        "complex": (1 - 2j, complex(math.inf, -0.0)),
        "text": ["", "ä\n\0", "\ud800 alone", '{"tensor": "0"}'],
        "nothing": [None, [], (), {}, ([],), {"": {}}],
        7: {"7": 7, 7: "seven", -1: (1, [2, (3,)])},
        "tensor": "0",
        "dict": [["a", 1]],
    }  # fmt: skip
    found = through_a_file(value, tmp_path / "state.safetensors")
    assert_same(found, value)


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text()
TREES = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(TREES)
def test_any_tree_comes_back_from_text(value: Any) -> None:
    packed, tensors = pack(value)
    assert tensors == {}
    text = json.dumps(packed, allow_nan=False, sort_keys=True)
    text.encode()  # NAME.json is UTF-8, whatever the text in it
    json.dumps(packed, ensure_ascii=False).encode()
    assert_same(unpack(json.loads(text), {}), value)


class Colour(enum.IntEnum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {"b": object()}]}, "state['a'][1]['b'] is a object; tensors, NumPy arrays, numbers"),
        ([{1, 2}], "state[0] is a set"),
        ({"a": Point(1, 2)}, "state['a'] is a Point"),
        (collections.defaultdict(int, a=1), "state is a defaultdict"),
        ([Colour.RED], "state[0] is a Colour"),
        ({1.5: 0}, "state has the key 1.5, a float; keys are text or whole numbers"),
        ({True: 0}, "state has the key True, a bool"),
        ({"w": torch.nn.Parameter(torch.zeros(1))}, "state['w'] is a Parameter"),
        (torch.eye(2).to_sparse(), "state is a tensor of the kind torch.sparse_coo"),
        (torch.zeros(1, device="meta"), "on meta; only dense ones are kept"),
        (np.array(["a"]), "state is a NumPy array of <U1; arrays of numbers and booleans are kept"),
        (np.array([None]), "state is a NumPy array of object"),
        ([1 << 20_000], "state[0] is a whole number of 20001 bits; keep it as text"),
        (b"x", "state is a bytes"),
        (lambda: None, "state is a function"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_cannot_be_kept_is_named_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(CannotPack) as caught:
        pack(value)
    assert words in str(caught.value)


def test_values_without_end_are_refused_at_once() -> None:
    holds_itself: list[Any] = []
    holds_itself += [holds_itself, holds_itself]
    with pytest.raises(CannotPack, match="the value contains itself"):
        pack(holds_itself)
    doubled: list[Any] = []
    for _ in range(60):
        doubled = [doubled, doubled]
    with pytest.raises(CannotPack, match=r"value number 1,000,001; keep many numbers as a tensor"):
        pack(doubled)


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        ({"tensor": "3"}, "state names the tensor '3', which is not there"),
        ({"dict": [["a", {"tensor": "x"}]]}, "state['a'] names the tensor 'x'"),
        ({"dict": [["a"]]}, "no pair of key and value"),
        ({"dict": [[[1], 2]]}, "a key that is neither text nor a whole number"),
        ({"array": "0", "dtype": "O"}, "state is an array of object"),
        ({"array": "0", "dtype": "no type"}, "an array of an unknown type 'no type'"),
        ({"scalar": "0", "dtype": "<f4"}, "a number of the shape (2,)"),
        ({"code": "import os"}, "a table that is of no known kind (code)"),
        ({"float": "1.0"}, "no known kind (float)"),
        ([{}], "state[0] holds a table that is of no known kind ()"),
    ],
)
def test_what_was_never_packed_is_refused(packed: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        unpack(packed, {"0": torch.zeros(2)})
    assert words in str(caught.value)


def test_too_deep_text_is_refused() -> None:
    packed: Any = 1
    for _ in range(500):
        packed = [packed]
    with pytest.raises(ValueError, match="lies too deep"):
        unpack(packed, {})


def test_state_dicts_of_modules_optimizers_and_schedulers_come_back_as_they_were() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 1, 3])
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    given = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    found = unpack(*pack(given))
    assert type(found["model"]) is collections.OrderedDict
    assert found["model"]._metadata == given["model"]._metadata
    assert found["schedule"] == given["schedule"]
    assert type(found["schedule"]["milestones"]) is collections.Counter
    assert all(torch.equal(value, given["model"][name]) for name, value in found["model"].items())
    assert found["optimizer"]["param_groups"] == given["optimizer"]["param_groups"]
    optimizer.load_state_dict(found["optimizer"])
