"""Packages of extras: whether they are installed in a version that can be used. Imports none of them."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from importlib import metadata

from forge_tui.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraPackage:
    """A package that the extra `extra` installs, `oldest` or newer. `name` is that in Python, `title` that in messages.

    `reason`: why not an older one, in parentheses.
    """

    name: str
    title: str
    extra: str
    oldest: tuple[int, ...]
    reason: str = ""

    def require(self, wanted_by: str, instead: str = "") -> None:
        """Raise `UsageError` unless it can be used. `wanted_by`: the setting; `instead`: what needs no package."""
        install = f"pip install 'forge-tui[{self.extra}]' installs it"
        if importlib.util.find_spec(self.name) is None:
            raise UsageError(f"{wanted_by}: {self.title} is not installed here; {install}{instead}")
        try:
            version = metadata.version(self.name)
        except metadata.PackageNotFoundError:
            raise UsageError(f"{wanted_by}: the installed {self.title} does not say its version; {install}") from None
        if _numbers(version) < self.oldest:
            oldest = ".".join(map(str, self.oldest))
            raise UsageError(
                f"{wanted_by}: {self.title} {version} is installed, and {oldest} or newer is needed{self.reason}; "
                f"{install}"
            )


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.52.1rc0 → (2, 52, 1)."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else (0,)
