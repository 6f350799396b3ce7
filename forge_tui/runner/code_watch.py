"""Reports edits of a run's code during training; the models use the copy."""

from __future__ import annotations

import contextlib
import os
import queue
import threading

from forge_tui.runner.code_copy import Code, digest_of, files_in_words

LOOK_SECONDS = 5.0

_Mark = tuple[int, int, int]


class CodeWatch:
    """Checks the originals at intervals in a separate thread, because a file system may block. Reports each once."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._marks: dict[str, _Mark | None] = {}
        self._reported: set[str] = set()
        self._found = queue.SimpleQueue[str]()
        self._end = threading.Event()

    def start(self) -> None:
        """Check now, and then every few seconds."""
        if self._code.record.roots:
            self.look()
            threading.Thread(target=self._watch, name="code watch", daemon=True).start()

    def close(self) -> None:
        """Stop checking."""
        self._end.set()

    def news(self) -> list[str]:
        """The reports since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._found.get_nowait())
        return found

    def look(self) -> None:
        """Compare files touched since the last check with the copy."""
        record = self._code.record
        found = {file: digest for file in record.originals() if (digest := self._touched(file)) != _UNTOUCHED}
        different = [file for file, digest in found.items() if digest != record.files[record.originals()[file]]]
        self._reported.update(different)
        edited = [file for file in different if found[file] is not None]
        if edited:
            self._found.put(
                f"code was changed after the start of the run: {files_in_words(edited)}. Its models are still trained "
                "with the copy in code/; `forge-tui resume RUN --accept-changes` uses the code as it is "
                "then"
            )
        gone = [file for file in different if found[file] is None]
        if gone:
            self._found.put(
                f"code was moved or deleted: {files_in_words(gone)}. The run's models are trained with the copy in "
                "code/"
            )

    def _touched(self, file: str) -> str | None:
        """The SHA-256 of a file that was touched, None of one that is gone; `_UNTOUCHED` of all others."""
        is_first, before, mark = file not in self._marks, self._marks.get(file), _mark_of(file)
        self._marks[file] = mark
        if file in self._reported or (mark is not None and mark == before):
            return _UNTOUCHED
        if mark is None and before is not None and not is_first:
            return _UNTOUCHED  # an editor may be replacing it
        return digest_of(file)

    def _watch(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self.look()


_UNTOUCHED = ""


def _mark_of(file: str) -> _Mark | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
