"""Which requests come from our own page: by the headers `Host` and `Origin`, which no page can set itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Any port: a tunnel may have another one than the server.
_OURS = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


def refusal(hosts: Sequence[str], origins: Sequence[str], *, needs_origin: bool) -> str | None:
    """Why a request is refused, or None.

    `hosts` and `origins`: all values of the two headers. A name of another machine in `Host` is one that was made to
    lead here (DNS rebinding). A browser sends `Origin` with every websocket (`needs_origin`), and not when it opens a
    page; it has to name the host that was asked, because other servers of this machine are foreign, too.
    """
    if len(hosts) != 1 or not _OURS.fullmatch(hosts[0]):
        return "the request is for another host"
    if not origins:
        return "the request does not say which page has made it" if needs_origin else None
    if len(origins) > 1 or origins[0].lower() != f"http://{hosts[0].lower()}":
        return "the request comes from another page"
    return None
