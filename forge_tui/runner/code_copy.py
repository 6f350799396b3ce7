"""The runner's management of a run's custom code: the copy that workers import, and changes of the originals."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from forge_tui.errors import ChangedError, ForgeError, RunDirectoryError
from forge_tui.protocol.job import Job
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runner.code_closure import Closure, closure
from forge_tui.runs import trust
from forge_tui.runs.code import (
    SUFFIX,
    CodeRecord,
    check_path,
    code_paths,
    is_below,
    is_installed,
    label_of,
    labels_for,
    outermost,
    read_code_file,
    read_copies,
    recorded_code,
    sha256,
    write_copies,
)
from forge_tui.runs.layout import RunDirectory
from forge_tui.safe_io.whole_files import directory_error
from forge_tui.settings.own_names import named_function
from forge_tui.settings.schema import Settings

NONE = CodeRecord()
_NOWHERE = Path()
_NAMED = 5


class Code:
    """The custom code of one run: a copy that is made before any of it is imported.

    Until the run has begun, a new copy is in a temporary directory; `keep` moves it into the run directory.
    """

    def __init__(
        self,
        record: CodeRecord = NONE,
        place: Path = _NOWHERE,
        new: Mapping[str, bytes] | None = None,
        directories: Sequence[str] = (),
        before: CodeRecord = NONE,
    ) -> None:
        """`place` contains `code/`. `new`: the content of files still to be kept, by their original paths below one of
        `directories`; `before`: the run's earlier record.
        """
        self.record = record
        self._place = place
        self._new = None if new is None else dict(new)
        self._directories, self._before = directories, before
        self.notices: list[str] = []
        """Warnings for the start of the run."""
        self.changes_accepted = False
        self.made: list[str] = []
        """Paths created in the run directory: files, then their directories."""

    @classmethod
    def of_new(cls, settings: Settings, stack: contextlib.ExitStack) -> Code:
        """The code of a new run, a check or a plan; `stack` removes what is not kept. Raises `SettingsError`."""
        found = _closure(settings)
        return cls._fresh(found, _directories(settings), NONE, stack)

    @classmethod
    def of_earlier(
        cls,
        directory: RunDirectory,
        info: RunInfo,
        settings: Settings,
        stack: contextlib.ExitStack,
        *,
        accept_changes: bool,
    ) -> Code:
        """The code of a resumed run: its copy, or with `accept_changes` the present code if it differs.

        Raises `ChangedError` if the copy differs from the record, `SettingsError` as `of_new`.
        """
        record = recorded_code(info)
        if not trust.functions_of(settings):
            return cls(record, directory.path)
        if not record.roots:
            code = cls.of_new(settings, stack)
            code.notices.append(
                f"the run was started by version {info.version or '0.1.0'}, which kept no copy of its code: the "
                f"present code is copied now ({len(code.record.files)} files)"
            )
            return code
        if accept_changes and (changed := cls._changed(directory, record, settings)) is not None:
            code = cls._fresh(changed, _directories(settings), record, stack)
            names = files_in_words(_differences(record, changed.files)) or "the copy was damaged"
            code.changes_accepted = True
            code.notices.append(
                f"the run continues with other code ({names}), as --accept-changes asks: from here on no model is exact"
            )
            return code
        read_copies(directory.code, record.current().files)
        return cls(record, directory.path)

    @classmethod
    def _fresh(cls, found: Closure, directories: list[str], before: CodeRecord, stack: contextlib.ExitStack) -> Code:
        """A new copy, with new labels beside those of `before`."""
        if not directories:
            return cls(before)  # nothing is imported
        record = _recorded(found.files, directories, found.modules, before, ())
        try:
            place = Path(tempfile.mkdtemp(prefix="forge-tui-code-"))
        except OSError as error:
            raise directory_error(
                error, "copy the run's code to", "a directory for temporary files (TMPDIR)"
            ) from error
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        write_copies(place / "code", _by_path(record, found.files))
        return cls(record, place, found.files, directories, before)

    @staticmethod
    def _changed(directory: RunDirectory, record: CodeRecord, settings: Settings) -> Closure | None:
        """The present code if it differs from the copy; None if it does not, or no longer exists."""
        named = [place for texts in trust.functions_of(settings).values() for text in texts if (place := _file(text))]
        if not all(os.path.isfile(place) for place in named):
            return None
        found = _closure(settings)
        current = record.current()
        try:
            read_copies(directory.code, current.files)
        except ChangedError:
            return found
        # Files that are only imported at run time are in the record, but not found by parsing.
        return found if _differences(record, found.files) or found.modules != dict(record.modules) else None

    # --- for workers

    def job(self, job: Job) -> Job:
        """A job whose worker imports the copy."""
        if not self.record.roots:
            return job
        current = self.record.current()
        return replace(
            job,
            directory=str(self._place),
            code=dict(current.files),
            code_roots=dict(current.roots),
            code_modules=dict(current.modules),
        )

    def answer(self, file: str) -> tuple[dict[str, Any], bool]:
        """The answer to a worker that imports a file for the first time, and whether the file was copied now.

        From then on every worker imports that copy.
        """
        known = self.record.originals().get(file)
        answer: dict[str, Any] = {"command": "code", "file": file}
        if known is not None:
            return {**answer, "path": known, "sha256": self.record.files[known]}, False
        try:
            path, content = self._path_for(file), read_code_file(file)
            write_copies(self._place / "code", {path: content})
        except (OSError, ForgeError) as error:
            why = getattr(error, "strerror", None) or error
            return {**answer, "refused": f"{file} cannot be copied with the run's code: {why}"}, False
        if self._new is not None:
            self._new[file] = content
        self.record = replace(self.record, files={**self.record.files, path: sha256(content)})
        return {**answer, "path": path, "sha256": sha256(content)}, True

    def _path_for(self, file: str) -> str:
        """The recorded path of a file. Raises `RunDirectoryError` if it is not custom code."""
        for label, root in self.record.current().roots.items():
            if is_below(file, root) and not is_installed(file):
                return check_path(f"{label}/{os.path.relpath(file, root).replace(os.sep, '/')}")
        raise RunDirectoryError("it is not below a directory of the run's code")

    def not_copied(self, files: Iterable[str]) -> None:
        """Record files that a worker has loaded from their original places."""
        self.notices += [
            f"{file} is loaded from its original place, not from a copy (it is compiled, or loaded by its path): "
            "changes of it affect models that start later"
            for file in files
        ]

    # --- for the run's record

    def settle(self, directory: RunDirectory) -> dict[str, str]:
        """Choose the place of a new copy in the run directory; nothing is created yet.

        Returns the SHA-256 of each file by its path in the run directory.
        """
        if self._new is None:
            return {}
        there = set(os.listdir(directory.code)) if directory.code.is_dir() else set()
        self.record = _recorded(self._new, self._directories, self.record.modules, self._before, there)
        return {f"code/{path}": known for path, known in self.record.current().files.items()}

    def keep(self, directory: RunDirectory) -> None:
        """Write a new copy to the place chosen by `settle`. Raises `RunDirectoryError`."""
        if self._new is None:
            return
        paths = code_paths(self.record.current().files)
        self.made = [path for path in paths if not os.path.lexists(directory.path / path)]
        write_copies(directory.code, _by_path(self.record, self._new))
        shutil.rmtree(self._place, ignore_errors=True)
        self._place, self._new = directory.path, None

    def take_back(self, directory: RunDirectory) -> None:
        """Remove the files of `keep` from the run directory: the run did not begin."""
        for path in self.made:
            place = directory.path / path
            with contextlib.suppress(OSError):  # foreign files were added, or it was removed
                place.rmdir() if place.is_dir() else place.unlink()

    def in_record(self, info: RunInfo) -> RunInfo:
        """The run's record with the code in it."""
        return replace(
            info,
            code=dict(self.record.files),
            code_roots=dict(self.record.roots),
            code_modules=dict(self.record.modules),
        )

    @property
    def digest(self) -> str | None:
        """A digest of the code; None if there is none, or its files are unknown."""
        current = self.record.current()
        if not current.files and not current.modules:
            return None
        files = sorted((path.partition("/")[2], known) for path, known in current.files.items())
        return hashlib.sha256(json.dumps([files, sorted(current.modules.items())]).encode()).hexdigest()


def keep_trusted(info: RunInfo) -> str:
    """Trust a run's extended code; returns a problem as the rest of a sentence, or an empty text."""
    try:
        trust.record(info)
    except RunDirectoryError as error:
        return f"; {error}: a resume will need --trust-code"
    return ""


def _closure(settings: Settings) -> Closure:
    functions = [text for texts in trust.functions_of(settings).values() for text in texts]
    return closure(functions, settings.run.python_path) if functions else Closure()


def _directories(settings: Settings) -> list[str]:
    """The directories that custom code is imported from; empty if the settings name none."""
    texts = [text for texts in trust.functions_of(settings).values() for text in texts]
    if not texts:
        return []
    files = [os.path.abspath(place) for text in texts if (place := _file(text))]
    return outermost([*settings.run.python_path, *map(os.path.dirname, files)])


def _file(text: str) -> str | None:
    """The `.py` file that a setting names, if it names one."""
    named = named_function(text)
    return named[0] if named is not None and named[0].endswith(SUFFIX) else None


def _recorded(
    files: Mapping[str, bytes],
    directories: Iterable[str],
    modules: Mapping[str, str],
    before: CodeRecord,
    taken: Iterable[str],
) -> CodeRecord:
    """The record of these files, beside those of `before`."""
    labels = labels_for(directories, {*taken, *before.roots, *map(label_of, before.files)})
    found = dict(before.files)
    for label, root in labels.items():
        for file, content in files.items():
            if is_below(file, root):
                found[f"{label}/{os.path.relpath(file, root).replace(os.sep, '/')}"] = sha256(content)
    return CodeRecord(found, {**before.roots, **labels}, dict(modules))


def _by_path(record: CodeRecord, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: files[file] for file, path in record.originals().items()}


def _differences(record: CodeRecord, files: Mapping[str, bytes]) -> list[str]:
    """The files that differ between the run's copy and now; files found only at run time count if they still exist."""
    before = {file: record.files[path] for file, path in record.originals().items()}
    now = {file: sha256(content) for file, content in files.items()}
    for file in before.keys() - now.keys():
        if (digest := digest_of(file)) is not None:
            now[file] = digest
    return sorted(file for file in before.keys() | now.keys() if before.get(file) != now.get(file))


def files_in_words(files: Sequence[str]) -> str:
    """The names of a few files, and the number of others."""
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return ", ".join(files[:_NAMED]) + more


def digest_of(file: str) -> str | None:
    """SHA-256 of a file of code; None if it cannot be read."""
    try:
        return sha256(read_code_file(file))
    except OSError:
        return None
