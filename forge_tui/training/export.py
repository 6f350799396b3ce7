"""Loads finished models as modules."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forge_tui.errors import ForgeError, RunDirectoryError, SettingsError, UsageError
from forge_tui.safe_io.printing import escaped, named
from forge_tui.settings.own_names import named_function
from forge_tui.settings.schema import from_plain
from forge_tui.settings.training_function import NONE, is_function
from forge_tui.tables.encoder import VERSION as ENCODER
from forge_tui.tables.encoder import recorded_encoder
from forge_tui.training import random_state
from forge_tui.training.data.dataset import Normalisation, Task, real_inputs, token_inputs
from forge_tui.training.model_code import code_of
from forge_tui.training.model_file import read_weights, weights_and_state
from forge_tui.training.models.build import ARCHITECTURE, build_model
from forge_tui.training.models.inputs import InputSpec
from forge_tui.training.models.network import count_parameters, set_weights
from forge_tui.training.module_state import prepare, restore_module, unpacked
from forge_tui.training.own_code import own_model
from forge_tui.training.prediction.inputs import recorded_inputs
from forge_tui.training.prediction.predictions import Description
from forge_tui.training.prediction.trained_model import TrainedModel
from forge_tui.training.record_file import read_model_record


def load_model(stem: str | os.PathLike[str], trust_code: bool = False) -> TrainedModel:
    """Load the trained model of a path stem (`RUN/NAME`), in eval mode on the CPU. Keeps the caller's random state.

    It takes raw features, float32 (N, features), and returns logits (N, classes) or predictions in the targets' units
    (N, targets); or tokens, int64 (N, T), and returns logits (N, T, vocabulary), or (N, classes) for classified
    sequences. For predictions of tables and arrays it has `predict`, `predict_proba`, `features` and `classes`
    (`Predicts`).

    A custom model is made by its function, from the code that it was trained with, if this user has started its run and
    the model is in its run directory; `trust_code` allows any other code. If the process has imported another version
    of the same files, the model's classes are in private modules, and cannot be pickled. Raises `RunDirectoryError` if
    either file is missing, damaged, or does not match the other, `UntrustedCode` before any untrusted code runs,
    `ChangedError` if the code has changed.
    """
    path = Path(stem)
    if path.suffix in (".json", ".safetensors"):
        path = path.with_suffix("")
    record = read_model_record(path)
    refuse_custom_loop(path, record)
    _refuse_newer(path, record)
    try:
        inputs = _inputs(record)
        weights, kept = weights_and_state(path, record, read_weights(path, record["sha256"]))
        normalisation = _normalisation(record)
        description = described(path.name, record)
    except SettingsError as error:
        raise RunDirectoryError(f"{named(path)}.json is damaged ({error}); restore a copy") from error
    except ForgeError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise RunDirectoryError(
            f"{named(path)}.json is damaged ({type(error).__name__}: {error}); restore a copy"
        ) from error
    try:
        _check_size(record, sum(weight.numel() for weight in weights.values()))
        # As in training: a custom module's random numbers are drawn again.
        with random_state.seeded(int(record["seed"])):
            body = _body(path, record, inputs, trust_code)
        network = TrainedModel(body, normalisation, description)
        module = unpacked(kept.packed, kept.tensors)
        prepare(body, module)
        set_weights(network, weights)
        restore_module(body, module)
    except ForgeError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise RunDirectoryError(_no_fit(path, record, error)) from error
    network.requires_grad_(False).eval()
    return network


def described(name: str, record: Mapping[str, Any]) -> Description:
    """What NAME.json tells of a model's inputs and outputs.

    Raises `LookupError`, `TypeError`, `ValueError` or `SettingsError` for a damaged one.
    """
    classes = record.get("classes")
    return Description(
        inputs=recorded_inputs(name, record, recorded_encoder(record)),
        task=Task(record["task"]),
        outputs=int(record["outputs"]),
        classes=None if classes is None else tuple(classes),
        target=record.get("target"),
        data=from_plain({"data": record.get("settings", {}).get("data", {})}).data,
    )


def _refuse_newer(path: Path, record: Mapping[str, Any]) -> None:
    """Raise `RunDirectoryError` for a model of versions that this forge-tui does not know; absent ones are 1."""
    for what, known in (("architecture", ARCHITECTURE), ("encoder", ENCODER)):
        version = record.get(what, 1)
        if not isinstance(version, int) or not 1 <= version <= known:
            raise RunDirectoryError(
                f"{named(path)}.json has the {what} version {version!r}, and this forge-tui knows up to {known}: load "
                "it with the forge-tui that made it, or a newer one"
            )


def refuse_custom_loop(path: Path, record: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a model whose training function or command alone knows how it is made."""
    if record.get("command"):
        raise UsageError(
            f"{named(path)} was trained by a command, which alone knows what it has saved; its files are in the "
            "directory that the run reports as its path"
        )
    config = record.get("config")
    train = str(config.get("train", NONE)) if isinstance(config, dict) else NONE
    if is_function(train):
        what = f"{named(path)}.safetensors has its weights: safetensors.torch.load_file reads them"
        raise UsageError(
            f"{named(path)} was trained by --train {escaped(train)}, which alone knows what module it is; "
            f"{what if record.get('sha256') is not None else 'and has saved no weights'}"
        )


def _no_fit(path: Path, record: dict[str, Any], error: Exception) -> str:
    """Why intact weights do not fit the model, and what to do."""
    config, versions = record.get("config"), record.get("versions")
    named = str(config.get("model_type", "")) if isinstance(config, dict) else ""
    if named_function(named) is not None:
        advice = f"--model-type {named} makes another model here than in training: restore its behaviour of then"
    else:
        by = versions.get("forge_tui") if isinstance(versions, dict) else None
        advice = f"NAME.json may have been changed; else load it with the version that made it ({by or 'not recorded'})"
    return f"{path}.safetensors is intact, but does not fit the model that {path}.json describes ({error}); {advice}"


def _body(path: Path, record: dict[str, Any], inputs: InputSpec, trust_code: bool) -> nn.Module:
    """The module without its weights."""
    model_type, model_size = record["config"]["model_type"], record["config"]["model_size"]
    if named_function(model_type) is None:
        body = build_model(model_type, model_size, inputs)
        if count_parameters(body) == record["parameters"]:
            return body
        return build_model(model_type, model_size, inputs, in_eights=False)  # an early version's
    with code_of(path, record, ("--model-type",), trust_code=trust_code) as settings:
        named = settings.training.model_type  # with today's place of its code
        return own_model(named, model_size, settings.run.python_path, settings.model)(inputs)


def _check_size(record: Mapping[str, Any], numbers: int) -> None:
    """Raise `ValueError` if a built-in model would be far larger than its weights (`numbers`).

    A custom model only gets shapes; its size is decided by its code.
    """
    if named_function(record["config"]["model_type"]) is not None:
        return
    # Built-in models have the requested size within 5 %, and at least one weight per input and output.
    sizes = {
        "model_size": record["config"]["model_size"] // 2,
        "outputs": record["outputs"],
        "vocabulary": len(record["vocabulary"] or ()),
        "features": len(record["features"] or ()),
        "input_shape": math.prod(record.get("input_shape") or (1,)),
    }
    for name, size in sizes.items():
        if type(size) is not int or size > numbers:
            raise ValueError(f"its {named(name)} cannot be that of {numbers:,} weights")


def _inputs(record: dict[str, Any]) -> InputSpec:
    outputs = int(record["outputs"])
    if record["vocabulary"] is not None:
        return token_inputs(Task(record["task"]), len(record["vocabulary"]), outputs)
    return real_inputs(tuple(record.get("input_shape") or [len(record["features"])]), outputs)


def _normalisation(record: dict[str, Any]) -> Normalisation | None:
    scaling = record["normalisation"]
    if scaling is None:
        return None
    values: dict[str, Any] = {name: None if value is None else _buffer(value) for name, value in scaling.items()}
    return Normalisation(**values)


def _buffer(values: Any) -> Tensor:
    """Numbers of the record in the type that they were written from: float32 if it has them exactly."""
    exact = torch.tensor(values, dtype=torch.float64)
    single = exact.float()
    return single if torch.equal(single.double(), exact) else exact
