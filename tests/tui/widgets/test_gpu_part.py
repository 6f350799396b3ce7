"""The GPUs in the sidebar: they fit its width, and say who is on them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forge_tui.resources.gpu_users import GpuUser, SeenGpu
from forge_tui.resources.gpus import Gpu
from forge_tui.tui.widgets.glyphs import ASCII, UNICODE
from forge_tui.tui.widgets.gpu_part import gpu_text

GIB = 2**30
GPU = Gpu(0, "NVIDIA H100 80GB HBM3", 80 * GIB, int(41.2 * GIB), 63.0, "GPU-aa", 54.0)
RUN = "20261123-140000-planner"


def ours(models: str, run: str = RUN) -> GpuUser:
    return GpuUser(1, GIB, "ada", models, run)


BOB = GpuUser(2, GIB, "bob")


def lines(*gpus: SeenGpu, width: int = 30, glyphs=UNICODE) -> list[str]:
    return gpu_text(gpus, width, glyphs, RUN).plain.splitlines()


def test_one_gpu_has_lines_of_its_own() -> None:
    assert lines(SeenGpu(GPU, (ours("planner_1"), ours("planner_2"), BOB))) == [
        "GPU 0 H100 80GB HBM3",
        "━━━━━━━━━━━━────────────",
        "41.2 of 80.0 GiB",
        "63 % busy  54°C",
        "planner_1, planner_2; bob: 1 process",
    ]


def test_many_gpus_have_a_line_each() -> None:
    gpus = [SeenGpu(replace(GPU, index=index), ()) for index in range(3)]
    gpus[1] = SeenGpu(replace(GPU, index=1), tuple(ours(f"planner_{number}") for number in range(12)))
    gpus[2] = SeenGpu(replace(GPU, index=2, memory_used=80 * GIB, utilization_percent=100.0), (BOB, ours("a")))
    assert lines(*gpus) == [
        "GPUS 3 × H100 80GB HBM3",
        "0 ━━──  41.2G  63% 54° idle",
        "1 ━━──  41.2G  63% 54° 12 ours",
        "2 ━━━━  80.0G 100% 54° 1+1",
    ]
    assert lines(*gpus, width=76)[3] == "2 ━━━━  80.0G 100% 54° a; bob: 1 process"


def test_a_gpu_with_a_problem_says_it_in_place_of_its_figures() -> None:
    lost = SeenGpu(replace(GPU, problem="the driver has lost it: it has fallen off the bus"))
    assert lines(lost)[1] == "! the driver has lost it: it has fallen off the bus"
    assert lines(lost, lost, lost)[1] == "0 ! the driver has lost it: i…"


def test_what_is_not_known_is_left_out() -> None:
    unknown = SeenGpu(Gpu(0, "NVIDIA GB10", 0, 0))
    assert lines(unknown) == ["GPU 0 GB10"]
    assert lines(unknown, unknown, unknown)[1] == "0 ────      —          ?"


@pytest.mark.parametrize("count", [3, 8, 16])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_no_line_is_wider_than_the_sidebar(count, glyphs) -> None:
    name = "a user with a name that does not end"
    full = replace(GPU, name="NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", utilization_percent=100.0)
    full = replace(full, memory_total=288 * GIB, memory_used=287 * GIB, temperature=104.0)
    users = (*(ours(f"model_{number}") for number in range(120)), GpuUser(1, None, name))
    gpus = [SeenGpu(replace(full, index=index, parent="GPU-x" if index % 2 else None), users) for index in range(count)]
    found = lines(*gpus, glyphs=glyphs)
    assert len(found) == count + 1
    assert max(map(len, found)) <= 30
    assert not glyphs.ascii or all(line.isascii() for line in found)


def test_text_from_elsewhere_controls_nothing() -> None:
    nasty = replace(GPU, name="\x1b[2Jx", problem="\x1b]0;x\x07y")
    assert "\x1b" not in "".join(lines(SeenGpu(nasty)) + lines(*[SeenGpu(nasty)] * 3))
