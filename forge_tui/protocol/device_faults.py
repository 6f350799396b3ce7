"""What the words of an error say about a GPU: its memory is full, or the device itself has failed. Pure."""

from __future__ import annotations

from enum import StrEnum


class DeviceFault(StrEnum):
    """`MEMORY`: an allocation on the device failed; `BUSY`: it takes no further process (compute mode exclusive);
    `LOST`: the device failed; `DOUBTFUL`: the device or the code.
    """

    MEMORY = "memory"
    BUSY = "busy"
    LOST = "lost"
    DOUBTFUL = "doubtful"


# cudaErrorMemoryAllocation in the words of torch, the CUDA runtime, cuBLAS and cuDNN.
_MEMORY = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
# cudaErrorDevicesUnavailable (46).
_BUSY = (
    "all cuda-capable devices are busy or unavailable",
    "cuda-capable device(s) is/are busy or unavailable",
)
# Errors of the CUDA runtime (driver_types.h) that no program causes: 214, 220, 226, 714, 802.
_LOST = (
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "contained ecc error",
    "hardware stack error",
    "system not yet initialized",
    "fallen off the bus",
    "gpu is lost",
)
# 719, 999, and a driver that does not answer: a fault of the device, of the driver or of a kernel. 100 and 101: the
# device, or code that asks for another one than it sees, such as `cuda:1`.
_DOUBTFUL = (
    "no cuda-capable device is detected",
    "no cuda gpus are available",
    "invalid device ordinal",
    "cuda error: unspecified launch failure",
    "cuda error: unknown error",
    "cuda unknown error",
    "cuda error: initialization error",
    "cuda driver initialization failed",
)
_WORDS = {
    DeviceFault.LOST: _LOST,
    DeviceFault.MEMORY: _MEMORY,
    DeviceFault.BUSY: _BUSY,
    DeviceFault.DOUBTFUL: _DOUBTFUL,
}


def fault_in(words: str) -> DeviceFault | None:
    """What an error message says about the device; None if nothing."""
    lower = words.lower()
    return next((fault for fault, said in _WORDS.items() if any(one in lower for one in said)), None)
