"""The guarded pages: who may ask for what, and what every answer says to the browser.

| path | answer |
| --- | --- |
| `/TOKEN` | 303 to a new page, with its cookie |
| `/PAGE/` | the page, with its cookie |
| `/PAGE/NAME` | a file of the page, with its cookie |
| `/PAGE/ws` | the websocket of a session, with its cookie and from the page itself |
| others, other methods | 404 |
| for another host, from another page, without the cookie | 403 |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from forge_tui.serve.addresses import COOKIE, Addresses
from forge_tui.serve.bridge import Bridge
from forge_tui.serve.origins import refusal
from forge_tui.serve.page_files import INDEX, PageFile

_AGAIN = "This page is not open any more: open the address that `forge-tui serve` has printed.\n"
_NOTHING = "There is nothing here.\n"
# Styles: the terminal makes some while it runs. Websockets: not every browser counts them as 'self'.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "clipboard-read=(), camera=(), microphone=(), geolocation=()",
    "Server": "forge-tui",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """The pages of a server."""

    def __init__(self, addresses: Addresses, files: Mapping[str, PageFile], bridge: Bridge) -> None:
        self._addresses, self._files, self._bridge = addresses, files, bridge

    def application(self) -> web.Application:
        """The application for aiohttp; its shutdown does not end the sessions (`Bridge.close`)."""

        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        application = web.Application(middlewares=[web.middleware(guard)], client_max_size=1024)
        for path, handler in (
            ("/{token}", self._open),
            ("/{page}/", self._page),
            ("/{page}/ws", self._websocket),
            ("/{page}/{name}", self._file),
        ):
            application.router.add_get(path, handler, allow_head=False)
        application.on_response_prepare.append(_add_headers)
        return application

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check what holds for every request, before anything else."""
        is_websocket = "Upgrade" in request.headers
        hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
        reason = refusal(hosts, origins, needs_origin=is_websocket)
        if reason is not None:
            raise web.HTTPForbidden(text=f"Refused: {reason}.\n")
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            raise web.HTTPNotFound(text=_NOTHING) from None

    async def _open(self, request: web.Request) -> web.StreamResponse:
        """Lead whoever knows the token to a new page."""
        if request.query_string or not self._addresses.opens(request.match_info["token"]):
            raise web.HTTPNotFound
        page, cookie = self._addresses.new_page()
        response = web.Response(status=303, headers={"Location": f"/{page}/"})
        response.set_cookie(COOKIE, cookie, path=f"/{page}/", httponly=True, samesite="Strict")
        return response

    def _require_page(self, request: web.Request) -> None:
        if not self._addresses.admits(request.match_info["page"], request.cookies.get(COOKIE)):
            raise web.HTTPForbidden(text=_AGAIN)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self._require_page(request)
        if request.query_string:  # the terminal's script would act on some
            raise web.HTTPNotFound
        return _sent(self._files[INDEX])

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self._require_page(request)
        file = self._files.get(request.match_info["name"])
        if file is None or request.query_string:
            raise web.HTTPNotFound
        return _sent(file)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        self._require_page(request)
        if not web.WebSocketResponse().can_prepare(request):
            raise web.HTTPForbidden(text="Refused: this is for a websocket.\n")
        return await self._bridge.carry(request)


def _sent(file: PageFile) -> web.Response:
    text = file.media_type.startswith("text/")
    return web.Response(body=file.content, content_type=file.media_type, charset="utf-8" if text else None)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    hosts = request.headers.getall("Host", [])
    is_known = refusal(hosts, [], needs_origin=False) is None
    response.headers["Content-Security-Policy"] = _POLICY.format(host=hosts[0] if is_known else "localhost")
