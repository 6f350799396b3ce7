"""Architectures, each sized to within 5 % of a wanted number of parameters."""

from forge_tui.training.models.build import build_model
from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.models.network import Network

__all__ = ["InputSpec", "Network", "build_model"]
