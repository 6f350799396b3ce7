"""The module that `load_model` returns."""

from __future__ import annotations

from torch import nn

from forge_tui.training.data.dataset import Normalisation
from forge_tui.training.models.network import Network
from forge_tui.training.prediction.predictions import Description, Predicts


class TrainedModel(Predicts, Network):
    """A trained network that predicts for tables, too: `features`, `classes`, `predict` and `predict_proba`."""

    def __init__(self, body: nn.Module, normalisation: Normalisation | None, description: Description) -> None:
        super().__init__(body, normalisation)
        self.description = description
