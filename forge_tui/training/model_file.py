"""The files of a finished model: NAME.json and NAME.safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.names import result_names
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import write_whole
from forge_tui.training.module_state import NOTHING, ModuleState
from forge_tui.training.record_file import model_paths, record_text, refuse_link_in_run, unreadable
from forge_tui.training.tensor_file import DamagedFile, digest, read_tensors, tensor_bytes

_MODULE = "module_state/"


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
        write_whole(metadata_path, (record_text(name, record, sha256=None).encode(),))
        return
    tensors = {**weights, **{f"{_MODULE}{key}": tensor for key, tensor in module.tensors.items()}}
    kept: dict[str, Any] = {}
    if module.packed is not None:
        kept["module_state"] = {"state": module.packed, "sha256": digest({}, {"state": module.packed})}
    write_whole(weights_path, tensor_bytes(tensors))
    write_whole(metadata_path, (record_text(name, record, sha256=digest(tensors), kept=kept).encode(),))


def read_weights(stem: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of NAME.safetensors. Raises `RunDirectoryError` if they are missing or not those of `sha256`."""
    _, path = model_paths(stem)
    try:
        refuse_link_in_run(path)
        weights, _ = read_tensors(path)
    except FileNotFoundError:
        raise RunDirectoryError(f"{named(path)} is missing; train the model again") from None
    except RunDirectoryError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except DamagedFile as error:
        raise RunDirectoryError(f"{error}; resume its run to write it again") from None
    if digest(weights) != sha256:
        raise RunDirectoryError(
            f"{named(path)} is damaged: its SHA-256 is not the recorded one; resume its run to restore it"
        )
    return weights


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
