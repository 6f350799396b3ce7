"""What a model takes and returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Real-valued features (N, features), tokens (N, T) out of `vocabulary`, or samples (N, *shape) of another `shape`.

    Exactly one of the three is set.

    `outputs` is the size of the output's last axis: classes, regression targets, or the vocabulary. Tokens have an
    output at every position, (N, T, outputs), or with `last_only` at the last one, (N, outputs).
    """

    outputs: int
    features: int | None = None
    vocabulary: int | None = None
    shape: tuple[int, ...] | None = None
    last_only: bool = False

    def __post_init__(self) -> None:
        if [self.features, self.vocabulary, self.shape].count(None) != 2:
            raise ValueError("an InputSpec has either features, a vocabulary or a shape")
        if self.last_only and self.vocabulary is None:
            raise ValueError("last_only is for tokens: features have no places")

    def __str__(self) -> str:
        if self.features is not None:
            return f"{self.features} features and {self.outputs} outputs"
        if self.shape is not None:
            return f"samples of shape {self.shape} and {self.outputs} outputs"
        return f"a vocabulary of {self.vocabulary} and {self.outputs} outputs"
