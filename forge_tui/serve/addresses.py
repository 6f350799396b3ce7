"""The secret address of a server, and the pages that it leads to."""

from __future__ import annotations

import hashlib
import hmac
import secrets

COOKIE = "forge-tui"
_BYTES = 32


class Addresses:
    """Who knows the token gets a page: a random path, and a cookie that is valid below that path only.

    A page's cookie is computed from its path with a key of this server, so that any number of pages may be opened
    and none need be remembered. Both the token and the key are gone when the server ends.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(_BYTES)
        self._key = secrets.token_bytes(_BYTES)

    def opens(self, token: str) -> bool:
        """Whether this is the token; in a time that does not depend on where it differs."""
        return hmac.compare_digest(_bytes(token), _bytes(self.token))

    def new_page(self) -> tuple[str, str]:
        """A new page: the only component of its path, and the value of its cookie."""
        page = secrets.token_urlsafe(_BYTES)
        return page, self._cookie(page)

    def admits(self, page: str, cookie: str | None) -> bool:
        """Whether the cookie is that page's; in a time that does not depend on where it differs."""
        return hmac.compare_digest(_bytes(cookie or ""), _bytes(self._cookie(page)))

    def _cookie(self, page: str) -> str:
        return hmac.new(self._key, _bytes(page), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
