#!/usr/bin/env bash
# textual 8.2.8: two sizes of the terminal in quick succession.
# Guess: the screen is laid out for the first, then for the second, and that is all.
# Seen:  each layout posts the screen a Resize of its own size, for which it is laid out again: the two alternate for ever.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'textual==8.2.8'
cat >"$work/see.py" <<'PY'
import asyncio
import os
import threading
from importlib.metadata import version

from textual.app import App
from textual.events import Resize
from textual.geometry import Size
from textual.screen import Screen

SIZES = (Size(80, 24), Size(100, 30))
seen = []


class Main(Screen):
    def on_resize(self, event):
        seen.append(tuple(event.size))
        self.call_after_refresh(lambda: None)  # between two sizes, which are merged otherwise


class Alternating(App):
    def get_default_screen(self):
        return Main()


def look():
    """In a thread: the event loop does nothing else any more."""
    print("textual", version("textual"))
    print(len(seen), "sizes in two seconds, the last ones", seen[-4:], flush=True)
    os._exit(len(seen) <= 50)  # 1: no longer as found; nothing else ends it


async def main():
    app = Alternating()
    async with app.run_test(size=SIZES[1]) as pilot:
        await pilot.pause()
        seen.clear()
        threading.Timer(2.0, look).start()
        for size in SIZES:
            app.screen.post_message(Resize(size, size))
            app.screen.call_later(lambda: None)
        await asyncio.sleep(60.0)


asyncio.run(main())
PY
cd "$work"
venv/bin/python see.py
