"""The native kernel in tests: skipped, with the reason, where it cannot be compiled."""

from __future__ import annotations

import pytest

from forge_tui.kernels.library import Library, NoKernel, load_library


def native_library() -> Library:
    """The library of this machine; skips the test where there is none."""
    try:
        return load_library()
    except NoKernel as error:
        pytest.skip(str(error))
