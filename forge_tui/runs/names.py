"""Names in a run directory: the fixed ones, and checks of names read from files."""

from __future__ import annotations

import re

from forge_tui.errors import RunDirectoryError

ROOT = "."
"""The run directory itself as a recorded path."""
DATABASE = "run.db"
REMOVED = ".run.db.removed"
"""The name of the database while its run is being removed: the remains do not look like a run."""
MOVING = ".previous.moving"
"""Where version 0.1.0 collected an earlier run's files before it renamed it to `previous-N`."""
LOCK = "lock"
LABEL = "label.json"
STARTING_FILE, STARTING_LOG = "starting.json", "starting.log"
CHECKPOINTS, COMMANDS, LOGS, CODE = "checkpoints", "commands", "logs", "code"
SHARED = (CHECKPOINTS, LOGS, CODE)
"""Directories that may exist before a run, and may contain foreign files."""
ROOMS = (CHECKPOINTS, COMMANDS, LOGS)
FILES = ("settings.toml", DATABASE, LOCK, STARTING_FILE, STARTING_LOG, f"{LOGS}/runner.log")
PREVIOUS = re.compile(r"previous-([0-9]{1,9})")
"""The names of directories with earlier runs."""
STEP = re.compile(r"step-(\d{12,})(?:-attempt-(\d{1,9}))?\.safetensors")
"""The names of checkpoints in a model's directory; those of version 0.1.0 are without the attempt."""
RESULT = re.compile(r"result-attempt-(\d{1,9})\.(json|safetensors)")
"""The names of a finished model's files there, until the runner gives them their final ones."""
REPORTS = re.compile(r"reports-attempt-(\d{1,9})\.jsonl")
"""The names of the files there that a command appends its reports to."""
FILES_OF_TRIAL = "files"
"""The directory there that belongs to the model's training function or command: everything in it is the run's."""
_TEMPORARY = re.compile(
    r"\.(.+)\.[0-9a-f]{8}\.tmp(?:-journal|-wal|-shm)?|\.(settings\.toml)\.[a-z0-9_]{8}|\.(.+\.log)\.tmp"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_PATH = 4_096


def checkpoint_name(step: int, attempt: int) -> str:
    """The file of the checkpoint that an attempt saved at `step`."""
    return f"step-{step:012d}-attempt-{attempt}.safetensors"


def result_names(attempt: int) -> tuple[str, str]:
    """The files of a model that an attempt has finished: weights and metadata."""
    return f"result-attempt-{attempt}.safetensors", f"result-attempt-{attempt}.json"


def report_name(attempt: int) -> str:
    """The file that the command of an attempt appends its reports to."""
    return f"reports-attempt-{attempt}.jsonl"


def step_and_attempt(name: str) -> tuple[int, int] | None:
    """What the name of a checkpoint says (attempt 0: a file of version 0.1.0); None for other names."""
    found = STEP.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def is_name(value: object) -> bool:
    """Whether `value` is a valid name for a part of a path, such as a model's."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def checked_name(value: object, where: object) -> str:
    """`value`, read from `where` (for the message). Raises `RunDirectoryError` unless it is a valid name."""
    if isinstance(value, str) and _NAME.fullmatch(value) is not None:
        return value
    from forge_tui.settings.problems import shown  # here: it is seldom needed

    raise RunDirectoryError(
        f"{where} has the name {shown(value)}, which forge-tui never uses: names have letters, digits, '.', '_' "
        "and '-', and begin with a letter or digit; the file was changed by another program, restore a copy of it"
    )


def is_inside(path: object) -> bool:
    """Whether `path`, relative and with `/` between its parts, stays inside its directory."""
    if not isinstance(path, str) or not path or len(path) > _LONGEST_PATH or "\0" in path:
        return False
    return all(part not in ("", ".", "..") for part in path.split("/"))


def original_of(temporary: str) -> str | None:
    """The name of the file that is written under a temporary name of ours; None for any other name.

    The names are those of `files.temporary_name`; SQLite adds its own endings. Earlier versions had others for
    settings.toml and for logs that were made shorter.
    """
    if not temporary.startswith("."):
        return None
    found = _TEMPORARY.fullmatch(temporary)
    return None if found is None else found[1] or found[2] or found[3]
