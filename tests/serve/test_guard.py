"""Who gets an answer: each refusal differs in one thing from a request that is granted, which is made beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from serving import Answer, Served, serving

_UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


@dataclass(frozen=True)
class Request:
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    host: str | None = ""

    def with_header(self, name: str, *values: str) -> Request:
        """With other values of one header, or without it."""
        kept = tuple(header for header in self.headers if header[0] != name)
        return replace(self, headers=(*kept, *((name, value) for value in values)))

    def send(self, server: Served) -> Answer:
        return server.request(self.path, self.headers, method=self.method, host=self.host)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, private_home: None) -> Iterator[Served]:
    with serving(cwd=tmp_path_factory.mktemp("serve")) as served:
        yield served


def granted(server: Served, what: str) -> tuple[Request, int]:
    """A request that is granted, and the status of its answer."""
    page, cookie = server.open()
    with_cookie = (("Cookie", cookie),)
    return {
        "address": (Request(f"/{server.token}"), 303),
        "page": (Request(page, with_cookie), 200),
        "file": (Request(f"{page}textual.js", with_cookie), 200),
        "websocket": (Request(f"{page}ws", (*_UPGRADE, *with_cookie, ("Origin", f"http://{server.host}"))), 101),
    }[what]


ALL = ("address", "page", "file", "websocket")
PAGES = ("page", "file", "websocket")


def changed(server: Served, request: Request, change: str) -> Request:
    """The request with one thing changed."""
    host, other = server.host, server.open()
    first, _, rest = request.path[1:].partition("/")
    match change:
        case "foreign host":
            return replace(request, host="forge.example")
        case "host that begins as ours":
            return replace(request, host="localhost.forge.example")
        case "no host":
            return replace(request, host=None)
        case "foreign origin":
            return request.with_header("Origin", "http://forge.example")
        case "origin of another port":
            return request.with_header("Origin", "http://127.0.0.1:1")
        case "origin by another name":
            return request.with_header("Origin", f"http://localhost:{host.rpartition(':')[2]}")
        case "origin of https":
            return request.with_header("Origin", f"https://{host}")
        case "origin null":
            return request.with_header("Origin", "null")
        case "two origins":
            return request.with_header("Origin", f"http://{host}", "http://forge.example")
        case "no origin":
            return request.with_header("Origin")
        case "no cookie":
            return request.with_header("Cookie")
        case "empty cookie":
            return request.with_header("Cookie", "forge-tui=")
        case "cookie of another page":
            return request.with_header("Cookie", other[1])
        case "cookie of another name":
            return request.with_header("Cookie", dict(request.headers)["Cookie"].replace("forge-tui=", "forge="))
        case "another page":
            return replace(request, path=f"{other[0]}{rest}")
        case "path shortened":
            return replace(request, path=f"/{first[:-1]}" + (f"/{rest}" if "/" in request.path[1:] else ""))
        case "query":
            return replace(request, path=f"{request.path}?ping=http://127.0.0.1:1/")
        case "post" | "head" | "options":
            return replace(request, method=change.upper())
        case "no upgrade":
            return replace(request, headers=tuple(each for each in request.headers if each[0] != "Upgrade"))
    raise AssertionError(change)


_REFUSALS = [
    *(
        (what, change, 403)
        for what in ALL
        for change in (
            "foreign host", "host that begins as ours", "no host", "foreign origin", "origin of another port",
            "origin by another name", "origin of https", "origin null", "two origins",
        )
    ),
    *(
        (what, change, 403)
        for what in PAGES
        for change in (
            "no cookie", "empty cookie", "cookie of another page", "cookie of another name", "another page",
            "path shortened",
        )
    ),
    *((what, change, 404) for what in ALL for change in ("post", "head", "options")),
    *((what, "query", 404) for what in ("address", "page", "file")),
    ("address", "path shortened", 404),
    ("websocket", "no origin", 403),
    ("websocket", "no upgrade", 403),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change", "status"), _REFUSALS)
def test_a_request_is_refused_for_one_difference(server: Served, what: str, change: str, status: int) -> None:
    request, good = granted(server, what)
    refused = changed(server, request, change).send(server)
    assert refused.status == (400 if change == "no host" else status)  # which aiohttp refuses by itself
    assert refused.status != good
    assert "Set-Cookie" not in refused.headers
    assert server.token.encode() not in refused.body
    assert request.send(server).status == good


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/static/", "/static/js/textual.js", "/ws", "/download/1", "/favicon.ico", "/index.html", "/%2e%2e/"],
)
def test_nothing_stands_outside_the_pages(server: Served, path: str) -> None:
    answer = server.request(path)
    assert answer.status in (403, 404)
    assert server.open()


@pytest.mark.parametrize("name", ["static/", "js/", "..%2f", "..%2fserver.py", "%2e%2e/", "page", "INDEX.HTML", "x"])
def test_a_page_has_its_own_files_only_and_no_list_of_them(server: Served, name: str) -> None:
    page, cookie = server.open()
    assert server.request(f"{page}{name}", [("Cookie", cookie)]).status in (403, 404)
    for known in ("", "index.html", "page.js", "page.css", "textual.js", "xterm.css", "mono.ttf"):
        assert server.request(f"{page}{known}", [("Cookie", cookie)]).status == 200


@pytest.mark.parametrize("what", [*ALL, "refusal", "nothing"])
def test_every_answer_tells_the_browser_to_keep_and_to_pass_on_nothing(server: Served, what: str) -> None:
    if what == "refusal":
        headers = server.request(f"/{server.token}", host="forge.example").headers
    elif what == "nothing":
        headers = server.request("/nothing").headers
    else:
        headers = granted(server, what)[0].send(server).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "forge.example" not in policy
    assert "aiohttp" not in headers["Server"].lower()


def test_the_address_leads_to_another_page_each_time(server: Served) -> None:
    answers = [server.request(f"/{server.token}") for _ in range(5)]
    assert {answer.status for answer in answers} == {303}
    places = [answer.headers["Location"] for answer in answers]
    assert len(set(places)) == 5
    for answer, place in zip(answers, places, strict=True):
        assert place.startswith("/")
        assert place.endswith("/")
        assert len(place) > 40
        cookie = answer.headers["Set-Cookie"]
        assert f"; Path={place};" in f"{cookie};"
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Domain" not in cookie


def test_the_page_asks_nobody_else(server: Served) -> None:
    page, cookie = server.open()
    for name in ("", "page.css", "page.js", "xterm.css"):
        text = server.request(f"{page}{name}", [("Cookie", cookie)]).body
        assert b"//" not in text.replace(b"// ", b"").replace(b"https://github.com", b"").replace(
            b"http://bellard.org", b""
        ), name
        assert server.token.encode() not in text


def test_a_tunnel_may_have_another_port_and_name(server: Served) -> None:
    page, cookie = server.open()
    for host in ("localhost:9000", "LOCALHOST", "[::1]:9000", "127.0.0.1"):
        assert server.request(page, [("Cookie", cookie)], host=host).status == 200
        upgrade = [*_UPGRADE, ("Cookie", cookie)]
        assert server.request(f"{page}ws", [*upgrade, ("Origin", f"http://{host}")], host=host).status == 101
        assert server.request(f"{page}ws", [*upgrade, ("Origin", "http://127.0.0.1:1")], host=host).status == 403


def test_the_same_holds_for_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "private" / "ui.sock"
    with serving(cwd=tmp_path, unix_socket=path) as server:
        page, cookie = server.open()
        assert server.request(page, [("Cookie", cookie)]).status == 200
        assert server.request(page).status == 403
        assert server.request("/nothing").status == 404
        assert server.request(page, [("Cookie", cookie)], host="forge.example").status == 403
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        said = "".join(server.stderr)
        assert f"ssh -N -L 8765:{path} " in said
    assert not path.exists()
