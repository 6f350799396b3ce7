"""NAME.json: the metadata of a finished model as text and as a record. No torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.events import finite
from forge_tui.runs.inside import refuse_links
from forge_tui.runs.names import DATABASE, checked_name
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.strict_json import Limits, parse
from forge_tui.training.model_fields import check_fields

FORMAT = 1
NOTHING: Mapping[str, Any] = MappingProxyType({})
# A million epochs of history; a module's own state, as in checkpoints.
_RECORD = Limits(size=512 << 20, values=20_000_000, depth=500, text=64 << 20, integer=1 << 10_001)


def model_paths(stem: Path) -> tuple[Path, Path]:
    """Metadata and weights of a path stem."""
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.safetensors")


def record_text(name: str, record: Mapping[str, Any], *, sha256: str | None, kept: Mapping[str, Any] = NOTHING) -> str:
    """The content of NAME.json; `sha256` is that of the weights, None without any. `kept` follows as it is."""
    head = {"format": FORMAT, "name": name, "final_model": True}
    return _in_lines({**head, **finite(dict(record)), "sha256": sha256, **kept})


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
        refuse_link_in_run(path)
        record = parse(read_file(path, _RECORD.size), _RECORD)
    except FileNotFoundError:
        raise RunDirectoryError(
            f"there is no model at {stem}: {named(path)} is missing; is its run complete?"
        ) from None
    except RunDirectoryError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
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


def unreadable(path: Path, error: OSError) -> RunDirectoryError:
    """The error for a model's file that cannot be read."""
    return RunDirectoryError(f"{named(path)} cannot be read: {error.strerror or error}; check its permissions")


def refuse_link_in_run(path: Path) -> None:
    """Raise `RunDirectoryError` for a link in a run directory; links from elsewhere are allowed."""
    if os.path.lexists(path.parent / DATABASE):
        refuse_links(path, path.parent)
