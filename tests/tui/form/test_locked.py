"""Settings that the site locks keep their values in the form, whatever is done to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forge_tui.tui.form.form_values import Form
from forge_tui.tui.form.lines import about, items
from forge_tui.tui.form.settings_rows import Item
from forge_tui.tui.form.source import FormSource, fill_form, load_file, run_form
from forge_tui.tui.widgets.glyphs import UNICODE

Write = Callable[[str], Path]

SITE = '[resources]\npolicy = "dedicated"\n[site]\nlocked = ["resources.policy", "training.batch_size", "run.models"]\n'


def filled(last: dict[str, object] | None = None) -> Form:
    return fill_form(FormSource(), last or {}).form


def test_every_change_of_a_locked_setting_is_refused_and_says_why(site_settings: Write) -> None:
    file = site_settings(SITE)
    form = filled()
    attempts = (
        form.put("resources.policy", "shared"),
        form.edit("resources.policy", "shared"),
        form.step("resources.policy", 1),
        form.reset("resources.policy"),
        form.edit_values("training.batch_size", "8,16"),
        form.edit("training.batch_size", "64"),
    )
    for changed in attempts:
        assert (changed.values["resources.policy"], changed.values["training.batch_size"]) == ("dedicated", 32)
        assert changed.swept("training.batch_size") is None
        assert f"{file}, line 4" in changed.refusal
    assert form.put("run.seed", 5).refusal == ""


def test_all_defaults_leave_locked_settings_as_the_site_has_them(site_settings: Write) -> None:
    site_settings(SITE)
    assert filled().put("run.seed", 5).reset_all().values["resources.policy"] == "dedicated"


def test_values_of_the_last_form_do_not_replace_locked_ones(site_settings: Write) -> None:
    site_settings(SITE)
    form = filled({"resources.policy": "shared", "run.seed": 3})
    assert (form.values["resources.policy"], form.values["run.seed"], form.refused) == ("dedicated", 3, ())


def test_a_preset_changes_the_others_and_says_what_it_could_not(site_settings: Write, tmp_path: Path) -> None:
    site_settings(SITE)
    (tmp_path / "mine.toml").write_text('[resources]\npolicy = "shared"\n[run]\nseed = 9\n')
    form = load_file(filled(), tmp_path / "mine.toml")
    assert (form.values["resources.policy"], form.values["run.seed"]) == ("dedicated", 9)
    assert 'resources.policy is locked to "dedicated"' in form.refusal


def test_a_runs_settings_are_shown_as_they_are_and_taken_as_the_site_has_them(
    site_settings: Write, tmp_path: Path
) -> None:
    site_settings(SITE)
    (tmp_path / "run.toml").write_text('[resources]\npolicy = "shared"\n[run]\nseed = 9\n')
    of_run = run_form(tmp_path / "run.toml", filled())
    assert of_run.values["resources.policy"] == "shared"
    new = of_run.for_a_new_run()
    assert (new.values["resources.policy"], new.values["run.seed"]) == ("dedicated", 9)


def test_a_command_does_not_bring_its_own_number_of_models_where_that_is_locked(site_settings: Write) -> None:
    site_settings(SITE)
    assert filled().edit("run.command", "true {seed}").values["run.models"] == 3


def test_another_problem_leaves_the_locks_in_force(site_settings: Write) -> None:
    site_settings(SITE)
    found = fill_form(FormSource(flags={"training.epochs": "0"}), {})
    assert found.problem is not None
    assert found.form.values["resources.policy"] == "dedicated"
    assert found.form.put("resources.policy", "shared").values["resources.policy"] == "dedicated"


def test_locked_settings_are_marked(site_settings: Write) -> None:
    file = site_settings(SITE)
    form = filled()
    shown = {row.name: row for row in items(form, {}, None, UNICODE) if isinstance(row, Item)}
    assert shown["resources.policy"].value == "dedicated (locked)"
    assert shown["resources.policy"].note == "site settings.toml:2"
    assert "locked" not in shown["run.seed"].value
    from forge_tui.settings.schema import keys_by_name

    assert f"locked by {file}, line 4" in about(form, keys_by_name()["resources.policy"])[1]
