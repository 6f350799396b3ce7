"""The places of the site-wide settings, and whether their files may be used. No schema here, as in `user_file`.

A site file decides for every user, and may name code that every user runs. So it counts only while nobody but the
administrator can write it; and because ignoring it would lift its locks, one that does not count ends every start.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import platformdirs

from forge_tui.errors import SettingsError
from forge_tui.safe_io.plain_files import read_file
from forge_tui.safe_io.printing import named, shell_word

SYSTEM = Path("/Library/Application Support" if sys.platform == "darwin" else "/etc/xdg")
"""The system's own configuration directory. It counts whatever `XDG_CONFIG_DIRS` says, which any user can set."""
ADMINISTRATOR = 0
"""The user whose site files count (uid)."""
TABLE = "site"
LOCKED = "locked"
_APP = "forge-tui"
_NAME = "settings.toml"
# As a settings file of a user.
_LARGEST_FILE = 1 << 20


def site_settings_files() -> tuple[Path, ...]:
    """The site-wide settings files that exist, the least important first: the system's own, then `XDG_CONFIG_DIRS`.

    A directory of the variable that this user may not look into is left out, as the specification has it: after `sudo`
    it may be another user's. Raises `SettingsError` if the system's own cannot be looked into.
    """
    named_ones = platformdirs.site_config_dir(_APP, appauthor=False, multipath=True).split(os.pathsep)
    system = SYSTEM / _APP / _NAME
    others = [path for one in reversed(named_ones) if (path := Path(one) / _NAME) != system]
    return tuple(path for path in (system, *others) if _exists(path, is_optional=path != system))


def read_site_file(path: Path) -> bytes:
    """The content of a site-wide settings file.

    Raises `SettingsError` if it cannot be read, and unless only the administrator can write it: the file, the link to
    it if it is one, and its directory.
    """
    problem = _problem_of(path)
    if problem is not None:
        raise SettingsError(f"{named(path)}: {problem}")
    try:
        return read_file(path, _LARGEST_FILE)
    except OSError as error:
        raise SettingsError(f"{named(path)}: cannot be read: {error.strerror or error}{_WHOSE}") from None


_WHOSE = "; it has settings for all users of this machine: ask your administrator"


def _problem_of(path: Path) -> str | None:
    try:
        for place, follows in ((path.parent, True), (path, False), (path, True)):
            status = os.stat(place, follow_symlinks=follows)
            if not _is_the_administrators(status.st_uid):
                what = _what(path, place, status.st_mode)
                mend = f"`chown -h {ADMINISTRATOR} {shell_word(str(place))}`"
                return f"{what} belongs to {_user(status.st_uid)}, not to root, so it is not used{_until(mend)}"
            if _anyone_writes(status.st_mode):
                mend = f"`chmod o-w {shell_word(str(place))}`"
                return f"{_what(path, place, status.st_mode)} can be written by anyone, so it is not used{_until(mend)}"
    except OSError as error:
        return f"cannot be looked at: {error.strerror or error}{_WHOSE}"
    return None


def _is_the_administrators(uid: int) -> bool:
    """Whether a file of that owner is root's.

    In a container of a user without root's rights, root of the machine has no number: its files have the number that
    stands for all owners from outside.
    """
    return uid == ADMINISTRATOR or (uid == _number("/proc/sys/kernel/overflowuid") and not _has_root())


def _has_root() -> bool:
    """Whether root of the machine has a number in this process's user namespace; yes where there are none."""
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    return any(int(outside) == 0 for _, outside, _ in map(str.split, lines))


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _what(path: Path, place: Path, mode: int) -> str:
    return "its directory" if place != path else "the link" if stat.S_ISLNK(mode) else "it"


def _anyone_writes(mode: int) -> bool:
    """Whether any user can write it; in a directory with the sticky bit nobody can replace a file of another."""
    if stat.S_ISLNK(mode):
        return False  # its mode says nothing
    return bool(mode & stat.S_IWOTH) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)


def _until(mend: str) -> str:
    return f"; nothing starts until your administrator mends it ({mend}) or removes the file"


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _exists(path: Path, *, is_optional: bool) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if is_optional:
            return False
        raise SettingsError(f"{named(path)}: cannot be looked at: {error.strerror or error}{_WHOSE}") from None
    return True


class PlainTable(NamedTuple):
    """One table of the site-wide settings, unchecked. `locked`: names that users cannot change; `whole`: all."""

    values: Mapping[str, object]
    locked: frozenset[str] = frozenset()
    whole: bool = False

    def holds(self, name: str) -> bool:
        """Whether a name is locked."""
        return self.whole or name in self.locked


def plain_site_table(table: str) -> PlainTable:
    """The site's values of one table, for places that must not wait for the schema.

    A file that does not count, or is no TOML, is left out: nothing starts with it, and `forge-tui config` says why.
    """
    found = PlainTable({})
    try:
        paths = site_settings_files()
    except SettingsError:
        return found
    for path in paths:
        import tomllib  # here: most machines have no such file

        try:
            document = tomllib.loads(read_site_file(path).decode("utf-8-sig"))
        except (SettingsError, ValueError, RecursionError):
            continue
        found = _beside(found, table, document)
    return found


def _beside(found: PlainTable, table: str, document: Mapping[str, object]) -> PlainTable:
    """With the values of a more important file, but for what is locked already."""
    given, site = document.get(table), document.get(TABLE)
    new = {} if not isinstance(given, Mapping) else {name: given[name] for name in given if not found.holds(name)}
    listed = site.get(LOCKED) if isinstance(site, Mapping) else None
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    prefix = f"{table}."
    locked = found.locked.union(name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return PlainTable({**found.values, **new}, locked, found.whole or table in names)
