"""The import name of the older library, kept: everything here comes from `forge_tui`."""

from forge_tui import CognateCreator, ProgressAggregator, ResourceManager, TrainingConfig

__all__ = ["CognateCreator", "ProgressAggregator", "ResourceManager", "TrainingConfig"]
