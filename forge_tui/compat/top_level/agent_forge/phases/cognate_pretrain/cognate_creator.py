"""`CognateCreator` under its older path."""

from forge_tui.compat.creator import CognateCreator, create_cognate_models
from forge_tui.errors import TrainingFailed
from forge_tui.settings.schema import TrainingConfig

__all__ = ["CognateCreator", "TrainingConfig", "TrainingFailed", "create_cognate_models"]
