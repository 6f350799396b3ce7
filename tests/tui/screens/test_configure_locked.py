"""Configure where the site locks settings: they are marked, and no key edits them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from configuring import configure

Write = Callable[[str], Path]

RATE, POLICY = "training.learning_rate", "resources.policy"


@pytest.mark.parametrize("keys", [("enter",), ("space",), ("right",), ("left",), ("u",), ("V",)])
@pytest.mark.parametrize("name", [RATE, POLICY])
async def test_no_key_edits_a_locked_setting_and_each_says_why(
    site_settings: Write, tmp_path: Path, keys: tuple[str, ...], name: str
) -> None:
    if (name, keys) == (POLICY, ("V",)):
        pytest.skip("the policy can never be swept")
    file = site_settings(f'[training]\nlearning_rate = 0.5\n[site]\nlocked = ["{RATE}", "{POLICY}"]\n')
    async with configure(tmp_path / "state") as hand:
        await hand.select(name)
        before = dict(hand.form.values)
        await hand.press(*keys)

        assert dict(hand.form.values) == before
        assert not hand.panel.pane.is_open
        assert hand.status.endswith(f": locked by {file}, line 4, for all users")


async def test_what_is_locked_is_marked_and_a_run_starts_with_it(site_settings: Write, tmp_path: Path) -> None:
    file = site_settings(f'[training]\nlearning_rate = 0.5\n[site]\nlocked = ["{RATE}"]\n')
    async with configure(tmp_path / "state") as hand:
        await hand.select(RATE)
        assert (hand.item(RATE).value, hand.item(RATE).note) == ("0.5 (locked)", "site settings.toml:2")
        await hand.press("U", "ctrl+r")
        ((settings, _),) = hand.app.started
        assert settings.training.learning_rate == 0.5
        assert file.exists()


async def test_a_preset_says_what_it_could_not_change(site_settings: Write, tmp_path: Path) -> None:
    site_settings(f'[site]\nlocked = ["{RATE}"]\n')
    (tmp_path / "mine.toml").write_text("[training]\nlearning_rate = 0.25\nepochs = 7\n")
    async with configure(tmp_path / "state") as hand:
        hand.screen._load(tmp_path / "mine.toml", None)
        await hand.until(lambda: "mine.toml: 1 setting changed" in hand.status)
        assert f"{RATE} is locked to 0.001" in hand.status
        assert (hand.form.values[RATE], hand.form.values["training.epochs"]) == (0.001, 7)
