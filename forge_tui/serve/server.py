"""Serves the UI until a signal, and says how to reach it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from forge_tui.safe_io.printing import shell_word
from forge_tui.serve.addresses import Addresses
from forge_tui.serve.bridge import Bridge
from forge_tui.serve.limits import Limits
from forge_tui.serve.listening import Listener
from forge_tui.serve.page_files import page_files
from forge_tui.serve.site import Site

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(
    listener: Listener,
    command: Sequence[str],
    announce: Callable[[str], None],
    *,
    limits: Limits | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; then the sessions end, and runs continue.

    `command`: the program of a session. `announce` is called once, with the secret address.
    """
    asyncio.run(_serve(listener, command, announce, limits or Limits()))


async def _serve(listener: Listener, command: Sequence[str], announce: Callable[[str], None], limits: Limits) -> None:
    addresses, bridge = Addresses(), Bridge(command, limits)
    site = Site(addresses, page_files(), bridge)
    # No log of requests: it would have the secret address.
    runner = web.AppRunner(
        site.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0, logger=_logger()
    )
    end = asyncio.Event()
    for each in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(each, end.set)
    await runner.setup()
    try:
        await web.SockSite(runner, listener.socket).start()
        announce(f"{listener.origin}/{addresses.token}")
        await end.wait()
        await bridge.close()
    finally:
        await runner.cleanup()


def _logger() -> logging.Logger:
    """aiohttp's own log, for its defects and ours, without the malformed requests of others, which it would quote."""
    logger = logging.getLogger("forge_tui.serve.aiohttp")
    logger.addFilter(_is_no_bad_request)
    return logger


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, HttpProcessingError)


def tunnel_command(listener: Listener, user: str, host: str) -> str:
    """The command for the user's own computer that makes the address work there."""
    return f"ssh -N -L {shell_word(listener.tunnel)} {shell_word(f'{user}@{host}')}"
