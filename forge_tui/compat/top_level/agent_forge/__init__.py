"""The older library's import name: everything here comes from `forge_tui`."""

from forge_tui import CognateCreator, ProgressAggregator, ResourceManager, TrainingConfig

__all__ = ["CognateCreator", "ProgressAggregator", "ResourceManager", "TrainingConfig"]
