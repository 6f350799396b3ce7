"""Resources and progress, as existing code imports them."""

from __future__ import annotations

from agent_forge.utils.progress_aggregator import ProgressAggregator, TrainingPhase, create_progress_tracker
from agent_forge.utils.resource_manager import (
    ResourceManager,
    SystemResources,
    get_optimal_workers,
    get_resource_summary,
)

__all__ = [
    "ProgressAggregator",
    "ResourceManager",
    "SystemResources",
    "TrainingPhase",
    "create_progress_tracker",
    "get_optimal_workers",
    "get_resource_summary",
]
