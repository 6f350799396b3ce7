"""Progress of several models: the names existing code imports from here."""

from __future__ import annotations

from forge_tui.compat.aggregator import ProgressAggregator, create_progress_tracker
from forge_tui.protocol.phases import TrainingPhase

__all__ = ["ProgressAggregator", "TrainingPhase", "create_progress_tracker"]
