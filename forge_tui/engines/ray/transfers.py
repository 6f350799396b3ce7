"""The exchange of files with nodes that do not see the run directory.

A message of a worker is handled when the files that it names are written.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from forge_tui.engines.file_thread import FileThread
from forge_tui.engines.ray.frames import Message
from forge_tui.engines.ray.remote import RayWorker
from forge_tui.engines.ray.shipping import Manifest, Shipping


class Transmit(Protocol):
    """Sends a command about a worker to its node."""

    def __call__(self, worker: RayWorker, message: Message, data: bytes = b"", *, is_bulk: bool = False) -> None: ...


class Transfers:
    """Sends files to workers' nodes, and keeps what these send. Callbacks run in the selector's thread. Close it."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        directory: Path,
        keep: int,
        transmit: Transmit,
        problem: Callable[[str], None],
    ) -> None:
        """`keep`: how many checkpoints of a model are kept. `problem` gets what fails, in words."""
        self._files = FileThread(selector)
        self._shipping = Shipping(directory, keep)
        self._transmit, self._problem = transmit, problem

    def close(self) -> None:
        """End the thread."""
        self._files.close()

    def move(self, directory: Path) -> None:
        """Use the new place of the run directory."""
        self._files.do(lambda: self._shipping.move(directory), lambda _: None)

    def list_files(self, worker: RayWorker, data: Sequence[str], then: Callable[[Manifest | OSError], None]) -> None:
        """Find what a worker needs, with the files of `data`; then call `then`, unless it has ended."""

        def listed(manifest: Manifest | OSError) -> None:
            if worker.end is None:
                then(manifest)

        self._files.do(lambda: self._shipping.manifest(worker.jobs, data), listed)

    def give(self, worker: RayWorker, wanted: Message) -> None:
        """Send the piece of a file that a node asks for."""
        path, offset, is_data = wanted["path"], wanted["offset"], wanted["is_data"]

        def read(found: tuple[bytes, bool] | OSError) -> None:
            if worker.end is not None:
                return
            piece = {"do": "piece", "w": worker.id, "path": path}
            if isinstance(found, OSError):
                self._transmit(worker, {**piece, "failed": found.strerror or str(found)})
            else:
                self._transmit(worker, {**piece, "last": found[1]}, found[0], is_bulk=True)

        self._files.do(lambda: self._shipping.piece(path, offset, is_data=is_data), read)

    def keep(self, worker: RayWorker, message: Message, data: bytes) -> None:
        """Write a piece of a worker's file, then handle the worker's message behind it."""
        then: Message | None = message.get("then")

        def write() -> None:
            self._shipping.take(worker.id, worker.jobs, message, data)
            if then is not None and "kept" in then:
                self._shipping.prune(then["m"]["model"], then["kept"], then["m"]["attempt"], at_the_end=False)

        def written(error: OSError | None) -> None:
            if worker.end is not None:
                return
            if error is not None:
                self._not_kept(worker, message["path"], then, error)
            elif then is not None and then["a"] == "says":
                worker.on_message(worker, then["m"])

        self._files.do(write, written)

    def _not_kept(self, worker: RayWorker, path: str, then: Message | None, error: OSError) -> None:
        """Handle a file of a worker that cannot be written here, as the worker does with one that it cannot write."""
        words = f"{path} of {worker.name} cannot be written: {error.strerror or error}"
        said = {} if then is None else then.get("m", {})
        if "result" in said:
            worker.send({"command": "published", "index": said["result"], "refused": words, "errno": error.errno})
        else:
            self._problem(words)

    def settle(self, worker: RayWorker, kept: Mapping[str, Sequence[str]], then: Callable[[], None]) -> None:
        """Write what is left of a worker that has ended, and delete the checkpoints that are not `kept`; then call
        `then`, unless its node was lost meanwhile.
        """

        def settle() -> None:
            self._shipping.forget(worker.id)
            for job in worker.jobs:
                self._shipping.prune(job.model, kept.get(job.model, ()), job.attempt, at_the_end=True)

        def settled(error: OSError | None) -> None:
            if error is not None:
                self._problem(f"old checkpoints cannot be deleted: {error.strerror or error}")
            if worker.end is None:
                then()

        self._files.do(settle, settled)

    def forget(self, worker: RayWorker) -> None:
        """Remove what a lost worker has sent in part."""
        self._files.do(lambda: self._shipping.forget(worker.id), lambda _: None)
