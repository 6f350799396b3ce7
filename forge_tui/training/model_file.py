"""The files of a finished model: NAME.json and NAME.safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import finite
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.names import DATABASE, checked_name, result_names
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import Limits, parse
from forge_tui.safe_io.whole_files import write_whole
from forge_tui.training.model_fields import check_fields
from forge_tui.training.module_state import NOTHING, ModuleState
from forge_tui.training.tensor_file import DamagedFile, digest, read_tensors, tensor_bytes

FORMAT = 1
# A million epochs of history; a module's own state, as in checkpoints.
_RECORD = Limits(size=512 << 20, values=20_000_000, depth=500, text=64 << 20, integer=1 << 10_001)
_MODULE = "module_state/"


def model_paths(stem: Path) -> tuple[Path, Path]:
    """Metadata and weights of a path stem."""
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.safetensors")


def write_result(
    directory: Path,
    attempt: int,
    name: str,
    weights: Mapping[str, Tensor] | None,
    record: Mapping[str, Any],
    module: ModuleState = NOTHING,
) -> None:
    """Write the files of the finished model `name` for `runs.results.publish`. Raises `RunDirectoryError`.

    The weights' file has no metadata and no times: equal weights give equal bytes. A custom `module`'s other state is
    written too: tensors as `module_state/…` among the weights, the rest as `module_state` in NAME.json.
    Without `weights` there is no file of them.
    """
    weights_path, metadata_path = (directory / file for file in result_names(attempt))
    if weights is None:
        without = {"format": FORMAT, "name": name, "final_model": True, **finite(dict(record)), "sha256": None}
        write_whole(metadata_path, (_in_lines(without).encode(),))
        return
    tensors = {**weights, **{f"{_MODULE}{key}": tensor for key, tensor in module.tensors.items()}}
    full = {"format": FORMAT, "name": name, "final_model": True, **finite(dict(record)), "sha256": digest(tensors)}
    if module.packed is not None:
        full["module_state"] = {"state": module.packed, "sha256": digest({}, {"state": module.packed})}
    write_whole(weights_path, tensor_bytes(tensors))
    write_whole(metadata_path, (_in_lines(full).encode(),))


def _in_lines(record: Mapping[str, Any]) -> str:
    """JSON with one line per key and per epoch; `indent` would use the slow encoder in Python."""
    lines = []
    for key, value in record.items():
        text = json.dumps(value, ensure_ascii=False)
        if key == "history" and value:
            text = "[\n" + ",\n".join(f"  {json.dumps(epoch, ensure_ascii=False)}" for epoch in value) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_model_record(stem: Path) -> dict[str, Any]:
    """Read NAME.json. Raises `RunDirectoryError` if it is missing, damaged, of a newer version, or not a model's."""
    path, _ = model_paths(stem)
    try:
        _refuse_link_in_run(path)
        record = parse(read_file(path, _RECORD.size), _RECORD)
    except FileNotFoundError:
        raise RunDirectoryError(
            f"there is no model at {stem}: {named(path)} is missing; is its run complete?"
        ) from None
    except RunDirectoryError:
        raise
    except OSError as error:
        raise RunDirectoryError(
            f"{named(path)} cannot be read: {error.strerror or error}; check its permissions"
        ) from None
    except ValueError as error:
        raise RunDirectoryError(f"{named(path)} is damaged: {error}; train the model again") from None
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise RunDirectoryError(f"{named(path)} is not a model's metadata; give the path stem that the run reported")
    if record["format"] > FORMAT:
        raise RunDirectoryError(
            f"{named(path)} has format {record['format']}, made by a newer forge-tui: update this one"
        )
    if "name" in record:
        checked_name(record["name"], path)
    check_fields(record, path)
    return record


def read_weights(stem: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of NAME.safetensors. Raises `RunDirectoryError` if they are missing or not those of `sha256`."""
    _, path = model_paths(stem)
    try:
        _refuse_link_in_run(path)
        weights, _ = read_tensors(path)
    except FileNotFoundError:
        raise RunDirectoryError(f"{named(path)} is missing; train the model again") from None
    except RunDirectoryError:
        raise
    except OSError as error:
        raise RunDirectoryError(
            f"{named(path)} cannot be read: {error.strerror or error}; check its permissions"
        ) from None
    except DamagedFile as error:
        raise RunDirectoryError(f"{error}; resume its run to write it again") from None
    if digest(weights) != sha256:
        raise RunDirectoryError(
            f"{named(path)} is damaged: its SHA-256 is not the recorded one; resume its run to restore it"
        )
    return weights


def _refuse_link_in_run(path: Path) -> None:
    """Raise `RunDirectoryError` for a link in a run directory; links from elsewhere are allowed."""
    if os.path.lexists(path.parent / DATABASE):
        refuse_links(path, path.parent)


def weights_and_state(
    stem: Path, record: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], ModuleState]:
    """Separate the tensors of `read_weights` into weights and a custom module's other state.

    Raises `RunDirectoryError` if these were changed.
    """
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(_MODULE)}
    kept = {name.removeprefix(_MODULE): tensor for name, tensor in tensors.items() if name.startswith(_MODULE)}
    stored: Any = record.get("module_state")
    if stored is None and not kept:
        return weights, NOTHING
    try:
        if stored["sha256"] != digest({}, {"state": stored["state"]}):
            raise ValueError("the SHA-256 of module_state is not the recorded one")
        return weights, ModuleState(packed=stored["state"], tensors=kept)
    except (TypeError, KeyError, ValueError) as error:
        metadata_path, _ = model_paths(stem)
        raise RunDirectoryError(f"{metadata_path} is damaged ({error}); resume its run to write it again") from error
