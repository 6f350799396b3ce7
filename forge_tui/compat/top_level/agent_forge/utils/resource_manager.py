"""Resource detection and limits: the names existing code imports from here."""

from __future__ import annotations

import psutil  # noqa: F401  existing tests patch psutil's functions through this module

from forge_tui.resources.manager import (
    HIGH_CPU_THRESHOLD,
    MAX_CPU_UTILIZATION,
    MEMORY_PER_WORKER,
    MIN_AVAILABLE_MEMORY,
    ResourceManager,
    SystemResources,
    get_optimal_workers,
    get_resource_summary,
)

__all__ = [
    "HIGH_CPU_THRESHOLD",
    "MAX_CPU_UTILIZATION",
    "MEMORY_PER_WORKER",
    "MIN_AVAILABLE_MEMORY",
    "ResourceManager",
    "SystemResources",
    "get_optimal_workers",
    "get_resource_summary",
]
