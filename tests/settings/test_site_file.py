"""A site-wide settings file counts only while nobody but the administrator can write it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_tui.errors import SettingsError
from forge_tui.settings import site_file
from forge_tui.settings.setting_layers import resolve_settings
from forge_tui.settings.site_file import plain_site_table, read_site_file, site_settings_files
from forge_tui.tui.options import read_options, read_resources

Write = Callable[[str], Path]


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        read_site_file(path)
    return str(caught.value)


def test_the_administrators_file_is_read(site_settings: Write) -> None:
    path = site_settings("[run]\n")
    assert site_settings_files() == (path,)
    assert read_site_file(path) == b"[run]\n"


def test_a_file_of_another_user_is_refused_with_the_command_that_mends_it(
    site_settings: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site_settings("")
    path.parent.parent.chmod(0o700)
    monkeypatch.setattr(site_file, "ADMINISTRATOR", os.getuid() + 1)
    assert "belongs to" in refusal(path)
    assert f"`chown -h {os.getuid() + 1} {path.parent}`" in refusal(path)


def test_where_root_has_no_number_its_files_have_that_of_all_owners_from_outside(
    site_settings: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container of a user without root's rights."""
    path = site_settings("")
    monkeypatch.setattr(site_file, "ADMINISTRATOR", os.getuid() + 1)
    monkeypatch.setattr(site_file, "_number", lambda _: os.getuid())
    assert "belongs to" in refusal(path)
    monkeypatch.setattr(site_file, "_has_root", lambda: False)
    assert read_site_file(path) == b""


@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_a_file_that_anyone_can_write_is_refused(site_settings: Write, mode: int) -> None:
    path = site_settings('[resources]\npolicy = "dedicated"\n')
    path.chmod(mode)
    assert refusal(path).startswith(f"{path}: it can be written by anyone, so it is not used")
    assert f"`chmod o-w {path}`" in refusal(path)


def test_a_directory_that_anyone_can_write_is_refused_unless_it_is_sticky(site_settings: Write) -> None:
    path = site_settings("")
    path.parent.chmod(0o777)
    assert "its directory can be written by anyone" in refusal(path)
    path.parent.chmod(0o1777)
    assert read_site_file(path) == b""


def test_a_group_may_write_it(site_settings: Write) -> None:
    path = site_settings("")
    path.chmod(0o664)
    assert read_site_file(path) == b""


def test_a_link_counts_as_what_it_leads_to(site_settings: Write, tmp_path: Path) -> None:
    path = site_settings("")
    path.unlink()
    target = tmp_path / "shared.toml"
    target.write_text("[run]\n")
    path.symlink_to(target)
    assert read_site_file(path) == b"[run]\n"
    target.chmod(0o666)
    assert "can be written by anyone" in refusal(path)


def test_one_that_does_not_count_ends_every_start_because_its_locks_would_be_lifted(site_settings: Write) -> None:
    site_settings('[site]\nlocked = ["resources"]\n').chmod(0o666)
    with pytest.raises(SettingsError, match="nothing starts until your administrator mends it"):
        resolve_settings(environment={}, use_user_file=False)


def test_a_directory_in_its_place_is_told(site_settings: Write) -> None:
    path = site_settings("")
    path.unlink()
    path.mkdir(mode=0o755)
    assert "cannot be read" in refusal(path)


def test_a_directory_of_the_variable_that_cannot_be_looked_into_is_left_out_and_the_systems_own_is_not(
    site_settings: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root's directories are after `sudo -u`: the specification says to skip them."""
    path = site_settings("")
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/closed")
    real = Path.lstat
    closed = [tmp_path / "closed" / "forge-tui" / "settings.toml"]

    def lstat(one: Path) -> os.stat_result:
        if one in closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(one)

    monkeypatch.setattr(Path, "lstat", lstat)
    assert site_settings_files() == (path,)
    closed.append(path)
    with pytest.raises(SettingsError, match="cannot be looked at: Permission denied"):
        site_settings_files()


def test_the_ui_reads_its_options_below_the_users_own(site_settings: Write) -> None:
    site_settings('[ui]\ntheme = "light"\nrefresh = 4.0\n')
    options = read_options({"FORGE_TUI_UI__REFRESH": "5.0"})
    assert (options.theme, options.refresh) == ("light", 5.0)


def test_doctor_advises_by_what_is_locked(site_settings: Write) -> None:
    site_settings(
        '[resources]\npolicy = "dedicated"\n[site]\nlocked = ["resources.policy", "resources.max_cpu_utilization"]\n'
    )
    given = {
        "FORGE_TUI_RESOURCES__POLICY": "shared",
        "FORGE_TUI_RESOURCES__MAX_CPU_UTILIZATION": "1.0",
        "FORGE_TUI_RESOURCES__HIGH_CPU_THRESHOLD": "50.0",
    }
    assert read_resources(given) == {"policy": "dedicated", "high_cpu_threshold": 50.0}


def test_a_locked_table_takes_nothing_from_more_important_files(
    site_settings: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_settings('[resources]\nthreads = 1\n[site]\nlocked = ["resources"]\n')
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/more")
    (tmp_path / "more" / "forge-tui").mkdir(parents=True)
    (tmp_path / "more" / "forge-tui" / "settings.toml").write_text("[resources]\nthreads = 9\n")
    found = plain_site_table("resources")
    assert (found.values, found.holds("anything")) == ({"threads": 1}, True)
