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
    from textual.message_pump import MessagePump

_LOST_SECONDS = 0.25
"""How often to look whether the widget that handles a key is still there."""


class KeyAnswered(Message):
    """Follows a key from the focused widget up to the app, and so arrives after the key's effects."""

    def __init__(self, number: int) -> None:
        """`number`: of the key."""
        super().__init__()
        self.number = number


class KeyQueue:
    """Makes several keys at once (typed ahead, `tmux send-keys`) work as if typed one by one.

    Textual sends a key to the focused widget at its arrival, and runs actions only after the key has bubbled up to the
    app. With `/` and a letter in one burst the letter would be a command of the screen instead of filter text; after
    Backspace in an input line, later text would be deleted.

    A widget that is removed while it handles a key never reports it. So as long as no report comes, the widget is asked
    again from time to time: one that is only slow keeps its turn, and one that is gone gives it up.
    """

    def __init__(self, app: App[Any], deliver: Callable[[Key | Paste], Awaitable[None]]) -> None:
        """`deliver` passes a key to the focused widget. The app calls `answered` on `KeyAnswered`."""
        self._app, self._deliver = app, deliver
        self._typed_ahead: deque[Key | Paste] = deque()
        self._number = 0
        self._asking: asyncio.TimerHandle | None = None
        """Of the key that is being handled; None: there is none."""

    async def put(self, event: Key | Paste) -> None:
        """Deliver a key now, or after the previous ones are handled."""
        if self._asking is not None:
            self._typed_ahead.append(event)
        else:
            await self._handle(event)

    def clear(self) -> None:
        """Drop the waiting keys."""
        self._typed_ahead.clear()

    def answered(self, number: int) -> None:
        """Deliver the next key after deferred effects of this one (a change of focus)."""
        if self._asking is not None and number == self._number:
            self._asking.cancel()
            self._number += 1  # further reports of the same key count no more
            self._app.call_later(self._next)

    async def _next(self) -> None:
        self._asking = None
        if self._typed_ahead:
            await self._handle(self._typed_ahead.popleft())

    async def _handle(self, event: Key | Paste) -> None:
        target, number = self._app.focused or self._app.screen, self._number
        self._ask_later(target, number)
        await self._deliver(event)
        target.post_message(KeyAnswered(number))

    def _ask_later(self, target: MessagePump, number: int) -> None:
        self._asking = asyncio.get_running_loop().call_later(_LOST_SECONDS, self._ask, target, number)

    def _ask(self, target: MessagePump, number: int) -> None:
        if target.post_message(KeyAnswered(number)):
            self._ask_later(target, number)
        else:
            self.answered(number)
