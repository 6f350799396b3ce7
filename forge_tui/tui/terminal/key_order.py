"""Delivers keys one by one: each waits until the previous one has been handled."""

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
"""A widget that is removed while it handles a key never reports it: the next keys wait at most this long."""


class KeyAnswered(Message):
    """Follows a key from the focused widget up to the app, and so arrives after the key's effects."""


class KeyQueue:
    """Makes several keys at once (typed ahead, `tmux send-keys`) work as if typed one by one.

    Textual sends a key to the focused widget at its arrival, and runs actions only after the key has bubbled up to the
    app. With `/` and a letter in one burst the letter would be a command of the screen instead of filter text; after
    Backspace in an input line, later text would be deleted.
    """

    def __init__(self, app: App[Any], deliver: Callable[[Key | Paste], Awaitable[None]]) -> None:
        """`deliver` passes a key to the focused widget. The app calls `answer_next` on `KeyAnswered`."""
        self._app, self._deliver = app, deliver
        self._typed_ahead: deque[Key | Paste] = deque()
        self._giving_up: asyncio.TimerHandle | None = None

    async def put(self, event: Key | Paste) -> None:
        """Deliver a key now, or after the previous ones are handled."""
        if self._giving_up is not None:
            self._typed_ahead.append(event)
        else:
            await self._answer(event)

    def clear(self) -> None:
        """Drop the waiting keys."""
        self._typed_ahead.clear()

    async def answer_next(self) -> None:
        """Deliver the next key: the last one was handled."""
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
