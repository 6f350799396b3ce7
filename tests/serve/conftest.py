"""The extra `serve` is part of the test extra; without it these tests are skipped."""

from __future__ import annotations

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")
