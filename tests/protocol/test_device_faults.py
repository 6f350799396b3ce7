"""What error messages say about a GPU."""

from __future__ import annotations

import pytest

from forge_tui.protocol.device_faults import DeviceFault, fault_in


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (
            "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB",
            DeviceFault.MEMORY,
        ),
        ("RuntimeError: CUDA error: out of memory", DeviceFault.MEMORY),
        (
            "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            DeviceFault.MEMORY,
        ),
        ("AcceleratorError: CUDA error: uncorrectable ECC error encountered", DeviceFault.LOST),
        ("RuntimeError: No CUDA GPUs are available", DeviceFault.DOUBTFUL),  # or the code has hidden its GPU
        ("AcceleratorError: CUDA error: invalid device ordinal", DeviceFault.DOUBTFUL),  # or the code says `cuda:1`
        (
            "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
            DeviceFault.BUSY,
        ),
        ("AcceleratorError: CUDA error: unspecified launch failure", DeviceFault.DOUBTFUL),
        ("AcceleratorError: CUDA error: device-side assert triggered", None),  # an index out of range in the code
        ("AcceleratorError: CUDA error: an illegal memory access was encountered", None),
        ("MemoryError", None),
        ("ValueError: out of memory of what?", None),
        ("", None),
    ],
)
def test_a_message_names_a_full_or_failed_device_or_neither(words: str, fault: DeviceFault | None) -> None:
    assert fault_in(words) is fault
