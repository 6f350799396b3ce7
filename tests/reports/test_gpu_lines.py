"""The GPUs of a run in its report."""

from __future__ import annotations

from forge_tui.protocol.model_state import ModelState
from forge_tui.reports.gpu_lines import gpu_lines

GIB = 2**30
A, B = "GPU-aa11", "GPU-bb22"


def sample(**changes):
    first = {
        "index": 0, "uuid": A, "name": "NVIDIA H100", "memory_total": 80 * GIB, "memory_used": 10 * GIB,
        "utilization_percent": 40.0, "temperature": 50.0, "processes": [[4711, GIB]], **changes,
    }  # fmt: skip
    return {"time": 1.0, "gpus": [first]}


def model(index: int, uuid: str) -> ModelState:
    place = {"host": "server", "device": uuid}
    return ModelState(name=f"planner_{index}", index=index, seed=index, epochs=5, device="cuda", place=place)


def test_a_gpu_is_summed_up_over_the_run():
    samples = [sample(), sample(memory_used=41 * GIB, utilization_percent=80.0, temperature=71.0)]
    assert gpu_lines(samples, [model(1, A), model(2, A)]) == [
        "GPU 0 NVIDIA H100 (GPU-aa11): 60 % busy on average, at most 41.0 GiB of 80.0 GiB in use, at most 71 °C, "
        "last trained planner_1, planner_2"
    ]


def test_a_gpu_that_was_lost_says_why():
    lines = gpu_lines([sample(), sample(utilization_percent=None, temperature=None, problem="it is lost")], [])
    assert lines[0].endswith("at most 50 °C, it is lost")


def test_a_gpu_that_only_models_know_is_listed_and_many_models_are_counted():
    assert gpu_lines([], [model(number, B) for number in range(6)]) == [
        "GPU (GPU-bb22): last trained planner_0, planner_1, planner_2, planner_3 and 2 more"
    ]


def test_samples_of_earlier_versions_have_no_uuid():
    old = {"index": 1, "name": "NVIDIA T4", "memory_total": 16 * GIB, "memory_used": GIB, "utilization_percent": None}
    assert gpu_lines([{"gpus": [old]}], []) == ["GPU 1 NVIDIA T4: at most 1.0 GiB of 16.0 GiB in use"]


def test_what_is_not_as_this_program_writes_it_is_left_out():
    hostile = [
        {"gpus": "\x1b[2J"}, {"gpus": [None, "x", []]}, {},
        sample(memory_used="much", utilization_percent=True, temperature=1e300, memory_total=None, problem=5),
    ]  # fmt: skip
    assert gpu_lines(hostile, []) == ["GPU 0 NVIDIA H100 (GPU-aa11): no figures"]


def test_a_run_without_gpus_has_no_such_lines():
    assert gpu_lines([{"gpus": []}], [ModelState(name="m", index=1, seed=0, epochs=1, device="cpu")]) == []
