"""Runs of one model within the test's process."""

from __future__ import annotations

from made_jobs import make_job as make_job
from trials import run as run
