"""Connects the websockets of browsers with sessions, within the limits, and says why a session has ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from forge_tui.serve.limits import Limits
from forge_tui.serve.packets import PacketError
from forge_tui.serve.session import Session, SessionError

_ENDED = "The session has ended. Runs continue."
_UNKNOWN = "the page sent a message that is not known here"


class Bridge:
    """The open sessions of a server."""

    def __init__(self, command: Sequence[str], limits: Limits) -> None:
        """`command`: the program of a session."""
        self._command, self._limits = tuple(command), limits
        self._open: set[asyncio.Task[str]] = set()
        self._admitted = 0
        self._closing = False

    async def carry(self, request: web.Request) -> web.WebSocketResponse:
        """Carry one session until it ends. The request has been admitted."""
        size = self._limits.fit(_number(request, "width", 80), _number(request, "height", 24))
        websocket = web.WebSocketResponse(
            heartbeat=self._limits.heartbeat, max_msg_size=self._limits.message, compress=False
        )
        await websocket.prepare(request)
        if self._closing or self._admitted >= self._limits.sessions:
            why = "The server is ending." if self._closing else self._full()
            await _say(websocket, why, WSCloseCode.TRY_AGAIN_LATER)
            return websocket
        self._admitted += 1
        session = Session(self._command, self._limits)
        try:
            words = await self._until_it_ends(session, websocket, size)
            await _say(websocket, words, WSCloseCode.OK)
        finally:
            await asyncio.shield(asyncio.create_task(self._release(session)))
        return websocket

    async def _release(self, session: Session) -> None:
        try:
            await session.end()
        finally:
            self._admitted -= 1

    def _full(self) -> str:
        return f"{self._limits.sessions} sessions are open, and more are not: q ends one of them."

    async def close(self) -> None:
        """End all sessions, and begin no more."""
        self._closing = True
        for task in list(self._open):
            task.cancel()
        while self._admitted:
            await asyncio.sleep(0.02)

    async def _until_it_ends(self, session: Session, websocket: web.WebSocketResponse, size: tuple[int, int]) -> str:
        """Carry keys and screens until one side ends; returns the words for the page."""
        try:
            await session.start(*size)
        except OSError as error:
            return f"No session: the UI's process cannot be started ({error.strerror or error})."
        both = {
            asyncio.create_task(self._screen_to(websocket, session)),
            asyncio.create_task(self._keys_from(websocket, session)),
        }
        self._open |= both
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            self._open -= both
        for task in done:
            if task.cancelled():
                return "The server has ended. Runs continue."
            return task.result()
        return _ENDED

    async def _screen_to(self, websocket: web.WebSocketResponse, session: Session) -> str:
        """Send what the UI draws, as fast as the browser takes it; the UI waits for a slow one."""
        try:
            async for part in session.screen():
                await asyncio.wait_for(websocket.send_bytes(part), self._limits.send)
        except TimeoutError:
            return f"The session was ended: this page took nothing for {self._limits.send:g} s. Runs continue."
        except (SessionError, PacketError) as error:
            return _with_output(f"The session has ended: {error}. Runs continue.", session)
        except (ConnectionError, RuntimeError):  # the browser has gone
            return _ENDED
        return _with_output(_ENDED, session)

    async def _keys_from(self, websocket: web.WebSocketResponse, session: Session) -> str:
        """Pass what the page sends until it goes."""
        while True:
            try:
                message = await websocket.receive(timeout=self._limits.idle)
            except TimeoutError:
                return f"The session was ended after {self._limits.idle / 3600:g} h without a key. Runs continue."
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return _ENDED
            if message.type != WSMsgType.TEXT:
                return f"The session was ended: {_UNKNOWN}. Runs continue."
            try:
                await self._pass_on(message.data, websocket, session)
            except SessionError as error:
                return f"The session was ended: {error}. Runs continue."
            except (ConnectionError, RuntimeError):
                return _ENDED

    async def _pass_on(self, text: str, websocket: web.WebSocketResponse, session: Session) -> None:
        """Pass one message of textual-serve's page: [type, value]. Raises `SessionError` for anything else."""
        match _parsed(text):
            case ["stdin", str(keys)]:
                session.type(keys)
            case ["resize", {"width": int(columns), "height": int(rows)}]:
                session.resize(*self._limits.fit(columns, rows))
            case ["focus"]:
                session.focus(True)
            case ["blur"]:
                session.focus(False)
            case ["ping", str(moment)]:
                await asyncio.wait_for(websocket.send_str(json.dumps(["pong", moment])), self._limits.send)
            case _:
                raise SessionError(_UNKNOWN)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _number(request: web.Request, name: str, otherwise: int) -> int:
    text: str = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else otherwise


def _with_output(words: str, session: Session) -> str:
    return f"{words}\n\n{session.last_output}" if session.last_output else words


async def _say(websocket: web.WebSocketResponse, words: str, code: int) -> None:
    """Tell the page why the session has ended, and close it; a page that is gone, or reads nothing, is left."""
    with contextlib.suppress(ConnectionError, RuntimeError, TimeoutError):
        async with asyncio.timeout(1.0):
            await websocket.send_str(json.dumps(["ended", words]))
            await websocket.close(code=code)
