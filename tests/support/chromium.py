"""Debian's Chromium without a window, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pyte

PROGRAM = shutil.which("chromium")
_SECONDS = 45.0
_OPTIONS = (
    "--headless=new", "--remote-debugging-port=0", "--no-sandbox", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-default-apps", "--disable-extensions", "--disable-sync",
    "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--mute-audio",
    "--password-store=basic", "--window-size=1000,640",
)  # fmt: skip
# Of what pyte does not know: modes, and the clipboard (OSC 52).
_NOT_FOR_PYTE = re.compile(r"\x1b\[[<>][0-9]*u|\x1b\[\?[0-9]+\$p|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_KEYS = {
    "Enter": ("\r", 13), "Escape": ("", 27), "ArrowDown": ("", 40), "ArrowUp": ("", 38), "Backspace": ("", 8),
    "F2": ("", 113), "Tab": ("", 9), "End": ("", 35),
}  # fmt: skip


class Chromium:
    """A browser; use `chromium()`."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tabs: dict[str, Tab] = {}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self._websocket:
                found = json.loads(message.data)
                if "id" in found:
                    self._answers.pop(found["id"]).set_result(found)
                elif (tab := self._tabs.get(found.get("sessionId", ""))) is not None:
                    tab.heard(found["method"], found["params"])
        finally:
            for tab in self._tabs.values():
                tab.wake()

    def check(self) -> None:
        """Raise what has ended the reading of the browser's messages."""
        if self._reading.done():
            self._reading.result()

    async def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command, and its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        about = {} if session is None else {"sessionId": session}
        await self._websocket.send_json({"id": number, "method": method, "params": parameters, **about})
        found: dict[str, Any] = await asyncio.wait_for(answer, _SECONDS)
        assert "error" not in found, (method, found)
        result: dict[str, Any] = found["result"]
        return result

    async def open(self, address: str, *, before: str = "", stranger: bool = False) -> Tab:
        """A new tab on an address. `before`: script to run first. `stranger`: as another person's browser would."""
        context = await self.call("Target.createBrowserContext") if stranger else {}
        target = (await self.call("Target.createTarget", url="about:blank", **context))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = self._tabs[session] = Tab(self, target, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        if before:
            await tab.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        await tab.call("Page.navigate", url=address)
        return tab

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError, AssertionError):
            await asyncio.wait_for(self.call("Browser.close"), 10.0)
        self._reading.cancel()


class Tab:
    """A tab. `text` is what the terminal's websocket has brought, `screen` what stands in a terminal of that."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session
        self.text = ""
        self.sent: list[str] = []
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.is_held = False
        self._news = asyncio.Event()
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.Stream(self._screen)

    @property
    def lines(self) -> str:
        return "\n".join(self._screen.display)

    @property
    def size(self) -> tuple[int, int]:
        return self._screen.columns, self._screen.lines

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.call(method, self._session, **parameters)

    def wake(self) -> None:
        """Let `until` look again."""
        self._news.set()

    def heard(self, method: str, given: dict[str, Any]) -> None:
        if method == "Network.webSocketFrameReceived" and given["response"]["opcode"] == 2:
            text = base64.b64decode(given["response"]["payloadData"]).decode()
            self.text += text
            self._stream.feed(_NOT_FOR_PYTE.sub("", text))
        elif method == "Network.webSocketFrameSent":
            sent = given["response"]["payloadData"]
            self.sent.append(sent)
            if sent.startswith('["resize"'):
                size = json.loads(sent)[1]
                self._screen.resize(size["height"], size["width"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif method in ("Debugger.paused", "Debugger.resumed"):
            self.is_held = method == "Debugger.paused"
        elif method == "Network.webSocketCreated":
            self.requests.append(given["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(given["exceptionDetails"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        self._news.set()

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait until `condition` holds; it is asked whenever the tab has news."""
        try:
            async with asyncio.timeout(_SECONDS):
                while not condition():
                    self._news.clear()
                    self._browser.check()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what or condition} did not come true:\n{self.lines}\n{self.complaints}") from None

    async def until_shown(self, words: str) -> None:
        await self.until(lambda: words in self.lines, f"{words!r} on the screen")

    async def until_true(self, script: str) -> None:
        """Wait until a script in the page gives something true."""
        async with asyncio.timeout(_SECONDS):
            while not await self.evaluate(script):
                await asyncio.sleep(0.05)

    async def evaluate(self, script: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Inside, the page runs no script, and takes nothing that it is sent."""
        await self.call("Debugger.enable")
        await self.call("Debugger.pause")
        await self.until(lambda: self.is_held, "the page's script held")
        yield
        await self.call("Debugger.resume")
        await self.call("Debugger.disable")

    async def press(self, *keys: str) -> None:
        """Press keys by their names in JavaScript."""
        for key in keys:
            text, code = _KEYS[key] if key in _KEYS else (key, ord(key.upper()) if key.isalnum() else 0)
            about: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code}
            if key in _KEYS:
                about["code"] = key
            if text:
                about |= {"text": text, "unmodifiedText": text}
            await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **about)
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def resize(self, width: int, height: int) -> None:
        """Give the page another size (pixels)."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def picture(self, path: Path) -> bytes:
        """A screenshot, which is also written to `path`."""
        data = base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])
        path.write_bytes(data)
        return data

    async def close(self) -> None:
        await self._browser.call("Target.closeTarget", targetId=self._target)


@contextlib.asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Chromium]:
    """A browser with a new profile in `profile`."""
    assert PROGRAM is not None
    profile.mkdir()
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        port, path = await _devtools(profile / "DevToolsActivePort", process)
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as websocket,
        ):
            browser = Chromium(websocket)
            try:
                yield browser
            finally:
                await browser.close()
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10.0)
        process.kill()
        process.wait()


async def _devtools(file: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """The port and the path of the browser's own websocket."""
    async with asyncio.timeout(_SECONDS):
        while True:
            assert process.poll() is None, "chromium has ended"
            with contextlib.suppress(OSError):
                lines = file.read_text().splitlines()
                if len(lines) >= 2:
                    return lines[0], lines[1]
            await asyncio.sleep(0.05)
