"""Sessions and their limits: with processes that speak the protocol well and badly instead of the UI."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
import fake_session
import psutil
import pytest
from aiohttp import WSMsgType, web

from forge_tui.serve.addresses import Addresses
from forge_tui.serve.bridge import Bridge
from forge_tui.serve.limits import Limits
from forge_tui.serve.listening import listen_on_port
from forge_tui.serve.page_files import page_files
from forge_tui.serve.session import command_of, environment_of
from forge_tui.serve.site import Site

_SECONDS = 30.0


@dataclass
class Place:
    """A server in this process."""

    origin: str
    addresses: Addresses
    bridge: Bridge
    client: aiohttp.ClientSession

    @contextlib.asynccontextmanager
    async def session(self, size: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        page, cookie = self.addresses.new_page()
        headers = {"Origin": self.origin, "Cookie": f"forge-tui={cookie}"}
        async with self.client.ws_connect(f"{self.origin}/{page}/ws{size}", headers=headers) as websocket:
            yield websocket


@contextlib.asynccontextmanager
async def served(mode: str, limits: Limits | None = None) -> AsyncIterator[Place]:
    """A server whose sessions are a mode of `fake_session`."""
    addresses = Addresses()
    bridge = Bridge((sys.executable, fake_session.__file__, mode), limits or Limits())
    runner = web.AppRunner(Site(addresses, page_files(), bridge).application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    with listen_on_port(0) as listener:
        await web.SockSite(runner, listener.socket).start()
        async with aiohttp.ClientSession() as client:
            yield Place(listener.origin, addresses, bridge, client)
        await bridge.close()
        await runner.cleanup()
    assert not sessions()


def sessions() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and fake_session.__file__ in child.cmdline():
                found.append(child)
    return found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def text_of(websocket: aiohttp.ClientWebSocketResponse, wanted: str) -> str:
    """What was drawn until `wanted` is in it."""
    seen = b""
    while wanted.encode() not in seen:
        message = await websocket.receive(_SECONDS)
        assert message.type is WSMsgType.BINARY, (message, seen)
        seen += message.data
    return seen.decode()


async def ending_of(websocket: aiohttp.ClientWebSocketResponse) -> tuple[str, int | None]:
    """The words with which a session ends, and the websocket's code."""
    words = ""
    async with asyncio.timeout(_SECONDS):
        async for message in websocket:
            if message.type is WSMsgType.TEXT and json.loads(message.data)[0] == "ended":
                words = json.loads(message.data)[1]
    return words, websocket.close_code


async def type_(websocket: aiohttp.ClientWebSocketResponse, *message: object) -> None:
    await websocket.send_str(json.dumps(message))


async def test_keys_sizes_and_focus_reach_the_ui_and_its_screen_the_page() -> None:
    async with served("echo") as place, place.session("?width=100&height=30") as websocket:
        assert "--size 100x30" in await text_of(websocket, "--size")
        await type_(websocket, "stdin", "päß\x1b[A")
        await text_of(websocket, "päß\x1b[A")
        await type_(websocket, "resize", {"width": 120, "height": 40})
        assert json.loads(await text_of(websocket, "}")) == {"type": "resize", "width": 120, "height": 40}
        await type_(websocket, "focus")
        assert json.loads(await text_of(websocket, "}")) == {"type": "focus"}
        await type_(websocket, "blur")
        assert json.loads(await text_of(websocket, "}")) == {"type": "blur"}
        await type_(websocket, "ping", "123")
        assert json.loads((await websocket.receive(_SECONDS)).data) == ["pong", "123"]
        await type_(websocket, "stdin", "\ud800")
        await text_of(websocket, "?")
        await type_(websocket, "stdin", "end")
        assert await ending_of(websocket) == ("The session has ended. Runs continue.\n\nfarewell", 1000)
        await until(lambda: not sessions())


@pytest.mark.parametrize(
    ("size", "given"),
    [("?width=1&height=1", "10x4"), ("?width=99999&height=99999", "500x200"), ("?width=x&height=-1", "80x24"),
     ("", "80x24"), ("?width=10000000000000000000000&height=30", "80x30")],
)  # fmt: skip
async def test_a_size_is_kept_within_limits(size: str, given: str) -> None:
    async with served("echo") as place, place.session(size) as websocket:
        assert f"--size {given}" in await text_of(websocket, "--size")


async def test_a_changed_size_is_kept_within_limits() -> None:
    async with served("echo") as place, place.session() as websocket:
        await text_of(websocket, "--size")
        await type_(websocket, "resize", {"width": 10**9, "height": 0})
        assert json.loads(await text_of(websocket, "}")) == {"type": "resize", "width": 500, "height": 4}


async def test_more_sessions_than_allowed_are_refused_until_one_ends() -> None:
    async with served("echo", Limits(sessions=2)) as place, place.session() as first:
        await text_of(first, "--size")
        async with place.session() as second:
            await text_of(second, "--size")
            async with place.session() as third:
                words, code = await ending_of(third)
                assert words.startswith("2 sessions are open, and more are not")
                assert code == 1013
                assert len(sessions()) == 2
        await until(lambda: len(sessions()) == 1)
        await until(lambda: place.bridge._admitted == 1)
        async with place.session() as fourth:
            await text_of(fourth, "--size")


async def test_a_message_that_is_too_long_ends_its_session() -> None:
    async with served("echo", Limits(message=2000)) as place, place.session() as websocket:
        await text_of(websocket, "--size")
        await type_(websocket, "stdin", "a" * 1900)
        await text_of(websocket, "a" * 1900)
        await type_(websocket, "stdin", "a" * 2000)
        assert (await ending_of(websocket))[1] == 1009
        await until(lambda: not sessions())


@pytest.mark.parametrize(
    "message",
    ["", "{}", "[]", "stdin", '["stdin"]', '["stdin", 1]', '["resize", {"width": "1", "height": 2}]', '["quit"]',
     '["resize", {"width": 1.5, "height": 2}]', '["deliver_chunk_request", {"key": "x"}]', '[["stdin"], "a"]'],
)  # fmt: skip
async def test_a_message_of_another_kind_ends_its_session(message: str) -> None:
    async with served("echo") as place, place.session() as other, place.session() as websocket:
        await text_of(websocket, "--size")
        await text_of(other, "--size")
        await websocket.send_str(message)
        words, _ = await ending_of(websocket)
        assert words == "The session was ended: the page sent a message that is not known here. Runs continue."
        await type_(other, "stdin", "still here")
        await text_of(other, "still here")


async def test_binary_messages_end_a_session() -> None:
    async with served("echo") as place, place.session() as websocket:
        await text_of(websocket, "--size")
        await websocket.send_bytes(b'["stdin", "a"]')
        assert "not known here" in (await ending_of(websocket))[0]


async def test_a_session_without_a_key_ends_after_its_time() -> None:
    async with served("echo", Limits(idle=0.2)) as place, place.session() as websocket:
        await text_of(websocket, "--size")
        words, code = await ending_of(websocket)
        assert words.startswith("The session was ended after ")
        assert words.endswith(" h without a key. Runs continue.")
        assert code == 1000


async def test_a_browser_that_reads_nothing_loses_its_session_and_others_keep_theirs() -> None:
    async with served("flood", Limits(send=0.5)) as place, place.session() as other:
        seen = await other.receive(_SECONDS)
        assert seen.type is WSMsgType.BINARY
        reader, writer = await _stalled(place)
        await until(lambda: len(sessions()) == 2)

        def is_one_left() -> bool:
            return len(sessions()) == 1

        async with asyncio.timeout(_SECONDS):
            while not is_one_left():
                assert (await other.receive(_SECONDS)).type is WSMsgType.BINARY
        writer.close()
        assert reader is not None
        assert (await other.receive(_SECONDS)).type is WSMsgType.BINARY


async def _stalled(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A websocket whose owner reads its first bytes only."""
    host, _, port = place.origin.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    page, cookie = place.addresses.new_page()
    writer.write(
        f"GET /{page}/ws HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {place.origin}\r\nCookie: forge-tui={cookie}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readline()
    return reader, writer


async def test_a_closed_page_ends_its_process_even_one_that_does_not_listen() -> None:
    async with served("deaf", Limits(quit=0.3, terminate=0.3)) as place:
        async with place.session() as websocket:
            await text_of(websocket, "deaf")
            assert len(sessions()) == 1
        await until(lambda: not sessions())


async def test_a_closed_page_ends_its_process_while_it_draws() -> None:
    async with served("flood") as place:
        async with place.session() as websocket:
            assert (await websocket.receive(_SECONDS)).type is WSMsgType.BINARY
        await until(lambda: not sessions())


async def test_a_ui_that_reads_no_keys_loses_its_session() -> None:
    async with served("deaf", Limits(unread=100_000, quit=0.1, terminate=0.1)) as place, place.session() as websocket:
        await text_of(websocket, "deaf")
        for _ in range(20):
            await type_(websocket, "stdin", "a" * 50_000)
        assert (await ending_of(websocket))[0] == "The session was ended: the UI does not answer. Runs continue."


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("silent", "The session has ended: the UI did not start within 0.5 s. Runs continue."),
        ("huge", f"The session has ended: a packet of {2**31} bytes, more than {Limits().packet}. Runs continue."),
        ("crash", "The session has ended: the UI did not start. Runs continue.\n\nTraceback:  [31mno such module"),
    ],
)
async def test_a_process_that_fails_is_reported(mode: str, words: str) -> None:
    limits = Limits(start=0.5 if mode == "silent" else 60.0, quit=0.3 if mode != "crash" else 2.0, terminate=0.3)
    async with served(mode, limits) as place, place.session() as websocket:
        assert (await ending_of(websocket))[0] == words
        await until(lambda: not sessions())


async def test_the_end_of_the_server_ends_its_sessions_with_words() -> None:
    async with served("echo") as place, place.session() as websocket:
        await text_of(websocket, "--size")
        closing = asyncio.create_task(place.bridge.close())
        assert (await ending_of(websocket))[0] == "The server has ended. Runs continue."
        await closing
        assert not sessions()
        async with place.session() as late:
            assert (await ending_of(late))[0] == "The server is ending."


def test_the_program_of_a_session_is_started_without_a_shell_and_names_no_secret() -> None:
    assert command_of(read_only=False) == (sys.executable, "-P", "-m", "forge_tui.serve.child")
    assert command_of(read_only=True) == (*command_of(read_only=False), "--read-only")
    given = {"PATH": "/bin", "TEXTUAL": "debug", "TEXTUAL_DRIVER": "x:Y", "COLUMNS": "9", "LINES": "9", "NO_COLOR": "1"}
    assert environment_of(given) == {"PATH": "/bin", "NO_COLOR": "1", "TEXTUAL_COLOR_SYSTEM": "truecolor"}


def test_no_file_of_the_page_is_missing() -> None:
    names = {"index.html", "page.css", "page.js", "xterm.css", "textual.js", "mono.ttf"}
    assert set(page_files()) == names
    assert all(file.content for file in page_files().values())
    page = page_files()["index.html"].content.decode()
    assert all(f'"{name}"' in page for name in names - {"index.html", "mono.ttf"})
