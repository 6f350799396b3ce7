"""Sessions with the real UI: what their processes know and do, without a browser."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import psutil
import pyte
from aiohttp import WSMsgType
from run_directories import RunMaker
from running import forge
from serving import Served, serving

_SECONDS = 90.0
# Of what pyte does not know: modes, and the clipboard (OSC 52).
_NOT_FOR_PYTE = re.compile(r"\x1b\[[<>][0-9]*u|\x1b\[\?[0-9]+\$p|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CLIPBOARD = re.compile(r"\x1b\]52;c;([^\x07]*)\x07")


class Page:
    """A page's websocket, and what its terminal shows."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self.text = ""
        self.words: str | None = None
        self._screen = pyte.Screen(100, 30)
        self._stream = pyte.Stream(self._screen)

    @property
    def lines(self) -> str:
        return "\n".join(self._screen.display)

    async def type(self, *keys: str) -> None:
        for key in keys:
            await self.websocket.send_str(json.dumps(["stdin", key]))

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until `condition` holds."""
        async with asyncio.timeout(_SECONDS):
            while not condition():
                message = await self.websocket.receive()
                if message.type is WSMsgType.BINARY:
                    text = message.data.decode()
                    self.text += text
                    self._stream.feed(_NOT_FOR_PYTE.sub("", text))
                elif message.type is WSMsgType.TEXT and json.loads(message.data)[0] == "ended":
                    self.words = json.loads(message.data)[1]
                elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
                    assert condition(), (self.lines, self.words)

    async def until_shown(self, words: str) -> None:
        try:
            await self.until(lambda: words in self.lines)
        except TimeoutError:
            raise AssertionError(f"{words!r} was not shown:\n{self.lines}") from None


@contextlib.asynccontextmanager
async def page_of(server: Served) -> AsyncIterator[Page]:
    path, cookie = server.open()
    headers = {"Origin": f"http://{server.host}", "Cookie": cookie}
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"http://{server.host}{path}ws?width=100&height=30", headers=headers) as websocket,
    ):
        yield Page(websocket)


async def gone(*processes: psutil.Process, seconds: float = _SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            await asyncio.sleep(0.02)


async def test_the_secrets_are_in_no_process_and_no_output(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        path, cookie = server.open()
        async with page_of(server) as page:
            await page.until_shown("Configure")
            secrets = (server.token, path.strip("/"), cookie.partition("=")[2])
            processes = [psutil.Process(server.process.pid), *server.sessions()]
            assert len(processes) == 2
            assert not {"sh", "bash", "dash"} & {process.name() for process in processes}
            for process in processes:
                known = " ".join((*process.cmdline(), *process.environ().values(), process.name()))
                assert process.environ()["PATH"] == os.environ["PATH"]  # it can be read
                assert not [secret for secret in secrets if secret in known]
        server.request(f"/{server.token}", [("Bad header", "x")])  # quoted by aiohttp in its log
    said = "".join(server.stderr)
    assert "Ctrl+C ends the server" in said
    assert not [secret for secret in secrets if secret in said]
    for file in (file for file in tmp_path.rglob("*") if file.is_file()):
        assert server.token.encode() not in file.read_bytes()


async def test_q_ends_the_session_and_says_so(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        async with page_of(server) as page:
            await page.until_shown("q Quit")
            session = server.sessions()
            await page.type("q")
            await page.until(lambda: page.words is not None)
            assert page.words == "The session has ended. Runs continue."
        await gone(*session)


async def test_a_browser_is_offered_the_keys_that_it_does_not_keep(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        async with page_of(server) as page:
            await page.until_shown("F2 Start")
            await page.type("?")
            await page.until_shown("Configure: keys")
            assert "Ctrl+Z" not in page.lines
            await page.type("\x1b[F")  # End
            await page.until_shown("end this session in the browser")
            assert "suspend" not in page.lines
            assert "mouse" not in page.lines
            await page.type("\r")
            await page.type("\x1a")  # Ctrl+Z
            await page.until_shown("this key is for a terminal")


async def test_y_copies_the_command(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        async with page_of(server) as page:
            await page.until_shown("F2 Start")
            await page.until_shown("Epochs")
            await page.type("Y")
            await page.until_shown("Sent to the browser's clipboard")
            found = _CLIPBOARD.search(page.text)
            assert found is not None
            copied = base64.b64decode(found[1]).decode()
            assert copied.startswith("forge-tui --no-ui")
            assert copied.split()[0] in page.lines


async def test_a_read_only_server_opens_on_the_runs_and_changes_none(maker: RunMaker, tmp_path: Path) -> None:
    run = maker.make("run-1")
    maker.close()
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    with serving("--read-only", cwd=tmp_path) as server:
        async with page_of(server) as page:
            await page.until_shown("Runs, read-only")
            await page.until_shown("run-1")
            assert "--read-only" in server.sessions()[0].cmdline()
            for key in ("D", "R", "e", "n"):
                await page.type(key)
                await page.until_shown("read-only: nothing can be started")
                await page.type("1")
                await page.until_shown("Configure, read-only")
                await page.type("3")
                await page.until_shown("Runs, read-only")
            await page.type("\r")
            await page.until_shown("Watch, read-only")
            await page.type("2", "R")
            await page.until_shown("read-only: nothing can be started")
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*")) == before
    assert forge("status", run).returncode == 0


async def test_a_killed_server_leaves_no_session_behind(tmp_path: Path) -> None:
    with serving(cwd=tmp_path, status=-signal.SIGKILL) as server:
        async with page_of(server) as page:
            await page.until_shown("Configure")
            session = server.sessions()
            server.process.kill()
            assert session
            await gone(*session)
