"""Site-wide settings: below the user's own, and the keys that they lock for every way of giving a value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import SettingsError
from forge_tui.settings.config_rows import config_rows
from forge_tui.settings.files import read_values
from forge_tui.settings.schema import ResourceSettings, RunSettings, Settings, TrainingConfig, from_plain
from forge_tui.settings.setting_layers import Layer, resolve_settings
from forge_tui.settings.site import hold, hold_earlier, read_site, require_held
from forge_tui.settings.user_file import user_settings_file

Write = Callable[[str], Path]

LOCKED = '[resources]\npolicy = "dedicated"\n[site]\nlocked = ["resources.policy", "training.epochs"]\n'


def resolved(**arguments: Any) -> Any:
    return resolve_settings(**{"environment": {}, "use_user_file": False, **arguments})


def refusal(**arguments: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        resolved(**arguments)
    return str(caught.value)


def test_without_a_file_there_is_nothing(site_settings: Write) -> None:
    assert read_site().locks == ()
    assert resolved().settings == Settings()


def test_the_users_own_file_is_above_the_sites(site_settings: Write, tmp_path: Path) -> None:
    file = site_settings("[run]\nseed = 1\nmax_retries = 9\n")
    own = tmp_path / "own.toml"
    own.write_text("[run]\nseed = 2\n")

    found = resolve_settings(environment={}, user_file=own)

    assert (found.settings.run.seed, found.settings.run.max_retries) == (2, 9)
    assert found.sources["run.max_retries"].layer is Layer.SITE
    assert found.sources["run.max_retries"].text == f"{file}, line 3"
    assert found.sources["run.seed"].layer is Layer.USER


def test_a_locked_key_is_refused_by_every_layer_with_the_file_and_line_of_the_lock(
    site_settings: Write, tmp_path: Path
) -> None:
    file = site_settings(LOCKED)
    own = tmp_path / "own.toml"
    own.write_text('[resources]\npolicy = "shared"\n')
    by = f'resources.policy is locked to "dedicated" by {file}, line 4'

    assert refusal(use_user_file=True, user_file=own).startswith(f"{own}, line 2: {by}")
    assert refusal(settings_file=own).startswith(f"{own}, line 2: {by}")
    assert refusal(environment={"FORGE_TUI_RESOURCES__POLICY": "shared"}).startswith(
        f"FORGE_TUI_RESOURCES__POLICY: {by}"
    )
    assert refusal(flags={"resources.policy": "shared"}).startswith(f"--policy: {by}")
    assert refusal(assignments=["resources.policy=shared"]).startswith(f"--set: {by}")
    epochs = f"training.epochs is locked to 100 by {file}, line 4"
    assert refusal(preset="grokking").splitlines()[0].startswith("preset grokking, line ")
    assert epochs in refusal(preset="grokking")


def test_the_value_that_is_locked_may_be_given(site_settings: Write) -> None:
    site_settings(LOCKED)
    found = resolved(flags={"resources.policy": "dedicated"}, environment={"FORGE_TUI_TRAINING__EPOCHS": "100"})
    assert found.settings.resources.policy == "dedicated"
    assert found.sources["resources.policy"].layer is Layer.SITE


def test_a_table_stands_for_all_its_keys_and_for_no_other(site_settings: Write) -> None:
    site_settings('[site]\nlocked = ["resources"]\n')
    assert "resources.threads is locked to" in refusal(flags={"resources.threads": "2"})
    assert resolved(flags={"run.seed": "4"}).settings.run.seed == 4


def test_a_key_is_no_prefix_of_another(site_settings: Write) -> None:
    """`run.halving` is a key of its own beside `run.halving_first`."""
    site_settings('[site]\nlocked = ["run.halving"]\n')
    assert resolved(flags={"run.halving_first": "2"}).settings.run.halving_first == 2
    assert "run.halving is locked" in refusal(flags={"run.halving": "2"})


def test_a_locked_key_cannot_be_swept_and_sweeps_can_be_locked_as_a_whole(site_settings: Write) -> None:
    site_settings('[site]\nlocked = ["training.learning_rate"]\n')
    assert "training.learning_rate cannot be swept: it is locked" in refusal(sweeps=["learning_rate=0.1,0.2"])
    assert "cannot be swept" in refusal(environment={"FORGE_TUI_SWEEP__LEARNING_RATE": "0.1,0.2"})
    assert "cannot be swept" in refusal(assignments=["sweep.learning_rate=0.1,0.2"])
    site_settings('[site]\nlocked = ["sweep"]\n')
    assert "batch_size cannot be swept: sweeps are locked" in refusal(sweeps=["batch_size=8,16"])


def test_a_locked_key_cannot_be_searched_and_searches_can_be_locked_as_a_whole(site_settings: Write) -> None:
    space = {"training.learning_rate": "0.1..1"}
    settings = from_plain({"search": {"method": "random", "space": space}})
    searching = {"flags": {"search.method": "random"}, "spaces": ["learning_rate=0.1..1"]}
    site_settings('[site]\nlocked = ["training.learning_rate", "run.models"]\n')
    assert "training.learning_rate cannot be searched: it is locked" in refusal(**searching)
    for held in (hold, require_held, hold_earlier):
        with pytest.raises(SettingsError, match=r"training\.learning_rate cannot be searched: it is locked"):
            held(settings)
    other = resolve_settings(environment={}, flags={"search.method": "random"}, spaces=["momentum=0..0.9"])
    assert other.settings.run.models == 3, "a locked number of models is not the search's to change"
    site_settings('[site]\nlocked = ["search"]\n')
    assert "search.method is locked" in refusal(**searching)
    with pytest.raises(SettingsError, match=r"learning_rate cannot be searched: searches are locked"):
        hold(settings)


def test_arguments_of_custom_code_can_be_locked(site_settings: Write) -> None:
    site_settings('[model]\nwidth = 8\n[site]\nlocked = ["model"]\n')
    assert resolved().settings.model == {"width": 8}
    assert "model.width is locked to 8" in refusal(assignments=["model.width=9"])
    assert "model.depth cannot be set: [model] is locked" in refusal(assignments=["model.depth=9"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('locked = ["resource.policy"]', "unknown key resource.policy; did you mean resources.policy?"),
        ('locked = ["policy"]', "unknown key policy; did you mean resources.policy?"),
        ('locked = ["trainings"]', "unknown key trainings; did you mean training?"),
        ('locked = ["model.1x"]', "unknown key model.1x"),
        ('locked = ["ui.theme"]', "ui.theme cannot be locked"),
        ('locked = ["ui"]', "ui cannot be locked"),
        ('locked = "resources"', "must be a list of keys and tables"),
        ("locked = [1]", "must be a list of keys and tables"),
        ('lock = ["resources"]', "unknown key site.lock; this table has locked only"),
    ],
)
def test_what_cannot_be_locked_is_an_error_with_file_and_line(site_settings: Write, text: str, words: str) -> None:
    file = site_settings(f"[site]\n{text}\n")
    assert refusal().startswith(f"{file}, line ")
    assert words in refusal()


def test_an_invalid_value_of_the_site_is_an_error_of_that_file(site_settings: Write) -> None:
    file = site_settings("[training]\nepochs = 0\n")
    assert refusal() == f"{file}, line 2: training.epochs = 0: must be at least 1"


def test_the_table_is_for_the_sites_file_only(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[site]\nlocked = ["resources"]\n')
    with pytest.raises(SettingsError, match=r"own\.toml, line 1: \[site\] is only for the site-wide settings"):
        read_values(own)


def test_a_more_important_site_file_wins_but_for_what_a_less_important_one_locks(
    site_settings: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`XDG_CONFIG_DIRS` is any user's to set: the system's own file counts whatever it says."""
    system = site_settings("[run]\nseed = 1\nmax_retries = 1\n[site]\nlocked = ['run.seed']\n")
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/first:{tmp_path}/second")
    for name, text in (("first", "max_retries = 3"), ("second", "max_retries = 2\nmax_seconds = 9.0")):
        (tmp_path / name / "forge-tui").mkdir(parents=True)
        (tmp_path / name / "forge-tui" / "settings.toml").write_text(f"[run]\n{text}\n")

    run = resolved().settings.run
    assert (run.seed, run.max_retries, run.max_seconds) == (1, 3, 9.0)

    first = tmp_path / "first" / "forge-tui" / "settings.toml"
    first.write_text("[run]\nseed = 5\n")
    assert refusal().startswith(f"{first}, line 2: run.seed is locked to 1 by {system}, line 5")


def test_locks_of_what_plays_no_part_do_not_refuse_a_command(site_settings: Write) -> None:
    site_settings('[training]\nlearning_rate = 0.5\n[site]\nlocked = ["training.learning_rate"]\n')
    settings = resolved(flags={"run.command": ["true", "{seed}"]}).settings
    assert settings.training.learning_rate == 0.001
    assert hold(settings) == settings


def test_in_python_a_default_counts_as_not_given_and_any_other_value_is_refused(site_settings: Write) -> None:
    file = site_settings("[resources]\nmax_cpu_utilization = 0.25\n[site]\nlocked = ['resources']\n")

    assert hold(Settings()).resources.max_cpu_utilization == 0.25
    assert hold(Settings(resources=ResourceSettings(max_cpu_utilization=0.25))).resources.max_cpu_utilization == 0.25
    with pytest.raises(SettingsError) as caught:
        hold(Settings(resources=ResourceSettings(max_cpu_utilization=0.75)))
    assert "resources.max_cpu_utilization = 0.75: resources.max_cpu_utilization is locked to 0.25" in str(caught.value)
    assert f"{file}, line 4" in str(caught.value)
    site_settings("[site]\nlocked = ['training']\n")
    with pytest.raises(SettingsError, match="cannot be swept"):
        hold(Settings(sweep={"training.batch_size": (8, 16)}))


def test_a_resume_follows_the_site_in_what_it_takes_of_the_machine(site_settings: Write) -> None:
    earlier = Settings(resources=ResourceSettings(policy="dedicated"), run=RunSettings(seed=7))
    assert hold_earlier(earlier) == (earlier, ())
    file = site_settings("[site]\nlocked = ['resources.policy']\n")

    settings, changes = hold_earlier(earlier)

    assert (settings.resources.policy, settings.run.seed) == ("shared", 7)
    assert changes == (f'resources.policy is "shared" from here on, not "dedicated": it is locked by {file}, line 2',)


def test_a_resume_is_refused_where_a_lock_is_on_what_is_trained(site_settings: Write) -> None:
    file = site_settings("[site]\nlocked = ['training.epochs', 'engine']\n")
    with pytest.raises(SettingsError) as caught:
        hold_earlier(Settings(training=TrainingConfig(epochs=200)))
    assert f"training.epochs = 200: training.epochs is locked to 100 by {file}" in str(caught.value)


def test_a_resume_knows_paths_that_a_start_has_made_absolute(site_settings: Write, tmp_path: Path) -> None:
    site_settings(f"[run]\npython_path = ['{tmp_path}']\n[site]\nlocked = ['run.python_path']\n")
    recorded = Settings(run=RunSettings(python_path=(str(tmp_path), "/where/it/began")))
    assert hold_earlier(recorded) == (recorded, ())


def test_config_says_what_is_locked_and_where(site_settings: Write) -> None:
    file = site_settings(LOCKED)
    rows = {name: (value, source) for name, value, source in config_rows(resolved())}
    assert rows["resources.policy"] == ('"dedicated"', f"{file}, line 2, locked by {file}, line 4")
    assert rows["training.epochs"] == ("100", f"default, locked by {file}, line 4")
    assert rows["run.seed"] == ("0", "default")


def test_the_users_settings_file_is_not_the_sites(site_settings: Write) -> None:
    assert user_settings_file() != site_settings("")


def test_the_runner_starts_nothing_that_breaks_a_lock_whoever_asks(site_settings: Write, tmp_path: Path) -> None:
    site_settings(f"[run]\npython_path = ['{tmp_path}']\n[site]\nlocked = ['resources', 'run.python_path']\n")
    code = RunSettings(python_path=(str(tmp_path), "/beside"))
    require_held(Settings(run=code))
    with pytest.raises(SettingsError, match=r"resources.policy is locked to .shared."):
        require_held(Settings(run=code, resources=ResourceSettings(policy="dedicated")))
    with pytest.raises(SettingsError, match=r"run.python_path is locked"):
        require_held(Settings(run=RunSettings(python_path=("/elsewhere",))))
