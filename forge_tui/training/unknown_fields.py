"""Fields of NAME.json that are None of a model whose data only its training function or command knows."""

VALIDATION = ("loss", "accuracy", "perplexity", "metric")
"""The keys of `validation`, which is older than `metrics` and kept beside it."""
OF_DATA = (
    "task", "features", "target", "classes", "vocabulary", "sequence_length", "outputs", "input_shape", "normalisation",
    "class_weights", "split", "data", "data_version", "architecture", "encoder", "table",
)  # fmt: skip
