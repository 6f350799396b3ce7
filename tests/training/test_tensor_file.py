"""Files of tensors: to the byte as the library writes them, and a digest over all that is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from forge_tui.training import tensor_file
from forge_tui.training.tensor_file import Block, canonical, digest, read_tensors, write_tensors

TYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.float16, torch.bfloat16, torch.int32,
    torch.uint32, torch.float32, torch.float64, torch.int64, torch.uint64,
)  # fmt: skip


def tensors_of_all_types() -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(3)
    numbers = torch.rand(3, 5, generator=made) * 100
    found = {f"layer.{number}/{kind}": numbers.to(kind) for number, kind in enumerate(TYPES)}
    found |= {
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), 'odd "name" ä\n': torch.ones(1),
        "turned": numbers.t(), "part": torch.arange(20.0).reshape(4, 5)[2], "flag": torch.tensor(True),
    }  # fmt: skip
    return found


@pytest.mark.parametrize("record", [None, {"epoch": 3, "text": 'ä "quoted" \\ \n', "none": None}])
@pytest.mark.parametrize("piece", [1, 64, 1 << 20])
def test_bytes_are_those_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: dict[str, object] | None, piece: int
) -> None:
    monkeypatch.setattr(tensor_file, "_PIECE_BYTES", piece)
    tensors = tensors_of_all_types()
    write_tensors(tmp_path / "file", tensors, record)
    plain = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    metadata = None if record is None else {"forge_tui": canonical(record)}
    assert (tmp_path / "file").read_bytes() == save(plain, metadata)
    found, told = read_tensors(tmp_path / "file")
    assert told == (record or {})
    assert {name: (tensor.dtype, tensor.tolist()) for name, tensor in found.items()} == {
        name: (tensor.dtype, tensor.tolist()) for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("piece", [1, 64, 1 << 20])
def test_digest_is_over_all_there_is_however_it_is_cut(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(tensor_file, "_PIECE_BYTES", piece)
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(1)}
    # Of '{"x":1}', 'a\0torch.int64\0()\0' and its 8 bytes, 'b\0torch.float32\0(2, 3)\0' and its 24.
    assert digest(tensors, {"x": 1}) == "97ecaa497e3810766f51ebf80ddea4ce8ba9a3b66a1a014411df7bdc5c26dd06"


def test_types_that_the_format_lacks_are_told(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"w is of torch\.complex128, and safetensors files have no such type"):
        write_tensors(tmp_path / "file", {"w": torch.zeros(2, dtype=torch.complex128)})
    assert list(tmp_path.iterdir()) == []


def test_copy_holds_the_bytes_of_its_moment_in_the_same_file(tmp_path: Path) -> None:
    tensors = tensors_of_all_types()
    write_tensors(tmp_path / "before", tensors)
    before = digest(tensors)
    copies = {name: Block.copy_of(tensor) for name, tensor in tensors.items()}
    for tensor in tensors.values():
        tensor.zero_()
    write_tensors(tmp_path / "after", copies)
    assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes()
    assert digest(copies) == before != digest(tensors)
