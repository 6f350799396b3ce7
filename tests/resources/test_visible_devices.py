"""`CUDA_VISIBLE_DEVICES` as CUDA reads it, and a Slurm job's share of a node."""

from __future__ import annotations

import pytest

from forge_tui.resources.gpus import Gpu
from forge_tui.resources.visible_devices import visible_gpus


def gpu(index: int, uuid: str, parent: str | None = None) -> Gpu:
    return Gpu(index, "NVIDIA A100", 40 * 2**30, 0, uuid=uuid, parent=parent)


FOUR = tuple(gpu(index, uuid) for index, uuid in enumerate(["GPU-aa11", "GPU-aa22", "GPU-bb33", "GPU-cc44"]))
WITH_MIG = (
    gpu(0, "GPU-aa11"), gpu(1, "MIG-1111", "GPU-bb22"), gpu(1, "MIG-2222", "GPU-bb22"), gpu(2, "MIG-3333", "GPU-cc33"),
)  # fmt: skip


def seen(gpus: tuple[Gpu, ...], **environment: str) -> list[str]:
    return [one.uuid for one in visible_gpus(gpus, environment).gpus]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", ["GPU-aa11"]),
        ("2,0", ["GPU-bb33", "GPU-aa11"]),  # in this order
        (" 1 , 3 ", ["GPU-aa22", "GPU-cc44"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,9,1", ["GPU-aa11"]),  # the first index that is not there ends the list
        ("0,-1,1", ["GPU-aa11"]),
        ("1,x,2", ["GPU-aa22"]),
        ("1gpu,2nd", ["GPU-aa22", "GPU-bb33"]),  # strtoul
        ("+1", ["GPU-aa22"]),
        ("1,2,1", []),  # one that is repeated
        ("99999999999999999999", []),
        ("GPU-bb33,GPU-aa1", ["GPU-bb33", "GPU-aa11"]),  # a unique beginning is enough
        ("GPU-aa", []),  # not unique
        ("GPU-bb,GPU-aa,GPU-cc", ["GPU-bb33"]),
        ("GPU-bb33,2", ["GPU-bb33"]),  # the two kinds do not mix
        ("2,GPU-aa11", ["GPU-bb33"]),
        ("GPU-bb,GPU-bb33", []),  # the same twice
        ("gpu-bb33", []),
    ],
)
def test_the_variable_means_what_it_means_for_cuda(value, expected):
    assert seen(FOUR, CUDA_VISIBLE_DEVICES=value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("MIG-2222,MIG-1", ["MIG-2222", "MIG-1111"]),
        ("MIG-9", []),
        ("1", ["MIG-1111"]),  # CUDA takes the first instance of a GPU
        ("2,1", ["MIG-3333", "MIG-1111"]),
        ("GPU-bb", ["MIG-1111"]),
        ("0", ["GPU-aa11"]),
    ],
)
def test_mig_instances_are_named_by_uuid_or_by_their_gpu(value, expected):
    assert seen(WITH_MIG, CUDA_VISIBLE_DEVICES=value) == expected


def test_without_the_variable_all_are_visible():
    assert visible_gpus(WITH_MIG, {}).gpus == WITH_MIG
    assert visible_gpus(WITH_MIG, {}).limit is None


def test_the_limit_is_told_without_control_characters():
    assert visible_gpus(FOUR, {"CUDA_VISIBLE_DEVICES": "1\x1b[2J"}).limit == "CUDA_VISIBLE_DEVICES=1\\u001b[2J"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_JOB_GPUS": "1,3"}, ["GPU-aa22", "GPU-cc44"]),
        ({"SLURM_JOB_GPUS": "1-2"}, ["GPU-aa22", "GPU-bb33"]),
        ({"SLURM_JOB_GPUS": "0-3", "SLURM_STEP_GPUS": "2"}, ["GPU-bb33"]),  # a step has a part of its job's
        ({"SLURM_JOB_GPUS": "4,5,6,7"}, [one.uuid for one in FOUR]),  # the control group hides the others already
        ({"SLURM_JOB_GPUS": "all"}, [one.uuid for one in FOUR]),
        ({"SLURM_JOB_GPUS": ""}, [one.uuid for one in FOUR]),
        ({"SLURM_JOB_GPUS": "1", "CUDA_VISIBLE_DEVICES": "0,2"}, ["GPU-aa11", "GPU-bb33"]),
    ],
)
def test_a_slurm_job_has_its_share_of_the_node(environment, expected):
    assert seen(FOUR, **environment) == expected
