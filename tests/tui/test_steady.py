"""The machine's figures stand still while they only wobble."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forge_tui.resources.gpu_users import GpuUser, SeenGpu
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.monitor import ResourceSample
from forge_tui.resources.usage import CpuUsage
from forge_tui.tui.steady import steadied, steadied_gpus

GIB = 1 << 30
USAGE = CpuUsage(percent=40.0, others_percent=3.0, per_core=(30.0, 50.0), seconds=2.0)
SHOWN = ResourceSample(
    time=1.0,
    cpu_percent=40.0,
    others_cpu_percent=3.0,
    per_core=(30.0, 50.0),
    memory_used=4 * GIB,
    memory_available=20 * GIB,
    memory_limit=24 * GIB,
    load_average=(1.0, 1.0, 1.0),
    pressure=(),
    usage=USAGE,
)


def test_the_first_sample_is_shown_as_it_is() -> None:
    assert steadied(SHOWN, None) is SHOWN


def test_a_wobble_changes_nothing() -> None:
    now = replace(SHOWN, time=3.0, cpu_percent=41.9, others_cpu_percent=1.0, per_core=(36.0, 44.0))
    now = replace(now, memory_used=4 * GIB + 1000, memory_available=20 * GIB - 1000, load_average=(1.05, 0.95, 1.0))
    assert steadied(now, SHOWN) is SHOWN


def test_a_slow_drift_is_shown_once_it_is_far_enough() -> None:
    shown = SHOWN
    for step in range(1, 11):
        shown = steadied(replace(SHOWN, time=1.0 + step, cpu_percent=40.0 + step), shown)
        assert abs(shown.cpu_percent - (40.0 + step)) <= 2.0
    assert shown.cpu_percent > 45.0


@pytest.mark.parametrize(
    "change",
    [
        {"cpu_percent": 43.0},
        {"others_cpu_percent": 90.0},
        {"per_core": (30.0, 60.0)},
        {"memory_used": 5 * GIB, "memory_available": 19 * GIB},
        {"memory_limit": 12 * GIB},
        {"load_average": (1.5, 1.0, 1.0)},
        {"load_average": None},
        {"alerts": ("Memory: 0.5 GiB available, less than 1 GiB",)},
    ],
)
def test_what_changed_is_shown_and_the_rest_stays(change: dict[str, object]) -> None:
    now = replace(SHOWN, time=3.0, **{"cpu_percent": 41.0, **change})  # type: ignore[arg-type]
    expected = replace(SHOWN, time=3.0, **change)  # type: ignore[arg-type]
    assert steadied(now, SHOWN) == expected


GPU = Gpu(0, "NVIDIA H100", 80 * GIB, 40 * GIB, 60.0, "GPU-aa", 54.0)


def test_the_figures_of_a_gpu_stand_still_while_they_only_wobble() -> None:
    shown = (SeenGpu(GPU, ()),)
    wobble = replace(GPU, memory_used=40 * GIB + 1000, utilization_percent=61.5, temperature=55.0)
    assert steadied_gpus((SeenGpu(wobble, ()),), shown) == shown
    far = replace(GPU, memory_used=41 * GIB, utilization_percent=70.0, temperature=60.0)
    assert steadied_gpus((SeenGpu(far, ()),), shown) == (SeenGpu(far, ()),)
    bob = (GpuUser(1, GIB, "bob"),)
    assert steadied_gpus((SeenGpu(wobble, bob),), shown) == (SeenGpu(GPU, bob),)
    lost = replace(GPU, utilization_percent=None, temperature=None, problem="it is lost")
    assert steadied_gpus((SeenGpu(lost),), shown) == (SeenGpu(lost),)
    assert steadied_gpus((), shown) == ()
