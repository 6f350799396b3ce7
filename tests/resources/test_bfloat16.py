"""Which CPUs are fast in bfloat16, by their flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_tui.resources import bfloat16
from forge_tui.resources.bfloat16 import multiplies_bfloat16, slow_bfloat16
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.runner.prepare import slowness
from forge_tui.settings.schema import Settings, TrainingConfig, from_plain

HEAD = "processor\t: 0\nvendor_id\t: any\n"
FLAGS = {
    "avx2": ("flags\t\t: fpu sse2 avx2 avx512f avx512bw\n", False),
    "avx512": ("flags\t\t: fpu sse2 avx2 avx512f avx512_bf16\n", True),
    "amx": ("flags\t\t: fpu avx512f amx_bf16 amx_tile\n", True),
    "arm": ("Features\t: fp asimd\n", None),
    "nothing": ("", None),
}


def probe_of(place: Path, kind: str) -> SystemProbe:
    (place / "proc").mkdir()
    (place / "proc" / "cpuinfo").write_text(HEAD + FLAGS[kind][0])
    return SystemProbe(place)


@pytest.mark.parametrize("kind", FLAGS)
def test_the_flags_tell(tmp_path: Path, kind: str) -> None:
    probe = probe_of(tmp_path, kind)
    assert multiplies_bfloat16(probe) is FLAGS[kind][1]
    words = slow_bfloat16({"float32", "bfloat16"}, "cpu", probe)
    assert (words is not None) == (kind == "avx2")
    assert words is None or "trains 5 to 9 times as slowly in bfloat16" in words


def test_nothing_is_said_where_it_is_not_known_or_not_asked_for(tmp_path: Path) -> None:
    assert multiplies_bfloat16(SystemProbe(tmp_path)) is None
    probe = probe_of(tmp_path, "avx2")
    assert slow_bfloat16({"float32"}, "cpu", probe) is None
    assert slow_bfloat16({"bfloat16"}, "cuda", probe) is None


@pytest.mark.parametrize("swept", [False, True])
def test_a_run_says_so_where_any_of_its_models_is_in_bfloat16(monkeypatch: pytest.MonkeyPatch, swept: bool) -> None:
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda probe: False)
    settings = Settings(training=TrainingConfig(precision="bfloat16"))
    if swept:
        settings = from_plain({"sweep": {"training.precision": ["float32", "bfloat16"]}})
    assert "trains 5 to 9 times as slowly" in (slowness(settings, "cpu") or "")
    assert slowness(Settings(), "cpu") is None
    assert slowness(settings, "cuda") is None
