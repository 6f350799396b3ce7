"""A node's copies of a run's files, where it does not see the run directory: fetched from the runner, sent back to it.

Data and code are kept by their SHA-256, once per node; checkpoints are fetched for each worker. All of it is in a
temporary directory of this node, which is removed when the agent ends, however it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from forge_tui.engines.ray.frames import Message
from forge_tui.engines.ray.outbox import Outbox
from forge_tui.engines.ray.outgoing import Outgoing
from forge_tui.protocol.job import Job
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.names import is_inside, result_names, step_and_attempt

# Removes the files when the agent ends. It is no child of the agent, because Ray kills the children; the shell gives a
# background process no standard input, hence the copy.
_JANITOR = 'exec 3<&0; (cat <&3 >/dev/null; sleep 1; rm -rf "$0") >/dev/null 2>&1 &'


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that a worker needs: `path` in the run directory, or the absolute path of data; its SHA-256, if known."""

    path: str
    sha256: str | None
    is_data: bool = False


@dataclass(slots=True, eq=False)
class _Order:
    """Files to fetch in order, and what to do then."""

    worker: int
    files: deque[Wanted]
    then: Callable[[str | None], None]
    """Gets why they could not be fetched, or None."""
    part: BinaryIO | None = None
    received: int = 0


class NodeFiles:
    """Fetches and sends files. For the agent's thread; `outgoing` gives pieces to any."""

    def __init__(self, outbox: Outbox, run: str) -> None:
        self.outgoing = Outgoing()
        self._outbox = outbox
        outbox.source = self.outgoing.next_frame
        self._base = Path(tempfile.mkdtemp(prefix="forge-node-"))
        self._janitor = subprocess.Popen(
            ["sh", "-c", _JANITOR, str(self._base)], stdin=subprocess.PIPE, start_new_session=True
        )
        self.directory = RunDirectory(self._base / run)
        self.directory.create()
        self._store = self._base / "store"
        self._store.mkdir()
        self._orders: deque[_Order] = deque()

    def close(self) -> None:
        """Remove all files; also done when this process is killed."""
        assert self._janitor.stdin is not None
        self._janitor.stdin.close()
        self._janitor.wait()

    # --- from the runner

    def fetch(self, worker: int, files: Sequence[Wanted], then: Callable[[str | None], None]) -> None:
        """Fetch what is not here yet; then call `then`."""
        self._orders.append(_Order(worker, deque(files), then))
        if len(self._orders) == 1:
            self._go_on()

    def take(self, message: Message, data: bytes) -> None:
        """Handle a piece of the file that was asked for last, or why there is none (`failed`)."""
        order = self._orders[0] if self._orders else None
        if order is None or not order.files or message["path"] != order.files[0].path:
            return  # of an order that has failed
        wanted = order.files[0]
        try:
            if message.get("failed") is not None:
                raise OSError(None, message["failed"])
            assert order.part is not None
            order.part.write(data)
            order.received += len(data)
            if message["last"]:
                self._complete(order, wanted)
        except OSError as error:
            self._fail(order, f"{wanted.path} could not be sent to its node: {error.strerror or error}")
            return
        self._go_on()

    def _go_on(self) -> None:
        """Ask for the next piece; carry out orders that need nothing more."""
        while self._orders:
            order = self._orders[0]
            try:
                self._skip_known(order)
                if order.files:
                    wanted = order.files[0]
                    if order.part is None:
                        order.part, order.received = open(self._place(wanted, part=True), "wb"), 0  # noqa: SIM115
                    self._ask(order, wanted)
                    return
            except OSError as error:
                self._fail(order, f"its node cannot keep the run's files: {error.strerror or error}")
                continue
            self._orders.popleft()
            order.then(None)

    def _ask(self, order: _Order, wanted: Wanted) -> None:
        want = {"a": "want", "w": order.worker, "path": wanted.path, "offset": order.received}
        self._outbox.put({**want, "is_data": wanted.is_data})

    def _fail(self, order: _Order, why: str) -> None:
        if order.part is not None:
            order.part.close()
        self._orders.popleft()
        order.then(why)
        self._go_on()

    def _skip_known(self, order: _Order) -> None:
        while order.files and order.part is None:
            wanted = order.files[0]
            if wanted.sha256 is None or not self._kept(wanted.sha256).exists():
                return
            self._put(wanted)
            order.files.popleft()

    def _complete(self, order: _Order, wanted: Wanted) -> None:
        assert order.part is not None
        order.part.close()
        order.part = None
        part = self._place(wanted, part=True)
        if wanted.sha256 is None:
            os.replace(part, self._place(wanted))
        else:
            with part.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != wanted.sha256:
                part.unlink()
                raise OSError(None, "it was changed meanwhile")
            os.replace(part, self._kept(wanted.sha256))
            self._put(wanted)
        order.files.popleft()

    def _kept(self, sha256: str) -> Path:
        return self._store / sha256

    def _put(self, wanted: Wanted) -> None:
        """Have a kept file at its place, too; data is read where it is kept."""
        if wanted.is_data or wanted.sha256 is None:
            return
        place = self._place(wanted)
        if not place.exists():
            os.link(self._kept(wanted.sha256), place)

    def _place(self, wanted: Wanted, *, part: bool = False) -> Path:
        if wanted.is_data:
            return self._base / "data.part"
        if not is_inside(wanted.path):
            raise OSError(None, f"{wanted.path} is not inside the run directory")
        place = self.directory.path / wanted.path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place.with_name(f".{place.name}.part") if part else place

    def here(self, job: Job, data: Mapping[str, str]) -> Job:
        """The job with this node's copies. `data`: SHA-256 of the data's files by their original paths."""
        copies = {original: str(self._named(original, sha256)) for original, sha256 in data.items()}
        return replace(job, directory=str(self.directory.path), place=None, copies=copies, data=_known(job, copies))

    def _named(self, original: str, sha256: str) -> Path:
        """A kept file under a name with the original's ending, by which it is read."""
        place = self._base / "data" / sha256 / os.path.basename(original)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(self._kept(sha256), place)
        return place

    def clear(self, jobs: Sequence[Job]) -> None:
        """Remove what earlier attempts at these models have left here: the runner's files count."""
        for job in jobs:
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(self.directory.checkpoint_directory(job.model)):
                    place = self.directory.checkpoint_directory(job.model) / name
                    if place.is_file():
                        place.unlink()

    # --- to the runner

    def outward(self, job: Job, message: dict[str, Any]) -> dict[str, Any]:
        """A worker's message with the place of its file in the run directory, instead of that here."""
        path = message.get("path")
        if not isinstance(path, str) or not path.startswith(f"{self.directory.path}/"):
            return message
        return {**message, "path": f"{job.directory}{path.removeprefix(str(self.directory.path))}"}

    def send(self, worker: int, job: Job, message: dict[str, Any]) -> bool:
        """Send a worker's message behind the files that it names; returns whether it names any."""
        says: Message = {"a": "says", "w": worker, "m": self.outward(job, message)}
        checkpoints = self.directory.checkpoint_directory(job.model)
        if message.get("event") == "checkpoint_saved":
            place = Path(message["path"])
            says["kept"] = self.kept(job.model)
            path = f"checkpoints/{job.model}/{place.name}"
            return self._queue(worker, place, path, says, replaces=job.model)
        if "result" in message:
            names = [name for name in result_names(message["attempt"]) if (checkpoints / name).exists()]
            for number, name in enumerate(names):
                then = says if number == len(names) - 1 else {"a": "sent", "w": worker}
                self._queue(worker, checkpoints / name, f"checkpoints/{job.model}/{name}", then)
            return bool(names)
        return False

    def send_behind(self, worker: int, message: Message) -> None:
        """Send a message behind all files of the worker."""
        self._queue(worker, None, "", message)

    def _queue(self, worker: int, place: Path | None, path: str, then: Message, replaces: str | None = None) -> bool:
        is_queued = self.outgoing.add(worker, place, path, then, replaces)
        self._outbox.poke()
        return is_queued

    def kept(self, model: str) -> list[str]:
        """The names of the model's checkpoints here."""
        try:
            names = os.listdir(self.directory.checkpoint_directory(model))
        except FileNotFoundError:
            return []
        return sorted(name for name in names if step_and_attempt(name) is not None)


def _known(job: Job, copies: Mapping[str, str]) -> dict[str, Any] | None:
    """The fingerprint of the job's data, of a copy whose SHA-256 was verified: it is not hashed for each worker."""
    if job.data is None or job.data.get("file") is None or job.data["file"]["path"] not in copies:
        return job.data
    place = copies[job.data["file"]["path"]]
    found = os.stat(place)
    file = {"path": place, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino}
    return {**job.data, "file": file}
