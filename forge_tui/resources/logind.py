"""What systemd-logind does to a user's processes when a login ends, from its configuration.

Sources: logind.conf(5), loginctl(1) on lingering; `manager_shall_kill` in systemd's src/login/logind-core.c for how the
settings interact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Names = Callable[[str], tuple[str, ...]]
"""The names in a directory, none if it is missing or cannot be listed."""
Text = Callable[[str], str | None]
"""The text of a file, None if it is missing or cannot be read."""

_DIRECTORIES = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd")
_YES, _NO = {"1", "yes", "y", "true", "t", "on"}, {"0", "no", "n", "false", "f", "off"}


@dataclass(frozen=True, slots=True)
class LogindSettings:
    """The settings that decide who is killed; None if not set. `source` is the file of `kill_processes`."""

    kill_processes: bool = False
    source: str | None = None
    only: tuple[str, ...] = ()
    only_source: str | None = None
    exclude: tuple[str, ...] | None = None
    keeps_manager: bool = False

    def killing(self, user: str) -> str | None:
        """The setting, with its file, that kills the processes of `user` at the end of a login; None if none does."""
        if user == "root" if self.exclude is None else user in self.exclude:
            return None
        if self.only:
            return f"KillOnlyUsers in {self.only_source}" if user in self.only else None
        return f"KillUserProcesses=yes in {self.source}" if self.kill_processes else None


def read_logind(read: Text, names: Names) -> LogindSettings:
    """The settings in force: the first main file found, then all drop-ins in the order of their names.

    If nothing sets `KillUserProcesses`, logind's built-in default applies: distributions ship a main file that shows
    it as a comment. Without that it counts as off, as most distributions build it.
    """
    kill, source = False, None
    only: tuple[str, ...] = ()
    only_source = None
    exclude: tuple[str, ...] | None = None
    keeps_manager = False
    for path, text in _files(read, names):
        for key, value, is_comment in _assignments(text):
            if is_comment:
                is_default = key == "KillUserProcesses" and source is None and path.endswith("/logind.conf")
                if is_default and value.lower() in _YES:
                    kill, source = True, f"{path}, where it is the default"
            elif key == "KillUserProcesses" and value.lower() in _YES | _NO:
                kill, source = value.lower() in _YES, path
            elif key == "KillOnlyUsers":
                only, only_source = (*only, *value.split()) if value else (), path
            elif key == "KillExcludeUsers":
                exclude = (*(exclude or ()), *value.split()) if value else ()
            elif key == "UserStopDelaySec":
                keeps_manager = value == "infinity"
    return LogindSettings(kill, source, only, only_source, exclude, keeps_manager)


def _files(read: Text, names: Names) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for directory in _DIRECTORIES:
        text = read(f"{directory}/logind.conf")
        if text is not None:
            found.append((f"{directory}/logind.conf", text))
            break
    drop_ins: dict[str, str] = {}
    for directory in _DIRECTORIES:
        for name in names(f"{directory}/logind.conf.d"):
            if name.endswith(".conf"):
                drop_ins.setdefault(name, f"{directory}/logind.conf.d/{name}")
    for name in sorted(drop_ins):
        text = read(drop_ins[name])
        if text is not None:
            found.append((drop_ins[name], text))
    return found


def _assignments(text: str) -> list[tuple[str, str, bool]]:
    """(key, value, whether it is commented out) of each assignment in the section `[Login]`."""
    found = []
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == "Login":
            key, separator, value = line.lstrip("#;").partition("=")
            if separator:
                found.append((key.strip(), value.strip(), line.startswith(("#", ";"))))
    return found
