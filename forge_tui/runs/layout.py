"""The run directory: what lies where in it, and how it comes to be."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.files import in_words, sync_directory, temporary_name, write_atomically

__all__ = ["RunDirectory", "default_run_path", "model_name", "write_atomically"]

# Compiled when they are first asked for: a viewer never does.
_MODEL_FILE = r"cognate_\w+\.(json|safetensors)"
# Names that `temporary_name` and `write_settings` give.
_HALF_WRITTEN = (
    r"\.(cognate_\w+\.(json|safetensors)|run\.db|probe)\.[0-9a-f]{8}\.tmp(-journal)?|\.settings\.toml\.\w{8}"
)
_PREVIOUS = r"previous-([0-9]{1,9})"
# An interrupted move goes on here, so that one run's files are never spread over two `previous-N`.
_MOVING = ".previous.moving"


def type_word(model_type: str) -> str:
    """`model_type` as a part of file names; of the user's own `net.py:model` the file, else the function."""
    place, _, function = model_type.rpartition(":") if ":" in model_type else (model_type, "", "model")
    if place.endswith(".py"):
        place = os.path.basename(place).removesuffix(".py")
    model_type = place if function == "model" else function
    return re.sub(r"\W+", "_", model_type, flags=re.ASCII).strip("_") or "model"


def model_name(model_type: str, index: int) -> str:
    """The NAME of model `index` (1…N), such as `cognate_planner_1`."""
    return f"cognate_{type_word(model_type)}_{index}"


def default_run_path(model_type: str, now: float | datetime, base: Path = Path("runs")) -> Path:
    """A path for a new run, such as `runs/20261123-150210-planner`; `-2`, `-3`, … where that is taken.

    `now` in UNIX seconds (shown in local time) or as a datetime. Nothing is created: see `RunDirectory.create_new`.
    """
    moment = now if isinstance(now, datetime) else datetime.fromtimestamp(now)
    stem = f"{moment:%Y%m%d-%H%M%S}-{type_word(model_type)}"
    path, count = base / stem, 1
    while os.path.lexists(path):
        count += 1
        path = base / f"{stem}-{count}"
    return path


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of one run. Making one touches no file."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(os.path.abspath(Path(self.path).expanduser())))

    @property
    def id(self) -> str:
        """The run id: the directory's own name."""
        return self.path.name

    @property
    def database(self) -> Path:
        """State and history."""
        return self.path / "run.db"

    @property
    def settings(self) -> Path:
        """What the run was started with."""
        return self.path / "settings.toml"

    @property
    def checkpoints(self) -> Path:
        """Holds one directory a model."""
        return self.path / "checkpoints"

    @property
    def commands(self) -> Path:
        """Commands waiting to be taken by the runner."""
        return self.path / "commands"

    @property
    def logs(self) -> Path:
        """Output of the runner and of the models."""
        return self.path / "logs"

    @property
    def code(self) -> Path:
        """The copy of the run's custom code; made where there is some."""
        return self.path / "code"

    @property
    def rooms(self) -> tuple[Path, Path, Path]:
        """The directories in it."""
        return self.checkpoints, self.commands, self.logs

    @property
    def starting_log(self) -> Path:
        """Output of a start until there is a database; it becomes the runner's log."""
        return self.path / "starting.log"

    @property
    def lock(self) -> Path:
        """Held while anyone trains here."""
        return self.path / "lock"

    def checkpoint_directory(self, name: str) -> Path:
        """Where the model's newest checkpoints are."""
        return self.checkpoints / name

    def stem(self, name: str) -> Path:
        """The path that `.json` and `.safetensors` are added to."""
        return self.path / name

    def json(self, name: str) -> Path:
        """The finished model's metadata."""
        return self.path / f"{name}.json"

    def weights(self, name: str) -> Path:
        """The finished model's weights."""
        return self.path / f"{name}.safetensors"

    def log(self, name: str) -> Path:
        """The output of a model, or of `runner`."""
        return self.logs / f"{name}.log"

    @classmethod
    def create_new(cls, model_type: str, now: float | datetime, base: Path = Path("runs")) -> RunDirectory:
        """Create a directory under the default name; two starts in the same second get different ones."""
        while True:
            directory = cls(default_run_path(model_type, now, base))
            _make_parents(directory.path)
            try:
                os.mkdir(directory.path, 0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise in_words(error, "create the run directory", directory.path) from error
            directory.create()
            return directory

    def create(self) -> None:
        """Create the directory and those in it (mode 0700); what is there already keeps its mode.

        Raises `RunDirectoryError` where that cannot be, and for a directory of another user.
        """
        self.make()
        for room in self.rooms:
            _make_directory(room)

    def make(self) -> None:
        """Create only the directory itself. Raises `RunDirectoryError` as `create` does."""
        _make_parents(self.path)
        _make_directory(self.path)
        self.check_owner()

    def check_owner(self) -> None:
        """Raise `RunDirectoryError` unless the directory is there and this user's own."""
        try:
            owner = os.stat(self.path).st_uid
        except OSError as error:
            raise in_words(error, "use the run directory", self.path) from error
        if owner != os.geteuid():
            raise RunDirectoryError(
                f"{self.path} belongs to another user (uid {owner}, you are {os.geteuid()}); "
                "choose a directory of your own with --output"
            )

    def check_writable(self) -> None:
        """Raise `RunDirectoryError` unless files can be made and renamed here."""
        self.check_owner()
        probe = temporary_name(self.path / "probe")
        try:
            descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, b"\0" * 4096)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise in_words(error, "write in", self.path) from error
        finally:
            if os.path.lexists(probe):
                os.unlink(probe)

    def holds_run(self) -> bool:
        """Whether files of a run are here that a new run would write over.

        The settings alone are none of a run if a start that wrote them was killed before it made the database.
        """
        killed_start = {self.settings.name} if self.starting_log.exists() else set()
        return any(name not in killed_start for name in self.in_the_way())

    def in_the_way(self) -> list[str]:
        """The names of what is here that a new run would write over, and of a move of such that was interrupted."""
        moving = [_MOVING] if os.path.lexists(self.path / _MOVING) else []
        return sorted([*(file.name for file in self._earlier_files()), *moving])

    def tidy(self) -> None:
        """Remove files that a kill left half written. Call it with the lock held. Raises `RunDirectoryError`."""
        try:
            for entry in os.scandir(self.path):
                if re.fullmatch(_HALF_WRITTEN, entry.name) and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)
        except OSError as error:
            raise in_words(error, "tidy up in", self.path) from error

    def move_to_previous(self) -> Path | None:
        """Move all files that a new run would write over to `previous-N/`, and return that; None where there are none.

        Other files (and `lock`) stay. Each is renamed; a move that was interrupted is gone on with.
        Call it with the lock held. Raises `RunDirectoryError`.
        """
        if not self.in_the_way():
            return None
        self.check_owner()
        moving = self.path / _MOVING
        try:
            _make_directory(moving)
            # The database goes last: while it is here the directory is seen to hold a run.
            for file in sorted(self._earlier_files(), key=lambda file: file.name.startswith("run.db")):
                os.replace(file, moving / file.name)
            destination = self.path / f"previous-{self._last_previous() + 1}"
            os.rename(moving, destination)
            sync_directory(self.path)
        except OSError as error:
            raise in_words(error, "move the earlier run's files in", self.path) from error
        for room in self.rooms:
            _make_directory(room)
        return destination

    def delete(self) -> None:
        """Delete everything forge-tui put here, and the directory itself if nothing else is in it.

        Call it with the lock held. Raises `RunDirectoryError`.
        """
        self.check_owner()
        try:
            previous = [Path(entry.path) for entry in os.scandir(self.path) if re.fullmatch(_PREVIOUS, entry.name)]
            for path in (*self._earlier_files(), *previous, self.path / _MOVING):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            for room in self.rooms:
                if room.is_dir():
                    room.rmdir()
            self.lock.unlink(missing_ok=True)
            self.starting_log.unlink(missing_ok=True)
            self.tidy()
            if not any(os.scandir(self.path)):
                self.path.rmdir()
        except OSError as error:
            raise in_words(error, "delete the run in", self.path) from error

    def _earlier_files(self) -> Iterator[Path]:
        try:
            entries = list(os.scandir(self.path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise in_words(error, "look into", self.path) from error
        directories = {self.checkpoints.name, self.commands.name, self.logs.name}
        files = {self.settings.name, *(self.database.name + suffix for suffix in ("", "-wal", "-shm", "-journal"))}
        for entry in entries:
            if entry.name in directories:
                if not entry.is_dir() or any(os.scandir(entry)):
                    yield Path(entry.path)
            elif entry.name in files or re.fullmatch(_MODEL_FILE, entry.name):
                yield Path(entry.path)

    def _last_previous(self) -> int:
        found = (re.fullmatch(_PREVIOUS, entry.name) for entry in os.scandir(self.path))
        return max((int(match[1]) for match in found if match), default=0)


def _make_parents(path: Path) -> None:
    for parent in reversed(path.parents):
        if not os.path.isdir(parent):
            _make_directory(parent)


def _make_directory(path: Path) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise RunDirectoryError(f"{path} is there and is no directory; choose another with --output") from None
    except OSError as error:
        raise in_words(error, "create the directory", path) from error
