"""The form's values: edited, stepped, checked, filled and saved."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from forge_tui.errors import SettingsError
from forge_tui.resources.hardware import SystemResources
from forge_tui.settings.files import read_settings
from forge_tui.settings.schema import Settings, fields_of
from forge_tui.tui.form.dataset_file import ENDINGS, DatasetFile, examine
from forge_tui.tui.form.fields import FIRST, named_in, sections
from forge_tui.tui.form.form_values import Form
from forge_tui.tui.form.kinds import Kind, hides
from forge_tui.tui.form.source import FormSource, fill_form, load_file, preset_file, presets, run_form, save_form


@pytest.fixture
def form() -> Form:
    return fill_form(FormSource(), {}).form


def machine(cpus: int = 4, memory: float = 64.0) -> SystemResources:
    return SystemResources(
        cpu_count=cpus,
        memory_gb=memory,
        available_memory_gb=memory,
        cpu_usage_percent=0.0,
        recommended_workers=2,
        memory_per_worker_gb=8.0,
        others_cpu_percent=0.0,
    )


@pytest.mark.parametrize("kind", Kind)
def test_every_setting_that_matters_for_what_is_trained_stands_in_the_form_once(kind: Kind) -> None:
    names = [key.key for section in sections(kind) for key in section.keys]

    first = [name for name in FIRST if not hides(kind, name)]
    if kind is not Kind.BUILT_IN:
        first.insert(0, kind.setting)
    assert names[: len(first)] == first
    assert sorted(names) == sorted(key.key for key in fields_of() if key.table != "ui" and not hides(kind, key.key))


def test_what_is_typed_is_read_by_the_type_of_the_setting(form: Form) -> None:
    form = form.edit("training.epochs", " 7 ").edit("training.betas", "0.5, 0.75").edit("run.output", "my run")
    form = form.edit("resources.threads", "2").edit("run.max_seconds", "90")

    settings = form.settings()

    assert settings.training.epochs == 7
    assert settings.training.betas == (0.5, 0.75)
    assert settings.run.output == "my run"
    assert settings.resources.threads == 2
    assert settings.run.max_seconds == 90.0


def test_a_sweep_stands_beside_the_settings_until_one_value_is_given(tmp_path: Path) -> None:
    form = fill_form(FormSource(sweeps=("learning_rate=0.001,0.003", "batch_size=8,16")), {}).form

    assert form.swept("training.learning_rate") == [0.001, 0.003]
    save_form(form, tmp_path / "mine.toml")
    assert read_settings(tmp_path / "mine.toml").sweep == form.settings().sweep
    assert run_form(tmp_path / "mine.toml", form).swept("training.batch_size") == [8, 16]
    edited = form.edit("training.learning_rate", "0.001")
    assert edited.swept("training.learning_rate") is None
    assert edited.settings().sweep == {"training.batch_size": (8, 16)}
    assert form.reset("training.batch_size").settings().sweep == {"training.learning_rate": (0.001, 0.003)}
    assert form.edit("training.epochs", "3").settings().sweep == form.settings().sweep


def test_a_sweep_is_typed_and_does_not_come_back_the_next_time(form: Form) -> None:
    rate, size, betas = "training.learning_rate", "training.batch_size", "training.betas"

    assert form.edit_values(rate, "0.002,").values[rate] == 0.002  # while it is being typed
    swept = form.edit_values(rate, "0.001, 0.003").edit_values(size, "8,16")
    swept = swept.edit_values(betas, "[[0.9, 0.9], [0.5, 0.9]]")
    assert swept.errors() == {}
    assert swept.settings().sweep == {rate: (0.001, 0.003), size: (8, 16), betas: ([0.9, 0.9], [0.5, 0.9])}
    assert {key.key for key in swept.changed()} == {rate, size, betas}
    for name in (rate, size, betas):
        assert swept.edit_values(name, swept.typed_values(name)).plain() == swept.plain()
    assert (
        fill_form(FormSource(), swept.edit("run.seed", "3").set_here()).form.plain() == form.put("run.seed", 3).plain()
    )
    # As an earlier version kept it.
    assert (
        fill_form(FormSource(), {f"sweep.{rate}": [1, 2], "sweep.training.gone": [1, 2]}).form.plain() == form.plain()
    )
    one = swept.edit_values(rate, "0.5")
    assert (one.values[rate], one.swept(rate)) == (0.5, None)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("training.learning_rate", "0.1, fast", '"fast" must be a number'),
        ("training.learning_rate", "0.1, 0.1", "0.1 is given twice"),
        ("training.learning_rate", "[0.1, ", "must be a list of at least one value, such as [0.001, 0.003]"),
        ("training.optimizer", "adam, adm", '"adm" must be'),
    ],
)
def test_what_is_wrong_with_a_typed_sweep_is_said(form: Form, name: str, text: str, problem: str) -> None:
    wrong = form.edit_values(name, text)

    assert wrong.errors()[name].startswith(problem)
    assert list(wrong.set_here()) == []
    with pytest.raises(SettingsError, match=re.escape(problem)):
        wrong.settings()


def test_with_a_search_several_values_and_ranges_are_its_space(tmp_path: Path, form: Form) -> None:
    rate, size = "training.learning_rate", "training.batch_size"
    searched = form.edit_values(size, "8,16").edit("search.method", "random").edit_values(rate, "1e-4..1e-1 :log")
    assert searched.values["run.models"] == 1
    assert searched.errors() == {}
    settings = searched.settings()
    assert (settings.search.space, settings.sweep) == ({size: (8, 16), rate: "1e-4..1e-1 :log"}, {})
    assert {key.key for key in searched.changed()} >= {rate, size, "search.method"}
    assert searched.typed_values(rate) == "1e-4..1e-1 :log"
    save_form(searched, tmp_path / "mine.toml")
    for again in (run_form(tmp_path / "mine.toml", form), load_file(form, tmp_path / "mine.toml")):
        assert again.settings().search == settings.search
        assert again.swept(rate) == "1e-4..1e-1 :log"
    given = FormSource(flags={"search.method": "random"}, spaces=("learning_rate=0.1..1", "batch_size=8,16"))
    assert fill_form(given, {}).form.settings().search.space == {rate: "0.1..1", size: (8, 16)}

    swept = searched.edit("search.method", "none").edit_values(rate, "0.1,0.2")
    assert swept.settings().sweep == {size: (8, 16), rate: (0.1, 0.2)}
    assert swept.values["run.models"] == 3
    assert searched.edit(rate, "0.5").space() == {size: [8, 16]}
    assert fill_form(FormSource(), searched.set_here()).form.plain() == form.plain(), "the next run searches nothing"


def test_what_is_wrong_with_a_search_is_said_beside_its_settings(form: Form) -> None:
    rate, size, trials = "training.learning_rate", "training.batch_size", "search.trials"
    ranged = form.edit_values(rate, "1e-4..1e-1:log")
    assert ranged.errors() == {
        rate: "a range is searched: set the search method below to random or tpe, or list values"
    }
    searching = form.edit("search.method", "tpe")
    assert searching.errors().keys() == {"search.method"}
    assert searching.errors()["search.method"].startswith("nothing to search: V on a setting")
    assert searching.edit_values(rate, "1..0.1").errors()[rate].startswith("the lower end comes first")
    few = searching.edit_values(size, "8,16")
    assert few.errors() == {trials: "the space has 2 different configs, and none is trained twice"}
    many = searching.edit_values(rate, "0.1..1").edit("run.models", "9000")
    assert "360,000; at most 100,000" in many.errors()["run.models"]
    with pytest.raises(SettingsError, match=r"data\.samples cannot be searched"):
        searching.edit_values("data.samples", "10,20")


def test_too_many_models_of_a_sweep_are_said_beside_their_number(form: Form) -> None:
    form = form.edit("run.models", "60000").edit_values("training.batch_size", "8,16")

    assert list(form.errors()) == ["run.models"]
    assert "at most 100,000" in form.errors()["run.models"]
    with pytest.raises(SettingsError, match=r"training\.epochs cannot be swept"):
        form.edit_values("training.epochs", "1,2")


def test_an_empty_text_unsets_only_what_has_no_default(form: Form) -> None:
    form = form.edit("run.output", "x").edit("run.output", "").edit("training.epochs", "")

    assert form.values["run.output"] is None
    assert form.errors() == {"training.epochs": "must be a whole number"}


def test_every_value_can_be_edited_as_it_is_shown_for_editing(form: Form) -> None:
    for key in fields_of():
        again = form.edit(key.key, form.typed(key.key)) if not key.is_switch else form
        assert again.plain() == form.plain(), key.key


def test_errors_are_in_the_words_of_the_settings_and_start_is_refused(form: Form) -> None:
    form = form.edit("training.epochs", "0").edit("training.learning_rate", "fast")

    assert form.errors() == {"training.epochs": "must be at least 1", "training.learning_rate": "must be a number"}
    assert form.typed("training.learning_rate") == "fast"
    with pytest.raises(SettingsError, match="Epochs: must be at least 1\nLearning rate: must be a number"):
        form.settings()


def test_steps_go_through_words_switches_and_numbers(form: Form) -> None:
    def after(name: str, *steps: int) -> object:
        stepped = form
        for step in steps:
            stepped = stepped.step(name, step)
        return stepped.values[name]

    assert after("training.training_mode", 1) == "parallel"
    assert after("training.training_mode", -1) == "parallel"
    assert after("training.model_type", -1) == "memory"
    assert after("training.grokfast_enabled", 1) is True
    assert after("training.max_parallel_workers", 1, 1) == 5
    assert after("training.max_parallel_workers", -1, -1, -1) == 1
    assert after("training.learning_rate", 1, 1) == 0.005
    assert after("training.learning_rate", -1) == 0.0005
    assert after("training.model_size", -1) == 50_000
    assert after("training.epochs", 1) == 200
    assert after("training.batch_size", 1, -1, -1) == 16
    assert after("run.seed", -1) == 0
    assert after("data.validation_fraction", 1) == 0.1
    assert after("data.prime", 1) == 101
    assert after("data.prime", -1, -1) == 83
    assert after("data.prime", *[-1] * 30) == 2
    assert after("data.prime", *[1] * 200) == 997
    assert after("data.operation", 1) == "+"


def test_the_default_comes_back(form: Form) -> None:
    changed = form.edit("training.betas", "0.1, 0.2").edit("training.epochs", "3")

    assert [key.key for key in changed.changed()] == ["training.epochs", "training.betas"]
    assert changed.reset("training.betas").reset("training.epochs").changed() == ()


def test_the_verdict_follows_the_workers_the_mode_and_the_policy(form: Form) -> None:
    series = form.verdict(machine())
    parallel = form.put("training.training_mode", "parallel")
    shared = parallel.verdict(machine())
    dedicated = parallel.put("resources.policy", "dedicated").verdict(machine())

    assert series is not None
    assert series.workers == 1
    assert shared is not None
    assert dedicated is not None
    assert (shared.workers, shared.limited_by, shared.hint) == (2, "cpu", "--policy dedicated")
    assert (dedicated.workers, dedicated.limited_by) == (3, "request")
    assert parallel.edit("training.max_parallel_workers", "many").verdict(machine()) is None
    # A threshold that may not stand gives way to its default: the verdict on the workers stays.
    wrong = parallel.edit("resources.max_cpu_utilization", "9").verdict(machine())
    assert wrong is not None
    assert wrong.workers == 2


def test_a_dataset_that_is_not_there_is_wrong_beside_its_field(form: Form, tmp_path: Path) -> None:
    form = form.put("training.dataset", "missing.csv")
    looked_at = form.with_dataset(examine("missing.csv", tmp_path))

    assert form.errors() == {}
    assert looked_at.errors() == {"training.dataset": f"there is no such file; check the path (relative to {tmp_path})"}
    assert looked_at.put("training.dataset", "synthetic").errors() == {}


def test_a_target_must_be_a_column_of_the_file(form: Form, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,label\n1,2\n", encoding="utf-8")
    form = form.put("training.dataset", "a.csv").with_dataset(examine("a.csv", tmp_path))

    assert form.errors()["data.target"].startswith("a.csv has no column 'target': say which one to predict")
    assert form.put("data.target", "label").errors() == {}
    assert form.put("data.target", "y").errors()["data.target"] == "a.csv has no column 'y'; there are 'x', 'label'"


def test_settings_that_play_no_part_say_why(form: Form) -> None:
    assert form.unused("training.grokfast_alpha") == "GrokFast is off"
    assert form.put("training.grokfast_enabled", True).unused("training.grokfast_alpha") is None
    assert form.unused("training.max_parallel_workers") == "one, in series"
    assert form.unused("data.samples") is None
    assert form.unused("run.halving_first") == "halving is off"
    assert form.put("run.halving", 3).unused("run.halving_first") is None
    assert form.put("training.dataset", "a.csv").unused("data.samples") == "for synthetic data"
    assert form.unused("data.scaling") is None
    assert form.put("data.normalise", False).unused("data.scaling") == "normalise is off"
    for name in ("a.txt", "modular"):
        assert form.put("training.dataset", name).unused("data.scaling") == "not for this data"
    assert form.put("training.dataset", "a.txt").unused("data.class_weights") == "not for this data"
    assert form.unused("data.prime") == "for modular data"
    modular = form.put("training.dataset", "modular")
    assert modular.unused("data.prime") is None
    assert modular.unused("data.classes") == "for synthetic data"
    for name in ("data.validation_fraction", "data.normalise", "data.target"):
        assert modular.unused(name) == "not for this data"
    assert form.unused("run.python_path") == "for custom code"
    assert form.put("training.loss", "net.py").unused("run.python_path") is None
    assert form.put("training.training_mode", "series").unused("engine.fuse") == "in parallel only"
    assert form.put("training.training_mode", "parallel").unused("engine.fuse") is None


def test_a_setting_that_one_value_of_a_sweep_needs_plays_a_part(form: Form) -> None:
    assert form.unused("training.momentum") == "for sgd only"
    both = form.edit_values("training.optimizer", "adam, sgd")
    assert both.unused("training.momentum") is None
    assert both.unused("training.betas") is None
    assert form.edit_values("training.optimizer", "sgd, ").unused("training.betas") == "not for sgd"


def test_the_last_form_comes_back_where_nothing_is_given() -> None:
    last = {"training.batch_size": 8, "run.seed": 9, "run.models": 0, "no.key": 1}

    filled = fill_form(FormSource(), last).form

    assert (filled.values["run.seed"], filled.sources["run.seed"].text) == (9, "as last time")
    assert filled.values["run.models"] == 3
    assert filled.set_here() == {"training.batch_size": 8, "run.seed": 9}
    assert filled.from_last_time == 2


@pytest.mark.parametrize(
    "given",
    [
        FormSource(preset="parallel"),
        FormSource(settings_file="mine.toml"),
        FormSource(flags={"ui.theme": "light"}),
        FormSource(assignments=("run.models=2",)),
        FormSource(sweeps=("batch_size=8,16",)),
        "FORGE_TUI_RUN__MODELS",
        "FORGE_TUI_UI__THEME",
        "FORGE_TUI_MODEL__CHANNELS",
    ],
    ids=["preset", "file", "flag", "set", "sweep", "variable", "variable of the ui", "variable of one's own"],
)
def test_where_anything_is_given_the_form_starts_from_exactly_that(
    given: FormSource | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("", encoding="utf-8")  # a file that sets nothing has been given too
    if isinstance(given, str):
        monkeypatch.setenv(given, "light" if given.endswith("THEME") else "2")
    source = given if isinstance(given, FormSource) else FormSource()

    with_last, without = fill_form(source, {"run.seed": 9, "training.batch_size": 8}).form, fill_form(source, {}).form

    assert with_last.plain() == without.plain()
    assert with_last.from_last_time == 0


def test_all_defaults_come_back_at_once() -> None:
    source = FormSource(preset="parallel", assignments=("model.width=3",), sweeps=("batch_size=8,16",))
    form = fill_form(source, {}).form.put("run.seed", 9)

    plain = form.reset_all()

    assert plain.changed() == ()
    assert plain.settings() == Settings()
    assert plain.set_here() == {}
    assert plain.base == form.base


def test_a_wrong_file_is_told_and_leaves_the_defaults(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[training]\nepochs = 0\n", encoding="utf-8")

    filled = fill_form(FormSource(settings_file=str(wrong)), {})

    assert filled.problem == f"{wrong}, line 2: training.epochs = 0: must be at least 1"
    assert filled.form.changed() == ()


def test_a_preset_replaces_only_what_it_sets(form: Form) -> None:
    found = {preset.name: preset for preset in presets()}
    form = form.put("training.epochs", 7)

    loaded = load_file(form, found["parallel"].path, "parallel")

    assert loaded.values["training.training_mode"] == "parallel"
    assert loaded.values["training.epochs"] == 7
    assert loaded.sources["training.training_mode"].text.startswith("preset parallel, line ")


def test_a_saved_preset_is_read_back_and_found_again(form: Form) -> None:
    path = preset_file("mine")
    form = form.put("training.epochs", 7).put("run.seed", 4)

    save_form(form, path)

    assert read_settings(path) == form.settings()
    assert "[ui]" not in path.read_text(encoding="utf-8")
    assert [(preset.name, preset.shipped) for preset in presets()][-1] == ("mine", False)


def test_a_saved_preset_keeps_arguments_of_ones_own_functions(tmp_path: Path) -> None:
    assignments = ("training.model_type=net.py", "model.channels=8")
    form = fill_form(FormSource(assignments=assignments), {}).form

    save_form(form, tmp_path / "mine.toml")

    assert read_settings(tmp_path / "mine.toml").model == {"channels": 8}
    assert run_form(tmp_path / "mine.toml", form).settings().model == {"channels": 8}


@pytest.mark.parametrize("name", ["", "  "])
def test_a_preset_needs_a_name(name: str) -> None:
    with pytest.raises(SettingsError, match="needs a name"):
        preset_file(name)


def test_a_preset_with_a_wrong_value_is_not_written(form: Form, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Epochs: must be at least 1"):
        save_form(form.edit("training.epochs", "0"), tmp_path / "x.toml")

    assert list(tmp_path.iterdir()) == []


def test_a_run_s_settings_and_new_ones_from_them(form: Form, tmp_path: Path) -> None:
    save_form(form.put("training.epochs", 7).put("run.output", str(tmp_path / "r")), tmp_path / "settings.toml")

    of_run = run_form(tmp_path / "settings.toml", form)
    new = of_run.for_a_new_run()

    assert of_run.values["run.output"] == str(tmp_path / "r")
    assert (new.values["training.epochs"], new.values["run.output"]) == (7, None)


def test_a_message_names_a_setting_by_its_flag() -> None:
    assert named_in("--dataset x.csv: there is no such file") == "training.dataset"
    assert named_in("one model needs more: train with a smaller --model-size or --batch-size") == "training.model_size"
    assert named_in("move its files with --overwrite") is None


def test_what_is_found_of_datasets(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    (tmp_path / "latin.csv").write_bytes(b"a,\xff\n")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "old.dta").write_bytes(b"x")
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    (tmp_path / "notes.md").write_text("x", encoding="utf-8")
    (tmp_path / "text.parquet").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "text.npy").write_bytes(b"1,2\n")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and so on")

    def problem(name: str) -> str:
        return examine(name, tmp_path).problem or ""

    assert examine("synthetic", tmp_path) == DatasetFile("synthetic")
    assert examine("modular", tmp_path) == DatasetFile("modular")
    assert problem("empty.csv").startswith("is empty; it needs a header")
    assert examine("latin.csv", tmp_path).columns == ("a", "ÿ")
    assert problem("binary.csv").startswith("is no text (")
    assert problem("old.dta").startswith("is a Stata file; convert it: python -c ")
    assert problem("bad.npz").startswith("is not a .npz archive")
    assert problem("text.parquet") == "is not a Parquet file; write it again"
    assert problem("text.npy") == "is not a .npy file; write it with numpy.save"
    assert examine("a.parquet", tmp_path) == DatasetFile("a.parquet", ".parquet")
    assert examine("a.parquet", tmp_path).target_problem("y") is None
    assert problem("notes.md").startswith(
        "unknown kind of dataset; give `synthetic`, `modular` or a file that ends in .csv"
    )
    assert problem(".").startswith("is a directory")
    for ending in ENDINGS:
        os.mkfifo(tmp_path / f"pipe{ending}")
        assert problem(f"pipe{ending}").startswith("is a pipe, a socket or a device, not a file")


def test_the_arrays_of_an_archive_are_its_targets(tmp_path: Path) -> None:
    import numpy

    numpy.savez(tmp_path / "a.npz", features=numpy.zeros((2, 3)), labels=numpy.zeros(2))

    found = examine("a.npz", tmp_path)

    assert (found.problem, found.columns, found.default_target) == (None, ("labels",), None)
    assert found.target_problem("labels") is None
    assert found.target_problem(None) is None  # found by its usual name
    assert found.target_problem("targets") == "a.npz has no array 'targets'; there are 'labels'"
