"""The same code through the whole run: people edit their files while models train, and before they resume."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from custom_code import CODE, EDITED, RUN, Held, change, described, edit, outputs, records, write_project
from depth import deep
from running import forge, script, weights

from forge_tui import load_model
from forge_tui.client.run import Run
from forge_tui.errors import ChangedError


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The weights of the same run left alone."""
    project = write_project(tmp_path_factory.mktemp("undisturbed"))
    forge(*RUN, "--output", "run", cwd=project)
    return weights(project / "run")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def warned(run: Path) -> list[str]:
    return [record["message"] for record in records(run, "resource_warning", kind="code")]


def test_editing_the_code_changes_no_retry_and_no_later_model_and_is_reported_once(
    project: Path, undisturbed: dict[str, bytes]
) -> None:
    """The first model fails once after the edit and is tried again; the second one begins after it."""
    run = project / "run"
    (project / "fail").touch()
    with Held(project, *RUN, "--output", "run") as held:
        edit(project)
        held.wait("the report", lambda: sum(str(project / name) in "".join(warned(run)) for name in EDITED) == 4)
        change(project / "parts.py", "3 * scale", "4 * scale")
        out = held.release()
    assert str(run / "cognate_net_2") in out
    assert len(records(run, "model_retried")) == 1
    assert weights(run) == undisturbed
    assert all("was changed after the start of the run" in message for message in warned(run))
    assert [sum(str(project / name) in message for message in warned(run)) for name in EDITED] == [1, 1, 1, 1]


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `kept`: the project that lay at `now/project` when its run was stopped in the first model."""
    base = tmp_path_factory.mktemp("stopped")
    project = write_project(base / "now" / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_TUI_STATE", str(base / "state"))
        with Held(project, *RUN, "--output", "run") as held, Run(project / "run") as attached:
            assert attached.answer(attached.stop()) is not None
            held.release(status=1)
    assert not weights(project / "run")
    project.rename(base / "kept")
    return base


@pytest.fixture
def stopped(stopped_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project where it was, as when its run was stopped, for the user who has started it."""
    monkeypatch.setenv("FORGE_TUI_STATE", str(stopped_once / "state"))
    shutil.rmtree(stopped_once / "now")
    return Path(shutil.copytree(stopped_once / "kept", stopped_once / "now" / "project"))


def test_a_resume_continues_with_the_copy(stopped: Path, undisturbed: dict[str, bytes]) -> None:
    project, run = stopped, stopped / "run"
    edit(project)
    forge("resume", "run", "--no-ui", cwd=project)
    assert weights(run) == undisturbed
    (told,) = warned(run)
    assert all(str(project / name) in told for name in EDITED)
    assert [described(run, number)["exact"] for number in (1, 2)] == [True, True]


def test_a_resume_needs_no_original(stopped: Path, undisturbed: dict[str, bytes]) -> None:
    project, run = stopped, stopped / "run"
    shutil.copytree(run, project.parent / "kept")
    shutil.rmtree(project)
    (project.parent / "kept").rename(project.parent / "run")
    # The test's own head.txt lies beside the copy now: data files are not copied.
    (code,) = [path.parent for path in (project.parent / "run" / "code").rglob("net.py")]
    (code / "head.txt").write_text("narrow", encoding="utf-8")
    forge("resume", "run", "--no-ui", cwd=project.parent)
    assert weights(project.parent / "run") == undisturbed


def test_accepted_changes_take_the_new_code_and_are_not_exact(stopped: Path, undisturbed: dict[str, bytes]) -> None:
    project, run = stopped, stopped / "run"
    before = records(run, "checkpoint_saved")
    assert [record["model"] for record in before] == ["cognate_net_1"]
    edit(project, shapes=False)
    forge("resume", "run", "--no-ui", "--accept-changes", cwd=project)
    assert weights(run).keys() == undisturbed.keys()
    assert weights(run)["cognate_net_2.safetensors"] != undisturbed["cognate_net_2.safetensors"]
    first, second = described(run, 1), described(run, 2)
    assert (first["exact"], second["exact"]) == (False, False)
    assert sorted(second["code"].values()) == sorted(sha256(project / name) for name in CODE)
    (told,) = [message for message in warned(run) if "--accept-changes" in message]
    assert "parts.py" in told
    whole = project.parent / "whole"
    forge(*RUN, "--output", whole, cwd=project)
    assert weights(run)["cognate_net_2.safetensors"] == weights(whole)["cognate_net_2.safetensors"]


def test_models_of_before_keep_their_code_when_changes_are_accepted(project: Path) -> None:
    """The first model was completed with the old code: it is loaded with that."""
    run = project / "run"
    forge(*RUN, "--models", "1", "--output", "run", cwd=project)
    before = outputs(run / "cognate_net_1")
    change(project / "net.py", "return nn.Sequential(", "return nn.Sequential(nn.Identity(), nn.Flatten(), ")
    forge("resume", "run", "--no-ui", "--accept-changes", "--epochs", "5", cwd=project, status=1)  # another shape
    assert outputs(run / "cognate_net_1") == before


GROUPS = ("--mode", "parallel", "--workers", "1", "--models", "4", "--fuse", "2")


def test_groups_use_the_same_code(project: Path, tmp_path: Path) -> None:
    """Two models train together; the next two begin after the edit, and a resume trains all further."""
    run = (*RUN, *GROUPS)
    whole = write_project(tmp_path / "whole")
    forge(*run, "--epochs", "4", "--output", "run", cwd=whole)
    with Held(project, *run, "--epochs", "3", "--output", "run") as held:
        edit(project)
        held.release()
    assert len(records(project / "run", "model_started")) == 4
    forge("resume", "run", "--no-ui", "--epochs", "4", cwd=project)
    assert weights(project / "run") == weights(whole / "run")


def test_swept_functions_are_copied_too(project: Path) -> None:
    run = project / "run"
    text = (project / "net.py").read_text(encoding="utf-8")
    (project / "other.py").write_text(f"import aside\n{text}", encoding="utf-8")
    (project / "aside.py").touch()
    swept = ("--sweep", "model_type=net.py,other.py", "--models", "1", "--epochs", "1")
    once = [one for place, one in enumerate(RUN) if "--model-type" not in RUN[max(0, place - 1) : place + 1]]
    forge(*once, *swept, "--output", "run", cwd=project)
    assert {"project/other.py", "project/aside.py"} <= described(run, 1)["code"].keys()
    edit(project)
    change(project / "other.py", "import aside", "raise SystemExit")
    stem = run / "cognate_other_2"
    assert len(outputs(stem)) == 2


def test_what_is_first_imported_while_models_train_is_copied_then(project: Path) -> None:
    run = project / "run"
    (project / "bonus_1.py").write_text("from bonus_parts import VALUE", encoding="utf-8")
    (project / "bonus_parts.py").write_text("VALUE = 10", encoding="utf-8")
    with Held(project, *RUN, "--output", "run") as held:
        (project / "bonus.txt").write_text("bonus_1", encoding="utf-8")
        held.release()
    for name in ("bonus_1.py", "bonus_parts.py"):
        (told,) = [message for message in warned(run) if str(project / name) in message]
        assert "imported for the first time after the start of the run" in told
        assert described(run, 2)["code"][f"project/{name}"] == sha256(project / name)
    change(project / "bonus_parts.py", "10", "20")
    forge("resume", "run", "--no-ui", "--epochs", "5", cwd=project)  # it is recorded, and trusted
    assert 10 <= described(run, 2)["validation"]["metric"] <= 11


def test_what_is_not_imported_as_code_is_said(project: Path) -> None:
    (project / "loaded.py").write_text("VALUE = 1", encoding="utf-8")
    change(
        project / "parts.py",
        "from torch import nn\n",
        "import importlib.util, sys\nfrom pathlib import Path\nfrom torch import nn\n"
        "spec = importlib.util.spec_from_file_location('loaded', Path(__file__).with_name('loaded.py'))\n"
        "sys.modules['loaded'] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(sys.modules['loaded'])\n",
    )
    forge(*RUN, "--models", "1", "--epochs", "1", "--output", "run", cwd=project)
    (told,) = warned(project / "run")
    assert f"{project / 'loaded.py'} is loaded from its original place, not from a copy" in told


def test_code_below_the_output_directory_is_kept_beside_a_directory_called_code(project: Path) -> None:
    """A run in the project itself: its `code/` is the user's, and the copy lies in it under a name of its own."""
    (project / "code" / "project").mkdir(parents=True)
    (project / "code" / "project" / "net.py").write_text("mine", encoding="utf-8")
    forge(*RUN, "--models", "1", "--epochs", "1", "--output", ".", cwd=project)
    assert (project / "code" / "project" / "net.py").read_text(encoding="utf-8") == "mine"
    assert described(project, 1)["code"].keys() == {f"project-2/{name}" for name in CODE}


def test_functions_named_by_module(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the project is copied as files are; of an installed one only its name and version are kept."""
    installed = project.parent / "site-packages"
    installed.mkdir()
    (installed / "theirs.py").write_text(
        "from torch import nn\ndef loss(outputs, targets): return nn.functional.cross_entropy(outputs, targets)",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(installed))
    (project / "bodies" / "made.py").write_text("from net import model", encoding="utf-8")
    named = ("--model-type", "bodies.made:model", "--dataset", "net:dataset", "--loss", "theirs:loss")
    run = ("--no-ui", *named, "--policy", "dedicated", "--threads", "1", "--models", "1", "--epochs", "1")
    forge(*run, "--set", "data.samples=80", "--output", "run", cwd=project)
    record = described(project / "run", 1, "bodies_made")
    assert record["code"].keys() == {f"project/{name}" for name in (*CODE, "bodies/made.py")}
    assert record["code_modules"] == {"theirs": ""}
    (project / "bodies" / "made.py").write_text("raise SystemExit", encoding="utf-8")
    assert len(outputs(next((project / "run").glob("*_1.json")).with_suffix(""))) == 2
    forge("ensemble", "run", cwd=project, own_process=True)  # the installed module is on its path


def test_a_damaged_copy_is_refused_in_words(stopped: Path) -> None:
    project, run = stopped, stopped / "run"
    (copy,) = (run / "code").rglob("parts.py")
    change(copy, "mul_(scale)", "mul_(2 * scale)")
    said = forge("resume", "run", "--no-ui", cwd=project, status=2).stderr
    assert str(copy) in said
    assert "not what the run was started with" in said
    assert "--accept-changes" in said
    copy.unlink()
    assert "is missing" in forge("resume", "run", "--no-ui", cwd=project, status=2).stderr
    forge("resume", "run", "--no-ui", "--accept-changes", cwd=project)


@dataclass(frozen=True)
class Checked:
    """A project whose run of one model was checked, and then carried out, and what lies in the project then."""

    project: Path
    run: Path
    before: list[Path]
    after: list[Path]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    base = tmp_path_factory.mktemp("checked")
    project = write_project(base / "project")
    (project / "unused.py").write_text("unused", encoding="utf-8")
    before = sorted(project.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_TUI_STATE", str(base / "state"))
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        for more in (("--check",), ("--models", "1", "--epochs", "1", "--output", base / "run")):
            forge(*RUN, *more, cwd=project)
    return Checked(project, base / "run", before, sorted(project.rglob("*")))


def test_what_is_copied_and_recorded(checked: Checked) -> None:
    """Every file of code and none of data, with its SHA-256, readable by the user alone."""
    project, run = checked.project, checked.run
    copies = sorted(path for path in (run / "code").rglob("*") if path.is_file())
    found = {path.relative_to(run / "code").as_posix(): sha256(path) for path in copies}
    assert found == {f"project/{name}": sha256(project / name) for name in CODE}
    assert described(run, 1)["code"] == found
    assert {path.stat().st_mode & 0o777 for path in copies} == {0o600}
    assert (run / "code").stat().st_mode & 0o777 == 0o700


def test_nothing_is_written_beside_the_code(checked: Checked) -> None:
    assert checked.after == checked.before


# --- every file of the copy counts


LISTED = """
import json
import forge_tui
from forge_tui.training.code_finder import CopyLoader

executed, execute = set(), CopyLoader.exec_module

def noted(self, module):
    executed.add(self.source.path)
    execute(self, module)

CopyLoader.exec_module = noted
forge_tui.load_model(sys.argv[1], trust_code=True)
print(json.dumps(sorted(executed)))
"""


@pytest.fixture
def finished(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Its run, while none of the originals can be imported any more."""
    monkeypatch.setenv("FORGE_TUI_STATE", str(checked.project.parent / "state"))
    originals = {checked.project / name: (checked.project / name).read_bytes() for name in CODE}
    for path in originals:
        path.write_text("raise SystemExit('the original was imported')", encoding="utf-8")
    yield checked.run
    for path, content in originals.items():
        path.write_bytes(content)


def test_a_model_is_loaded_with_every_file_of_the_copy(finished: Path) -> None:
    done = script(LISTED, finished / "cognate_net_1")
    assert done.returncode == 0, done.stderr
    found = {path.removeprefix("project/") for path in json.loads(done.stdout)}
    assert found == set(CODE)


@pytest.mark.parametrize("name", CODE)
def test_a_model_is_not_loaded_with_an_edited_copy_of_any_file(finished: Path, name: str) -> None:
    copy = finished / "code" / "project" / name
    before = copy.read_bytes()
    copy.write_bytes(before + b"\n# harmless\n")
    try:
        with pytest.raises(ChangedError, match="not what the run was started with") as caught:
            load_model(finished / "cognate_net_1", trust_code=True)
        assert str(copy) in str(caught.value)
        copy.unlink()
        with pytest.raises(ChangedError, match="is missing"):
            load_model(finished / "cognate_net_1", trust_code=True)
    finally:
        copy.write_bytes(before)


@pytest.mark.parametrize("name", [deep("net.py"), "bodies/constants.py"])
def test_later_models_of_a_live_run_refuse_an_edited_copy(project: Path, name: str) -> None:
    run = project / "run"
    with Held(project, *RUN, "--output", "run") as held:
        copy = run / "code" / "project" / name
        copy.write_bytes(copy.read_bytes() + b"\n# edited while the first model trains\n")
        held.release(status=1)
    (failed,) = records(run, "model_failed")
    assert (failed["model"], failed["kind"], failed["will_retry"]) == ("cognate_net_2", "changed", False)
    assert str(copy) in failed["message"]
    assert weights(run).keys() == {"cognate_net_1.safetensors"}
