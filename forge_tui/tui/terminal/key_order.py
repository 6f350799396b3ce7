"""Keys that arrive faster than they are answered: each waits until the one before it has been."""

from __future__ import annotations

import asyncio
from collections import deque

from textual.app import App
from textual.events import Event, Key, Paste
from textual.message import Message

_LOST_SECONDS = 0.25
"""A widget that is removed while it answers a key never says so: the next keys wait this long for it at most."""


class KeyAnswered(Message):
    """Follows a key on its way from the focused widget up to the app, and so comes after all that the key has done."""


class KeysInTurn(App[int]):
    """An app in which several keys that come at once (typed ahead, `tmux send-keys`) mean what they mean one by one.

    Textual aims a key at what has the focus when it arrives, and runs actions only once the key has come all the way up
    to the app. Of `/` and a letter in one burst the letter would be a command of the screen instead of the filter's
    text; after Backspace in an input line, what was typed later would be deleted.
    """

    def __init__(self) -> None:
        super().__init__()
        self._typed_ahead: deque[Key | Paste] = deque()
        self._giving_up: asyncio.TimerHandle | None = None

    async def on_event(self, event: Event) -> None:
        """Let a key wait for its turn."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self.drops(event):
            return
        elif self._giving_up is not None:
            self._typed_ahead.append(event)
        else:
            await self._answer(event)

    def drops(self, event: Key | Paste) -> bool:
        """Whether a key or a paste is not to be answered at all, for it would mean something else by then."""
        return False

    def forget_typed_ahead(self) -> None:
        """Drop the keys that wait for their turn: another screen comes that nobody has asked for by a key."""
        self._typed_ahead.clear()

    def on_key_answered(self) -> None:
        """Go on with the next key, after what the last one has put off (a change of the focus)."""
        self.call_later(self._next_key)

    async def _answer(self, event: Key | Paste) -> None:
        self._giving_up = asyncio.get_running_loop().call_later(_LOST_SECONDS, self.post_message, KeyAnswered())
        target = self.focused or self.screen
        await super().on_event(event)
        target.post_message(KeyAnswered())

    async def _next_key(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if self._typed_ahead:
            await self._answer(self._typed_ahead.popleft())
