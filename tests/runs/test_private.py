"""What is remembered for a user is the user's alone, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs import registry
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory
from forge_tui.safe_io.whole_files import make_private
from forge_tui.tui.choices import UiChoices

INFO = RunInfo(
    run="r", path="/nowhere/r", mode="series", policy="shared", model_type="planner", models=1, epochs=1, created=1.0
)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _claim(state: Path) -> None:
    claims = Claims(RunDirectory(Path("/nowhere/r")), state)
    claims.set(1, 1)
    claims.release()


@pytest.mark.parametrize(
    ("remember", "directories"),
    [
        (lambda state: registry.register(INFO, state), ("",)),
        (_claim, ("", "claims")),
        (lambda state: UiChoices(state / "ui.json").put("theme", "dark"), ("",)),
        (lambda state: make_private(state / "measured"), ("", "measured")),
    ],
    ids=["registry", "claims", "ui", "measured"],
)
def test_a_state_directory_and_what_is_missing_above_it_are_made_private(
    umask: int, tmp_path: Path, remember: Callable[[Path], None], directories: tuple[str, ...]
) -> None:
    state = tmp_path / "local" / "state" / "forge-tui"
    remember(state)
    made = [tmp_path / "local", tmp_path / "local" / "state", *(state / name for name in directories)]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700] * len(made)


def test_what_is_there_keeps_its_mode_and_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    own.chmod(0o755)
    make_private(own / "new")
    assert stat.S_IMODE(own.stat().st_mode) == 0o755
    (own / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_private(own / "file" / "below")
