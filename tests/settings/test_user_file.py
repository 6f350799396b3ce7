"""Where the user's state lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_tui.settings.setting_layers import resolve_settings
from forge_tui.settings.user_file import state_directory


def test_a_variable_names_another_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_directory() != tmp_path / "shared"
    monkeypatch.setenv("FORGE_TUI_STATE", str(tmp_path / "shared"))
    assert state_directory() == tmp_path / "shared"


def test_it_counts_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORGE_TUI_STATE", "state")
    assert state_directory() == tmp_path / "state"


def test_it_is_no_unknown_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"FORGE_TUI_STATE": str(tmp_path), "FORGE_TUI_TRAINING__EPOCHS": "7"}
    assert resolve_settings(environment=environment).settings.training.epochs == 7
