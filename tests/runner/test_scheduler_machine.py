"""The scheduler under anything in any order (`tests/support/scheduler_machine.py`)."""

from __future__ import annotations

from hypothesis import settings
from scheduler_machine import SchedulerMachine

TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
