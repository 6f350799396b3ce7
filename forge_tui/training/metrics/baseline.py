"""The baseline: the metrics of a prediction that does not look at the features."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from forge_tui.protocol.metrics import Metrics
from forge_tui.training.data.task import Task
from forge_tui.training.metrics.known_targets import KnownTargets
from forge_tui.training.metrics.measures import Measures
from forge_tui.training.metrics.of_tokens import perplexity

# The logarithm of a share of 0, for scores.
_NEVER = -100.0


def baseline(trained: Tensor, known: KnownTargets, prefix: str = "") -> Metrics:
    """The metrics on `known` of what the training targets (N, …) alone predict, `prefix` before each name.

    Classes: always the most frequent one, with the classes' shares as probabilities. Numbers: the mean. Tokens: their
    shares, each counted once more than it occurs, so that none is impossible. `trained` is in the units of `known`.
    Infinite values (of a class that the training split lacks) are None.
    """
    match known.task:
        case Task.CLASSIFICATION:
            found = _of_classes(trained, known)
        case Task.REGRESSION:
            mean = trained.double().mean(dim=0)
            measures = Measures(known, 1)
            measures.add(mean.expand(1, *known.targets.shape), known.targets)
            (found,) = measures.results([])
        case Task.NEXT_TOKEN:
            found = {"perplexity": perplexity(_mean_loss(np.bincount(_flat(trained)), _flat(known.targets), more=1))}
    return {
        f"{prefix}{name}": None if value is None or not math.isfinite(value) else value for name, value in found.items()
    }


def _of_classes(trained: Tensor, known: KnownTargets) -> Metrics:
    counts = np.bincount(_flat(trained))
    classes = max(len(counts), len(known.counts))
    shares = np.pad(counts, (0, classes - len(counts))) / counts.sum()
    logits = torch.from_numpy(np.log(shares, out=np.full(classes, _NEVER), where=shares > 0)).to(known.targets.device)
    measures = Measures(known, 1)
    measures.add(logits.expand(1, len(known), classes), known.targets)
    (found,) = measures.results([_mean_loss(counts, known.classes)])
    return found


def _mean_loss(counts: np.ndarray, wanted: np.ndarray, more: int = 0) -> float:
    """The mean cross entropy (nats) of `wanted` under the shares of `counts`, each with `more` added."""
    occurs = np.bincount(wanted, minlength=len(counts))
    all_counts = np.pad(counts, (0, len(occurs) - len(counts))) + more
    known = occurs > 0
    if not all_counts[known].all():
        return math.inf
    return float(-(occurs[known] * np.log(all_counts[known] / all_counts.sum())).sum() / len(wanted))


def _flat(targets: Tensor) -> np.ndarray:
    found: np.ndarray = targets.flatten().cpu().numpy()
    return found
