"""The run directory: its paths, and its creation."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forge_tui.errors import RunDirectoryError
from forge_tui.runs.names import DATABASE, FILES_OF_TRIAL, LABEL, MOVING, REMOVED, ROOT, STARTING_FILE
from forge_tui.safe_io.printing import named
from forge_tui.safe_io.whole_files import LONGEST_DATABASE, directory_error, half_written, path_bytes, write_atomically

__all__ = ["RunDirectory", "default_run_path", "model_name", "write_atomically"]

_SIGNS = (DATABASE, STARTING_FILE, REMOVED, f"{MOVING}/{DATABASE}")


def type_word(model_type: str, default: str = "model") -> str:
    """`model_type` as a part of file names; for a custom `net.py:model` the file, else the function.

    `default`: the function that a file alone means; `train` if `model_type` is a training function.
    """
    place, _, function = model_type.rpartition(":") if ":" in model_type else (model_type, "", default)
    if place.endswith(".py"):
        place = os.path.basename(place).removesuffix(".py")
    model_type = place if function == default else function
    return re.sub(r"\W+", "_", model_type, flags=re.ASCII).strip("_") or "model"


def model_name(model_type: str, index: int, default: str = "model") -> str:
    """The NAME of model `index` (1…N), such as `cognate_planner_1`. `default`: as of `type_word`."""
    return f"cognate_{type_word(model_type, default)}_{index}"


def default_run_path(model_type: str, now: float | datetime, base: Path = Path("runs")) -> Path:
    """A path for a new run, such as `runs/20261123-150210-planner`; with `-2`, `-3`, … if that is taken.

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
    """The paths of one run. Constructing it touches no file."""

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
        """The settings file that the run was started with."""
        return self.path / "settings.toml"

    @property
    def label(self) -> Path:
        """The name and the note that the run was given, if any."""
        return self.path / LABEL

    @property
    def checkpoints(self) -> Path:
        """Contains one directory per model."""
        return self.path / "checkpoints"

    @property
    def commands(self) -> Path:
        """Commands for the runner."""
        return self.path / "commands"

    @property
    def logs(self) -> Path:
        """Output of the runner and of the models."""
        return self.path / "logs"

    @property
    def code(self) -> Path:
        """The copy of the run's custom code, if it has any."""
        return self.path / "code"

    @property
    def rooms(self) -> tuple[Path, Path, Path]:
        """The directories of every run."""
        return self.checkpoints, self.commands, self.logs

    @property
    def starting_log(self) -> Path:
        """Output of a start until there is a database; it becomes the runner's log."""
        return self.path / "starting.log"

    @property
    def lock(self) -> Path:
        """The lock, held while anyone trains here."""
        return self.path / "lock"

    def checkpoint_directory(self, name: str) -> Path:
        """The directory of the model's newest checkpoints."""
        return self.checkpoints / name

    def stem(self, name: str) -> Path:
        """The model's path without `.json` or `.safetensors`."""
        return self.path / name

    def json(self, name: str) -> Path:
        """The finished model's metadata."""
        return self.path / f"{name}.json"

    def weights(self, name: str) -> Path:
        """The finished model's weights."""
        return self.path / f"{name}.safetensors"

    def files(self, name: str) -> Path:
        """What the model's training function keeps there."""
        return self.checkpoint_directory(name) / FILES_OF_TRIAL

    def log(self, name: str) -> Path:
        """The output of a model, or of `runner`."""
        return self.logs / f"{name}.log"

    @classmethod
    def create_new(cls, model_type: str, now: float | datetime, base: Path = Path("runs")) -> RunDirectory:
        """Create a directory under the default name; two starts in the same second get different ones."""
        while True:
            directory = cls(default_run_path(model_type, now, base))
            directory.check_length()
            _make_parents(directory.path)
            try:
                os.mkdir(directory.path, 0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise directory_error(error, "create the run directory", directory.path) from error
            return directory

    def create(self) -> list[str]:
        """Create the directory and those in it (mode 0700); existing ones keep their mode.

        Returns what was made, relative to it. Raises `RunDirectoryError` if that fails, and for a directory of
        another user.
        """
        made = [ROOT] if self.make() else []
        return made + [room.name for room in self.rooms if _make_directory(room)]

    def make(self) -> bool:
        """Create only the directory itself; returns whether it was missing. Raises as `create`."""
        self.check_length()
        _make_parents(self.path)
        is_new = _make_directory(self.path)
        self.check_owner()
        return is_new

    def check_length(self) -> None:
        """Raise `RunDirectoryError` if the path is too long for the database in it."""
        length, most = path_bytes(self.path), LONGEST_DATABASE - len(f"/.{DATABASE}.01234567.tmp")
        if length > most:
            raise RunDirectoryError(
                f"{named(self.path)} has {length} bytes, and SQLite, which keeps a run's record, takes at most {most} "
                "here; choose a shorter path with --output"
            )

    def may_hold_run(self) -> bool:
        """Whether a run is here, or leftovers of a killed start or removal."""
        return any(os.path.lexists(self.path / name) for name in _SIGNS)

    def check_holds_run(self) -> None:
        """Raise `RunDirectoryError` unless a run of this user is here that can be continued."""
        self.check_owner()
        if os.path.lexists(self.database):
            return
        if os.path.lexists(self.path / REMOVED):
            raise RunDirectoryError(
                f"the run in {named(self.path)} was being deleted, and that was interrupted; `forge-tui rm "
                f"{named(self.path)}` finishes it"
            )
        if not self.may_hold_run():
            raise RunDirectoryError(f"{named(self.path)}: there is no run here; `forge-tui runs` lists the known ones")

    def check_owner(self) -> None:
        """Raise `RunDirectoryError` unless the directory exists and belongs to this user."""
        try:
            owner = os.stat(self.path).st_uid
        except OSError as error:
            raise directory_error(error, "use the run directory", self.path) from error
        if owner != os.geteuid():
            raise RunDirectoryError(
                f"{named(self.path)} belongs to another user (uid {owner}, you are {os.geteuid()}); "
                "choose a directory of your own with --output"
            )

    def check_writable(self) -> None:
        """Raise `RunDirectoryError` unless files can be made and renamed here."""
        self.check_owner()
        try:
            with half_written(self.path / "probe") as probe:
                descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    os.write(descriptor, b"\0" * 4096)
                finally:
                    os.close(descriptor)
                os.unlink(probe)
        except OSError as error:
            raise directory_error(error, "write in", self.path) from error

    def check_makeable(self) -> None:
        """Raise `RunDirectoryError` unless the directory, which does not exist yet, can be made and written in.

        To find out, it is made with its missing parents, and all of them are removed again.
        """
        self.check_length()
        missing = [place for place in (self.path, *self.path.parents) if not os.path.isdir(place)]
        made: list[Path] = []
        try:
            for place in reversed(missing):
                if _make_directory(place):
                    made.append(place)
            self.check_writable()
        finally:
            for place in reversed(made):
                with contextlib.suppress(OSError):  # another process has put something there meanwhile
                    place.rmdir()


def _make_parents(path: Path) -> None:
    for parent in reversed(path.parents):
        if not os.path.isdir(parent):
            _make_directory(parent)


def _make_directory(path: Path) -> bool:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise RunDirectoryError(f"{named(path)} is not a directory; choose another with --output") from None
        return False
    except OSError as error:
        raise directory_error(error, "create the directory", path) from error
    return True
