"""Training of the three models: `CognateCreator`, `TrainingConfig`, `create_cognate_models`."""

from agent_forge.phases.cognate_pretrain.cognate_creator import (
    CognateCreator,
    TrainingConfig,
    TrainingFailed,
    create_cognate_models,
)

__all__ = ["CognateCreator", "TrainingConfig", "TrainingFailed", "create_cognate_models"]
