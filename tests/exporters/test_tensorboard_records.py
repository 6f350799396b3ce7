"""Event files byte by byte, against what TensorBoard's own writer makes of the same figures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from event_reader import read_events

from forge_tui.exporters.tensorboard_records import figures_record, first_record, masked_crc

# Written by `tensorboard.summary.writer.record_writer.RecordWriter` (tensorboard 2.21) from its own `Event` messages.
FIRST = "1800000000000000a37f4b22090000000000408f401a0d627261696e2e4576656e743a3273ae6b56"
FIGURES = (
    "2c00000000000000f4aecc450900000000004c8f4010ac022a1e0a0b0a046c6f7373150000803e0a0f0a086163637572616379150000003f"
    "6715808b"
)


def test_the_bytes_are_those_of_tensorboards_writer() -> None:
    assert first_record(1000.0).hex() == FIRST
    assert figures_record(1001.5, 300, {"loss": 0.25, "accuracy": 0.5}).hex() == FIGURES


def test_the_checksum_is_the_one_of_the_standard() -> None:
    """CRC-32C of these digits is 0xE3069283 (RFC 3720 names the polynomial; the value is in every table of CRCs)."""
    crc = 0xE3069283
    assert masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("step", [0, 1, 127, 128, 300, 2**31, 2**62])
def test_steps_of_any_size_are_read_back(tmp_path: Path, step: int) -> None:
    path = tmp_path / "events"
    path.write_bytes(first_record(1.0) + figures_record(2.5, step, {"loss": 1.0}))
    assert [(event.time, event.step, event.figures) for event in read_events(path)] == [
        (1.0, 0, {}),
        (2.5, step, {"loss": 1.0}),
    ]


def test_figures_beyond_32_bits_become_infinite_and_others_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "events"
    figures = {"a": 1e300, "b": -1e300, "c": math.inf, "d": 1e-320, "e": math.nan, "é" * 200: 0.1}
    path.write_bytes(figures_record(1.0, 1, figures))
    (found,) = read_events(path)
    assert list(found.figures) == list(figures)
    assert [found.figures[name] for name in "abcd"] == [math.inf, -math.inf, math.inf, 0.0]
    assert math.isnan(found.figures["e"])
    assert found.figures["é" * 200] == pytest.approx(0.1, rel=1e-7)
