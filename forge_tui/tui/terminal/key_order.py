"""Keys that arrive faster than they are answered: each waits until the one before it has been."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from textual.events import Key, Paste
from textual.message import Message

if TYPE_CHECKING:
    from textual.app import App

_LOST_SECONDS = 0.25
"""A widget that is removed while it answers a key never says so: the next keys wait this long for it at most."""


class KeyAnswered(Message):
    """Follows a key on its way from the focused widget up to the app, and so comes after all that the key has done."""


class KeyQueue:
    """Lets several keys that come at once (typed ahead, `tmux send-keys`) mean what they mean one by one.

    Textual aims a key at what has the focus when it arrives, and runs actions only once the key has come all the way up
    to the app. Of `/` and a letter in one burst the letter would be a command of the screen instead of the filter's
    text; after Backspace in an input line, what was typed later would be deleted.
    """

    def __init__(self, app: App[Any], deliver: Callable[[Key | Paste], Awaitable[None]]) -> None:
        """`deliver` gives a key to what has the focus. The app calls `answer_next` on `KeyAnswered`."""
        self._app, self._deliver = app, deliver
        self._typed_ahead: deque[Key | Paste] = deque()
        self._giving_up: asyncio.TimerHandle | None = None

    async def put(self, event: Key | Paste) -> None:
        """Deliver a key now, or once those before it are answered."""
        if self._giving_up is not None:
            self._typed_ahead.append(event)
        else:
            await self._answer(event)

    def clear(self) -> None:
        """Drop the keys that wait."""
        self._typed_ahead.clear()

    async def answer_next(self) -> None:
        """The last key was answered: deliver the next."""
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if self._typed_ahead:
            await self._answer(self._typed_ahead.popleft())

    async def _answer(self, event: Key | Paste) -> None:
        app = self._app
        self._giving_up = asyncio.get_running_loop().call_later(_LOST_SECONDS, app.post_message, KeyAnswered())
        target = app.focused or app.screen
        await self._deliver(event)
        target.post_message(KeyAnswered())
