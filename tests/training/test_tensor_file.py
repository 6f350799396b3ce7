"""Files of tensors as other programs read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from forge_tui.training.tensor_file import canonical, read_tensors, write_tensors

TENSORS = {
    "b.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3).t(),
    "a.weight": torch.linspace(0, 1, 5, dtype=torch.float64),
    "a.count": torch.tensor(7),
    "a.small": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "a.half": torch.tensor([0.25], dtype=torch.float16),
    "a.bits": torch.tensor([True, False, True]),
    "a.bytes": torch.arange(3, dtype=torch.uint8),
    "a.int": torch.tensor([[-1, 2]], dtype=torch.int32),
    "a.short": torch.tensor([-3], dtype=torch.int16),
    "a.tiny": torch.tensor([-4], dtype=torch.int8),
    "überschrift": torch.zeros(0, 4),
}


@pytest.mark.parametrize("record", [None, {"epoch": 3, "name": 'ä\n"x"'}])
def test_a_file_has_the_bytes_that_the_library_gives_it(tmp_path: Path, record: dict[str, object] | None) -> None:
    path = tmp_path / "one.safetensors"
    write_tensors(path, TENSORS, record)
    metadata = None if record is None else {"forge_tui": canonical(record)}
    assert path.read_bytes() == save({name: part.contiguous() for name, part in TENSORS.items()}, metadata)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tensors, told = read_tensors(path)
    assert told == (record or {})
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], part) for name, part in TENSORS.items())


def test_numbers_that_no_reader_knows_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    with pytest.raises(TypeError, match=r"spectrum is of torch\.complex64, which cannot be saved"):
        write_tensors(path, {"spectrum": torch.zeros(2, dtype=torch.complex64)})
    assert not path.exists()
