"""The recorded samples of the machine: in full at first, then thinned, and never with other means and maxima."""

from __future__ import annotations

import statistics
from typing import Any

from forge_tui.reports.gpu_lines import gpu_lines, samples_in
from forge_tui.runner.resource_history import FULL_ROWS, SAMPLES_PER_ROW, ResourceHistory

GIB = 2**30


def sample(number: int, **changes: Any) -> dict[str, Any]:
    """Sample `number`, of which every figure says which one it is."""
    gpu = {
        "index": 0, "uuid": "GPU-aa", "name": "Test", "memory_total": 80 * GIB, "memory_used": number,
        "utilization_percent": float(number % 100), "temperature": None if number % 2 else float(number),
    }  # fmt: skip
    return {
        "time": 2.0 * number, "cpu_percent": float(number), "others_cpu_percent": None, "memory_used": 10 * number,
        "memory_available": 10_000 - number, "memory_limit": 10_000, "memory_pressure_percent": None, "workers": 1,
        "own_memory": 0, "gpus": [gpu], **changes,
    }  # fmt: skip


def test_after_a_minute_a_row_stands_for_half_a_minute_and_the_figures_of_a_report_stay() -> None:
    rows: list[Any] = []
    history = ResourceHistory(rows.append)
    count = FULL_ROWS + 10 * SAMPLES_PER_ROW + 7
    for number in range(1, count + 1):
        history.add(number, sample(number))
    history.close()
    assert [row["samples"] for row in rows] == [1] * FULL_ROWS + [SAMPLES_PER_ROW] * 10 + [7]
    assert rows[-1]["time"] == 2.0 * count
    first = rows[FULL_ROWS]
    last = FULL_ROWS + SAMPLES_PER_ROW
    assert (first["memory_used"], first["memory_available"]) == (10 * last, 10_000 - last)
    assert (first["gpus"][0]["memory_used"], first["gpus"][0]["temperature"]) == (last, last - 1)
    assert first["others_cpu_percent"] is None
    weights = [samples_in(row) for row in rows]
    numbers = range(1, count + 1)
    assert round(statistics.fmean([row["cpu_percent"] for row in rows], weights), 6) == statistics.fmean(numbers)
    busy = statistics.fmean(number % 100 for number in numbers)
    assert gpu_lines(rows, [])[0].startswith(f"GPU 0 Test (GPU-aa): {busy:.0f} % busy on average, at most ")


def test_a_sample_that_comes_again_adds_what_workers_have_reported_since() -> None:
    rows: list[Any] = []
    history = ResourceHistory(rows.append)
    history.add(1, sample(1))
    history.add(1, sample(1, own_memory=5, workers=2))
    history.add(2, sample(2))
    history.close()
    assert [(row["samples"], row["own_memory"], row["workers"], row["cpu_percent"]) for row in rows] == [
        (1, 5, 2, 1.0),
        (1, 0, 1, 2.0),
    ]


def test_a_gpu_keeps_its_figures_when_it_fails_and_one_that_comes_is_added() -> None:
    rows: list[Any] = []
    history = ResourceHistory(rows.append)
    for number in range(1, FULL_ROWS + 1):
        history.add(number, sample(number))
    number = FULL_ROWS + 1
    (gpu,) = sample(number)["gpus"]
    history.add(number, sample(number))
    lost = {**gpu, "utilization_percent": None, "temperature": None, "problem": "it is lost"}
    history.add(number + 1, sample(number + 1, gpus=[lost, {**gpu, "uuid": "GPU-bb"}]))
    history.add(number + 2, sample(number + 2, gpus=[]))
    history.close()
    assert rows[-1]["samples"] == 3
    first, second = rows[-1]["gpus"]
    assert (first["uuid"], first["problem"], first["utilization_percent"]) == ("GPU-aa", "it is lost", number % 100)
    assert second["uuid"] == "GPU-bb"
