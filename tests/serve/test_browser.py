"""The UI in headless Chromium, by keyboard. Pictures of it are kept in the test's directory."""

from __future__ import annotations

import asyncio
import http.server
import re
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from chromium import PROGRAM, Chromium, Tab, chromium
from running import forge
from serving import Served, serving

from forge_tui import client
from forge_tui.serve.limits import Limits

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="needs Debian's package chromium"),
    pytest.mark.timeout(600),
]
# Keeps what becomes of a text that is copied.
_WATCH_CLIPBOARD = """
window.copied = [];
const write = navigator.clipboard.writeText.bind(navigator.clipboard);
navigator.clipboard.writeText = async (text) => {
  try { await write(text); window.copied.push(text); } catch (error) { window.copied.push(`refused: ${error}`); }
};
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A server; runs that a failed test has left are ended."""
    work = tmp_path / "work"
    work.mkdir()
    with serving(cwd=work) as served:
        yield served
    for run in work.glob("runs/*"):
        forge("kill", run, status=None)


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    async with chromium(tmp_path / "profile") as running:
        yield running


@pytest.fixture(autouse=True)
def small_models(private_directories: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_TUI_TRAINING__MODEL_SIZE", "2000")
    monkeypatch.setenv("FORGE_TUI_RESOURCES__POLICY", "dedicated")


async def gone(process: psutil.Process) -> None:
    async with asyncio.timeout(60.0):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


def selected(tab: Tab) -> str:
    """The title of the selected setting on Configure, or nothing."""
    found = re.search(r">[ *] {1,2}(\S+(?: \S+)*)  ", tab.lines)
    return "" if found is None else found[1]


async def configured_and_started(tab: Tab, epochs: str) -> None:
    """Set the number of epochs on Configure, and start, all by keyboard."""
    await tab.until_shown("F2 Start")
    await tab.until_shown("Epochs")
    await tab.until(lambda: selected(tab))
    while (before := selected(tab)) != "Epochs":
        await tab.press("ArrowDown")
        await tab.until(lambda before=before: selected(tab) not in ("", before), "the next setting")
    await tab.press("Enter")
    await tab.until_shown("Enter keeps")
    await tab.press(*epochs, "Enter")
    await tab.until_shown("set here")
    await tab.until_shown("F2 Start")
    await tab.press("F2")
    await tab.until_shown("Watch · ")


async def test_a_run_is_started_and_watched_and_outlives_its_page(
    server: Served, browser: Chromium, tmp_path: Path
) -> None:
    tab = await browser.open(server.address)
    await configured_and_started(tab, "90000")
    await tab.until_shown("● train")
    await tab.until_shown("/90000")
    run = next(iter((tmp_path / "work" / "runs").iterdir()))
    await tab.picture(tmp_path / "watch.png")
    origin = f"http://{server.host}/"
    assert [url for url in tab.requests if not url.startswith((origin, origin.replace("http", "ws"), "data:"))] == []
    assert len(tab.requests) > 5
    assert tab.complaints == []

    other = await browser.open(server.address, stranger=True)
    await other.until_shown("1 live run")
    await other.press("3")
    await other.until_shown(run.name[:15])
    await other.press("Enter")
    await other.until_shown("● train")
    first = other.lines
    await other.until(lambda: other.lines != first and "● train" in other.lines, "progress in the second browser")

    assert len(server.sessions()) == 2
    mine = server.sessions()[0]
    await tab.close()
    await gone(mine)
    assert Limits().quit + Limits().terminate < 5.0
    assert len(server.sessions()) == 1
    with client.attach(run) as attached:
        assert attached.snapshot().state.is_live
        await other.press("K")
        await other.until_shown("End the run at once?")
        await other.press("k")
        await other.until_shown("● killed")
        assert not attached.wait(60.0).state.is_live
    await other.picture(tmp_path / "ended.png")


async def test_a_page_that_takes_nothing_for_a_while_delays_no_run_and_catches_up(
    server: Served, browser: Chromium, tmp_path: Path
) -> None:
    tab = await browser.open(server.address)
    await configured_and_started(tab, "1000")
    await tab.until_shown("● train")
    run = next(iter((tmp_path / "work" / "runs").iterdir()))
    async with tab.held():
        taken = tab.text
        with client.attach(run) as attached:
            assert (await asyncio.to_thread(attached.wait, 120.0)).state == "completed"
        assert tab.text == taken
    await tab.until_shown("completed")
    await tab.press("2")
    await tab.until_shown("1000/1000")
    await tab.picture(tmp_path / "caught-up.png")


async def test_the_screen_follows_the_size_of_the_page(server: Served, browser: Chromium, tmp_path: Path) -> None:
    tab = await browser.open(server.address)
    await tab.until_shown("F2 Start")
    await tab.until_shown("Epochs")
    for width, height, narrow in ((1600, 900, False), (800, 420, True), (390, 600, True)):
        before = tab.size
        await tab.resize(width, height)
        await tab.until(lambda before=before: tab.size != before, "another size")
        columns, rows = tab.size
        await tab.until(lambda narrow=narrow: ("i resources" in tab.lines) is narrow or tab.size[0] < 60)
        if columns >= 60:
            await tab.until_shown("Epochs")
            assert 7 < width / columns < 13
            assert 14 < height / rows < 24
        else:
            await tab.until_shown("forge-tui needs 60×15 cells.")
        await tab.picture(tmp_path / f"configure-{width}.png")
    assert tab.complaints == []


async def test_keys_work_without_a_click_and_q_says_that_the_session_has_ended(
    server: Served, browser: Chromium, tmp_path: Path
) -> None:
    tab = await browser.open(server.address, before=_WATCH_CLIPBOARD)
    await tab.until_shown("F2 Start")
    await tab.until_shown("Epochs")
    assert await tab.evaluate("document.activeElement.className") == "xterm-helper-textarea"
    await tab.press("Y")
    await tab.until_shown("Sent to the browser's clipboard")
    await tab.until_true("window.copied.length > 0")
    copied = await tab.evaluate("window.copied[0]")
    assert copied.startswith("forge-tui --no-ui --")
    await tab.picture(tmp_path / "copied.png")
    await tab.press("Enter")
    session = server.sessions()[0]
    await tab.press("q")
    await tab.until_true("!document.getElementById('ended').hidden")
    assert await tab.evaluate("document.getElementById('ended-words').textContent") == (
        "The session has ended. Runs continue."
    )
    await gone(session)
    await tab.picture(tmp_path / "session-ended.png")
    tab.text = ""
    assert await tab.evaluate("document.activeElement.id") == "again"
    await tab.press("Enter")
    await tab.until(lambda: "Configure" in tab.text, "a new session")
    assert len(server.sessions()) == 1


async def test_the_end_of_the_server_is_told(server: Served, browser: Chromium, tmp_path: Path) -> None:
    tab = await browser.open(server.address)
    await tab.until_shown("F2 Start")
    server.process.terminate()
    await tab.until_true("!document.getElementById('ended').hidden")
    assert await tab.evaluate("document.getElementById('ended-words').textContent") == (
        "The server has ended. Runs continue."
    )
    await asyncio.to_thread(server.process.wait, 60)  # a second signal would end it otherwise


async def test_a_page_of_another_server_gets_nothing_in_the_same_browser(
    server: Served, browser: Chromium, elsewhere: str
) -> None:
    """Even with the secret path, and with the cookie, which a browser also sends to other ports of a host."""
    tab = await browser.open(server.address)
    await tab.until_shown("F2 Start")
    page = await tab.evaluate("location.href")
    attempt = f"""new Promise((done) => {{
      const socket = new WebSocket({page.replace("http", "ws", 1)!r} + "ws");
      socket.onopen = () => {{ socket.close(); done("open"); }};
      socket.onerror = () => done("refused");
    }})"""
    read = f"fetch({page!r}, {{credentials: 'include'}}).then((answer) => answer.status, () => 'refused')"
    frame = f"""new Promise((done) => {{
      const frame = document.createElement("iframe");
      frame.src = {page!r};
      frame.onload = () => done(frame.contentDocument === null ? "foreign" : "empty");
      document.body.append(frame);
    }})"""
    foreign = await browser.open(elsewhere)
    await foreign.until_true("document.title == 'elsewhere'")
    assert await foreign.evaluate(attempt) == "refused"
    assert await foreign.evaluate(read) == "refused"
    await foreign.evaluate(frame)
    await foreign.until(lambda: any("frame" in each.lower() for each in foreign.complaints), "a refused frame")
    assert len(server.sessions()) == 1
    assert await tab.evaluate(attempt) == "open"
    assert await tab.evaluate(read) == 200


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """Another server of the same host, with a page of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>elsewhere</title><body>")

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{other.server_address[1]}/"
        other.shutdown()
        thread.join()


async def test_a_read_only_page_shows_runs_and_starts_none(browser: Chromium, tmp_path: Path) -> None:
    with serving("--read-only", cwd=tmp_path) as server:
        tab = await browser.open(server.address)
        await tab.until_shown("Runs, read-only")
        await tab.until_shown("No runs yet.")
        await tab.press("1")
        await tab.until_shown("Configure, read-only")
        await tab.until_shown("Epochs")
        await tab.press("F2")
        await tab.until_shown("read-only: nothing can be started")
        await tab.picture(tmp_path / "read-only.png")
    assert not (tmp_path / "runs").exists()
    assert "no runs" in forge("runs").stdout.lower() + forge("runs").stderr.lower()
