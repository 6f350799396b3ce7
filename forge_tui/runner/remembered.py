"""Remembers measurements by configuration and machine, so that similar runs need not measure again.

One small JSON file per configuration in the user's state directory. Incomplete files, those of another version of this
program or of torch, and those older than a month are ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from forge_tui import __version__
from forge_tui.errors import RunDirectoryError
from forge_tui.protocol.plan import Way
from forge_tui.resources.hardware import SystemResources
from forge_tui.runner.run_planner import Found
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.strict_json import Limits, parse_object
from forge_tui.safe_io.whole_files import make_private, write_atomically
from forge_tui.settings.own_names import own_functions
from forge_tui.settings.schema import Settings, to_plain
from forge_tui.settings.user_file import state_directory

FORMAT = 2
_MOST_SECONDS = 30 * 86_400.0
_MOST_FILES = 200
_LIMITS = Limits(size=16 << 20)
# With a lower CPU share, the measuring workers were disturbed, whatever the machine's earlier state.
_QUIET_SHARE = 0.9
# Settings that affect neither the work of a step nor its memory.
_WITHOUT_EFFECT = frozenset(
    (
        "learning_rate", "epochs", "dataset", "checkpoint_interval", "training_mode", "max_parallel_workers",
        "on_divergence", "divergence_factor", "schedule", "warmup_steps",
    )
)  # fmt: skip


class Remembered:
    """Measurements of one configuration on this machine."""

    def __init__(
        self,
        settings: Settings,
        inspection: Mapping[str, Any],
        resources: SystemResources,
        device: str,
        *,
        rates: Sequence[tuple[float, float]] = (),
        quiet: bool = True,
        code: str | None = None,
        state: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`inspection`: of data and model; `rates`: of models trained together, if they differ; `state`: another state
        directory than the user's.

        `code`: the digest of the run's custom code. Not `quiet`: others use the machine, and new measurements are not
        remembered.
        """
        training = to_plain(settings)["training"].items()
        self._about: dict[str, Any] = {
            "versions": [__version__, _torch_version()],
            "machine": [platform.node(), platform.machine(), resources.cpu_total, resources.cpu_count],
            "device": [device, [gpu.name for gpu in resources.gpus] if device != "cpu" else []],
            "data": {name: inspection[name] for name in ("parameters", "train_samples", "validation_samples")},
            "shape": {name: inspection[name] for name in ("features", "classes", "task")},
            "training": {name: value for name, value in training if name not in _WITHOUT_EFFECT},
            "kernel": inspection.get("kernel"),
            "own code": None,
        }
        if own_functions(settings.training):
            # Unknown code may differ next time.
            self._about["own code"] = {"sha256": code or secrets.token_hex(), "model": dict(settings.model)}
            quiet = quiet and code is not None
        if rates:
            self._about["rates"] = [list(pair) for pair in rates]
        digest = hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()
        self._path = (state or state_directory()) / "measured" / f"{digest[:24]}.json"
        self._quiet, self._clock = quiet, clock
        self._known = self._read()

    def found(self, ways: list[Way]) -> Found:
        """The remembered ways, with each worker's measurement."""
        return {way: self._known[way]["answers"] for way in ways if way in self._known}

    def since(self, ways: list[Way]) -> float | None:
        """When the oldest of the ways was measured (UNIX seconds); None if none is known."""
        return min((self._known[way]["time"] for way in ways if way in self._known), default=None)

    def keep(self, found: Found) -> None:
        """Remember undisturbed measurements, if the state directory can be written."""
        found = {way: answers for way, answers in found.items() if all(map(_was_alone, answers))}
        if not self._quiet or not found:
            return
        now = self._clock()
        self._known = self._read() | {way: {"time": now, "answers": answers} for way, answers in found.items()}
        ways = [{**way.to_record(), **known} for way, known in self._known.items()]
        record = {"v": FORMAT, "about": self._about, "ways": ways}
        with contextlib.suppress(RunDirectoryError, OSError):
            make_private(self._path.parent)
            write_atomically(self._path, json.dumps(record).encode())
            self._tidy()

    def _read(self) -> dict[Way, dict[str, Any]]:
        try:
            record = parse_object(read_file(self._path, _LIMITS.size), _LIMITS)
            if record["v"] != FORMAT or record["about"] != json.loads(json.dumps(self._about)):
                return {}
            known = {Way.from_record(one): _checked(one) for one in record["ways"]}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}  # missing or incomplete
        now = self._clock()  # may have been set back: a date in the future does not count as newer
        return {way: one for way, one in known.items() if abs(now - one["time"]) <= _MOST_SECONDS}

    def _tidy(self) -> None:
        files = sorted(self._path.parent.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[_MOST_FILES:]:
            path.unlink(missing_ok=True)


def _was_alone(answer: Mapping[str, Any]) -> bool:
    return float(answer.get("cpu_share", 1.0)) >= _QUIET_SHARE


def _checked(one: Mapping[str, Any]) -> dict[str, Any]:
    """The measurement with only its numbers. Raises `ValueError`, `TypeError` or `KeyError`."""
    answers = [{str(name): float(value) for name, value in answer.items()} for answer in one["answers"]]
    if not answers or not all(answer["steps_per_second"] > 0 for answer in answers):
        raise ValueError("no steps per second")
    return {"time": float(one["time"]), "answers": answers}


def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
