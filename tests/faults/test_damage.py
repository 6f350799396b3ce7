"""A short run of the damage that `damage.py` does to every kind of state file, and what it found once."""

from __future__ import annotations

import random
import sqlite3

import pytest
from damaging import Damage
from storm_checks import told

KINDS = 10
CASES = 10 * KINDS


@pytest.fixture(scope="module")
def damage(tmp_path_factory: pytest.TempPathFactory) -> Damage:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        return Damage(tmp_path_factory.mktemp("damage"))


def test_every_reader_refuses_tells_or_shows_what_was(damage: Damage) -> None:
    account = damage.try_out(CASES, random.Random(7))
    assert account.problems == [], account.table()
    assert len(account.outcomes) == KINDS
    assert account.outcomes["NAME.safetensors"]["refused"] == CASES // KINDS
    assert account.outcomes["settings.toml"]["refused"] >= CASES // KINDS - 2  # a change of a comment or of epochs
    assert account.outcomes["checkpoint"]["told"] > 0


def test_settings_cut_off_between_two_lines_are_not_resumed_with_defaults(damage: Damage) -> None:
    run = damage.copy("died")
    settings = run / "settings.toml"
    lines = settings.read_text().splitlines(keepends=True)
    for length in range(len(lines)):
        settings.write_text("".join(lines[:length]))
        assert damage.resumed(run) == "refused", length
    settings.write_text("")
    status, _out, err = told("resume", run)
    assert status == 4
    assert f"{settings} is not what the run was started with" in err
    settings.write_text("".join(f"{line}# a comment\n" for line in lines))
    assert damage.resumed(run) == "as it was"


def test_a_damaged_name_in_the_schema_is_told_in_words(damage: Damage) -> None:
    run = damage.copy("ended")
    content = (run / "run.db").read_bytes()
    assert content.count(b"tablerunrun") == 1  # the table's row in the schema
    (run / "run.db").write_bytes(content.replace(b"tablerunrun", b"table\xecunrun"))
    status, _out, err = told("status", run)
    assert status == 4
    assert f"{run}/run.db is damaged" in err


def test_a_report_of_damaged_rows_says_that_some_are_left_out(damage: Damage) -> None:
    run = damage.copy("ended")
    with sqlite3.connect(run / "run.db") as database:
        database.execute("UPDATE epochs SET metrics = replace(metrics, '\"loss\":', '\"loss\":1') WHERE seq % 7 = 0")
    for form in ("text", "json", "csv"):
        status, _out, err = told("report", run, "--format", form)
        assert status == 0
        if form != "text":  # it shows no epochs
            assert "of table epochs left out: wrong checksum" in err
