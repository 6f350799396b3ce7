"""The synthetic dataset: labels by a seeded random teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from forge_tui.settings.schema import Settings
from forge_tui.training.data.dataset import Dataset, Task, assemble
from forge_tui.training.data.split import choose_split

_CANDIDATES = 4
_LATENT = 12
_CHUNK = 8192


def synthetic_dataset(settings: Settings) -> Dataset:
    """`samples` rows of `features` standard normal features, labelled by a random network with two layers.

    The teacher only uses 12 random directions of the features, and of four candidate rows the one with its most certain
    label is kept: so a thousand rows are enough to learn it. Equal seeds give equal data.
    """
    data = settings.data
    random = torch.Generator().manual_seed(settings.run.seed)
    latent = min(_LATENT, data.features)
    directions = torch.linalg.qr(torch.randn(data.features, latent, generator=random)).Q
    hidden = torch.randn(latent, 4 * latent, generator=random) / latent**0.5
    out = torch.randn(4 * latent, data.classes, generator=random) / (4 * latent) ** 0.5

    features: list[Tensor] = []
    labels: list[Tensor] = []
    for start in range(0, data.samples, _CHUNK):  # bounds the memory that the candidates take
        wanted = min(_CHUNK, data.samples - start)
        candidates = torch.randn(_CANDIDATES * wanted, data.features, generator=random)
        scores = torch.tanh(candidates @ directions @ hidden) @ out
        best = ((scores - scores.mean(dim=0)) / scores.std(dim=0)).topk(2, dim=1)
        surest = (best.values[:, 0] - best.values[:, 1]).topk(wanted).indices.sort().values
        features.append(candidates[surest])
        labels.append(best.indices[surest, 0])
    return assemble(
        task=Task.CLASSIFICATION,
        inputs=torch.cat(features),
        targets=torch.cat(labels),
        outputs=data.classes,
        features=tuple(f"x{number}" for number in range(1, data.features + 1)),
        target="class",
        classes=tuple(range(data.classes)),
        split=choose_split(settings, data.samples, None, 1),
        normalise=data.normalise,
        scaling=data.scaling,
    )
