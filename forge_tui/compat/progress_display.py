"""Progress of `CognateCreator(progress=True)`: an element in a notebook's cell, else bars or lines on stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from forge_tui.batch.progress import progress
from forge_tui.client.notebook import snapshot_html
from forge_tui.protocol.snapshot import Snapshot

Show = Callable[[Snapshot], None]


@contextmanager
def progress_display() -> Iterator[Show]:
    """A function that shows a snapshot in place of the one before.

    It may be called from any thread, and does nothing after the end, or once there is nobody to show it to.
    """
    lock, is_open = threading.Lock(), True

    with _in_cell() if _is_notebook() else _on_stderr() as show:

        def show_while_open(snapshot: Snapshot) -> None:
            nonlocal is_open
            with lock:
                if not is_open:
                    return
                try:
                    show(snapshot)
                except OSError:  # stderr is closed: training continues
                    is_open = False

        try:
            yield show_while_open
        finally:
            with lock:
                is_open = False


@contextmanager
def _on_stderr() -> Iterator[Show]:
    with progress(sys.stderr) as show:
        yield lambda snapshot: show(snapshot, ())


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook; IPython in a terminal is none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def _in_cell() -> Iterator[Show]:
    """In the output of the cell that is executed now."""
    from IPython.display import HTML, display

    handle: Any = display(HTML("<div>starting…</div>"), display_id=True)
    shown = ""

    def show(snapshot: Snapshot) -> None:
        nonlocal shown
        html = snapshot_html(snapshot)
        if html != shown:
            shown = html
            handle.update(HTML(html))

    yield show
