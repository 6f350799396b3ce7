"""The reference is what the code says."""

from __future__ import annotations

import re

import pytest
from doc_pages import ROOT, generator, section, text_of

import forge_tui
from forge_tui.cli.command_table import COMMANDS
from forge_tui.client.frames import EPOCH_COLUMNS
from forge_tui.protocol.events import KINDS
from forge_tui.protocol.metrics import BUILT_IN
from forge_tui.settings.problems import shown
from forge_tui.settings.schema import Settings, fields_of

GENERATED = ("settings", "commands", "python", "files", "architecture", "forge-tui")


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_up_to_date(name: str) -> None:
    """`python docs/generate.py` writes them."""
    pages = {path.stem: (path, text) for path, text in generator().pages().items()}
    assert sorted(pages) == sorted(GENERATED)
    path, text = pages[name]
    assert path.read_text(encoding="utf-8") == text


def test_the_settings_are_those_of_the_schema() -> None:
    page = text_of("docs/reference/settings.md")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `(--[\w-]+)[^|]*\| (\S+(?: [^|]*\S)?) \|", page, re.MULTILINE)
    keys = {key.key: key for key in fields_of()}
    assert [name for name, _, _ in rows] == list(keys)
    for name, flag, default in rows:
        assert flag == keys[name].flag
        assert default == ("—" if keys[name].default is None else f"`{shown(keys[name].default)}`"), name


def test_every_command_has_a_section() -> None:
    page = text_of("docs/reference/commands.md")
    assert re.findall(r"^### forge-tui (\w+)$", page, re.MULTILINE) == [command.name for command in COMMANDS]
    assert "| `--prompt TEXT` |" in section(page, "### forge-tui sample")


def test_every_public_name_has_a_section() -> None:
    page = text_of("docs/reference/python.md")
    names = [name for name in forge_tui.__all__ if name != "__version__"]
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == names
    assert "Raises `TimeoutError` after `timeout` seconds" in section(page, "### Run.wait")


def test_every_event_has_a_row() -> None:
    page = text_of("docs/reference/files.md")
    assert re.findall(r"^\| `(\w+)` \| (?:run|model) \|", page, re.MULTILINE) == list(KINDS)


def test_every_figure_of_a_report_is_named() -> None:
    (row,) = re.findall(r"^\| `csv` \| .*$", text_of("docs/guide/results.md"), re.MULTILINE)
    assert re.findall(r"`(\w+)`", row)[1:][: len(EPOCH_COLUMNS)] == list(EPOCH_COLUMNS)
    named = set(re.findall(r"`([\w/]+)`", text_of("docs/guide/results.md")))
    assert {metric.name for metric in BUILT_IN if not metric.is_test} <= named


def test_the_settings_classes_are_public() -> None:
    """Each table of the settings can be made with names of `forge_tui` alone."""
    for key in fields_of():
        assert getattr(forge_tui, key.owner.__name__) is key.owner
    settings = forge_tui.Settings(
        training=forge_tui.TrainingConfig(epochs=3), run=forge_tui.RunSettings(models=2),
        data=forge_tui.DataSettings(samples=50), resources=forge_tui.ResourceSettings(threads=1),
        engine=forge_tui.EngineSettings(fuse=1), search=forge_tui.SearchSettings(trials=7),
        ui=forge_tui.UiSettings(ascii=True),
    )  # fmt: skip
    assert type(settings) is Settings
    assert (settings.run.models, settings.engine.fuse) == (2, 1)


def test_type_checkers_see_every_public_name() -> None:
    package = ROOT / "forge_tui"
    assert (package / "py.typed").exists()
    stub = (package / "__init__.pyi").read_text(encoding="utf-8")
    named = {name: home for home, name, same in re.findall(r"^from (\S+) import (\w+) as (\w+)$", stub, re.MULTILINE)}
    assert named == forge_tui._HOMES


def test_the_type_marker_is_part_of_the_wheel() -> None:
    from hatchling.builders.wheel import WheelBuilder

    builder = WheelBuilder(str(ROOT))
    files = {included.distribution_path for included in builder.recurse_included_files()}
    assert {"forge_tui/py.typed", "forge_tui/__init__.pyi", "agent_forge/__init__.py"} <= files
    assert not any(path.startswith(("docs", "tests")) for path in files)
