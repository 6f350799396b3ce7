"""Which files custom code is made of, as far as reading it tells."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_tui.errors import SettingsError
from forge_tui.runner.code_closure import closure

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / (name.replace("__in__", "/").replace("INIT", "__init__") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")

    return write


def found(base: Path, *functions: str, path: tuple[str, ...] = ("",)) -> set[str]:
    """The files, from `base`."""
    files = closure(functions, [str(base / one) for one in path]).files
    assert all(Path(file).read_bytes() == content for file, content in files.items())
    return {Path(file).relative_to(base).as_posix() for file in files}


def test_imports_are_followed_wherever_they_stand(tmp_path: Path, write: Write) -> None:
    write(
        net="""
            import first
            from second import thing as other
            try:
                import third
            except ImportError:
                third = None
            if False:
                import fourth.inner
            class Net:
                def forward(self, x):
                    import fifth, importlib
                    sixth = importlib.import_module("sixth")
                    seventh = __import__("seventh")
        """,
        first="import eighth", second="", third="", fourth__in__INIT="", fourth__in__inner="", fifth="", sixth="",
        seventh="", eighth="import net", nobody="", fourth__in__nobody="",
    )  # fmt: skip
    assert found(tmp_path, f"{tmp_path}/net.py") == {
        "net.py", "first.py", "second.py", "third.py", "fourth/__init__.py", "fourth/inner.py", "fifth.py", "sixth.py",
        "seventh.py", "eighth.py",
    }  # fmt: skip


def test_packages_relative_imports_and_namespaces(tmp_path: Path, write: Write) -> None:
    write(
        pkg__in__INIT="from .parts import one",
        pkg__in__parts="from . import two; from .deep.inner import three; from ..outside import none",
        pkg__in__two="from .deep import *",
        pkg__in__deep__in__INIT="import importlib; importlib.import_module('.four', __name__)",
        pkg__in__deep__in__inner="from ...pkg import five",
        pkg__in__deep__in__four="from .. import five",
        pkg__in__five="import space.within.last",
        space__in__within__in__last="from . import beside",
        space__in__within__in__beside="",
        space__in__other="",
        outside="",
    )
    assert found(tmp_path, "pkg.parts:model") == {
        "pkg/__init__.py", "pkg/parts.py", "pkg/two.py", "pkg/five.py", "pkg/deep/__init__.py", "pkg/deep/inner.py",
        "pkg/deep/four.py", "space/within/last.py", "space/within/beside.py",
    }  # fmt: skip


def test_relative_imports_count_from_every_name_that_a_file_has(tmp_path: Path, write: Write) -> None:
    """A file that is named itself belongs to no package; as a part of one it may import relatively."""
    write(
        pkg__in__INIT="",
        pkg__in__net="try:\n from . import helper\nexcept ImportError:\n helper = 1",
        pkg__in__helper="",
    )
    assert found(tmp_path, f"{tmp_path}/pkg/net.py") == {"pkg/net.py"}
    write(other="import pkg.net")
    assert found(tmp_path, f"{tmp_path}/pkg/net.py", f"{tmp_path}/other.py") == {
        "pkg/net.py", "pkg/__init__.py", "pkg/helper.py", "other.py",
    }  # fmt: skip


def test_installed_modules_come_first_and_are_not_copied(tmp_path: Path, write: Write) -> None:
    write(net="import json, torch.nn, numpy as np, mine", json="", torch="", numpy="", mine="import forge_tui.errors")
    assert found(tmp_path, f"{tmp_path}/net.py") == {"net.py", "mine.py"}
    modules = closure(["torchless:f", "torch.nn:Linear", "json:loads"], [str(tmp_path)]).modules
    assert modules.keys() == {"torch.nn", "json"}
    assert modules["torch.nn"][:1].isdigit()
    assert modules["json"] == ""


def test_what_is_below_site_packages_is_never_custom_code(tmp_path: Path, write: Write) -> None:
    write(net="import theirs, within", venv__in__lib="", within__in__INIT="")
    inside = tmp_path / "venv" / "site-packages" / "theirs.py"
    inside.parent.mkdir()
    inside.touch()
    assert found(tmp_path, f"{tmp_path}/net.py", path=("", "venv/site-packages")) == {"net.py", "within/__init__.py"}


def test_directories_are_searched_in_their_order(tmp_path: Path, write: Write) -> None:
    write(one__in__net="import helper, far", one__in__helper="", two__in__helper="", two__in__far="")
    named = f"{tmp_path}/one/net.py"
    assert found(tmp_path, named, path=("two",)) == {"one/net.py", "two/helper.py", "two/far.py"}
    assert found(tmp_path, named, path=("one", "two")) == {"one/net.py", "one/helper.py", "two/far.py"}


@pytest.mark.parametrize("text", ["def f(:", "x = '\0'", "(" * 500, "\ufeffimport helper\n"])
def test_a_file_that_cannot_be_understood_is_copied_all_the_same(tmp_path: Path, text: str) -> None:
    (tmp_path / "net.py").write_text(text, encoding="utf-8")
    (tmp_path / "helper.py").touch()
    wanted = {"net.py", "helper.py"} if "helper" in text else {"net.py"}
    assert found(tmp_path, f"{tmp_path}/net.py") == wanted


def test_other_encodings_are_read_as_python_reads_them(tmp_path: Path, write: Write) -> None:
    (tmp_path / "net.py").write_bytes("# coding: latin-1\nname = 'für'\nimport helper\n".encode("latin-1"))
    write(helper="")
    assert found(tmp_path, f"{tmp_path}/net.py") == {"net.py", "helper.py"}


def test_what_is_not_there_is_left_out_and_what_cannot_be_read_is_said(tmp_path: Path, write: Write) -> None:
    assert found(tmp_path, f"{tmp_path}/nothing.py", "nowhere.to_be:f") == set()
    write(net="import helper")
    (tmp_path / "helper.py").symlink_to(tmp_path / "helper.py")
    assert found(tmp_path, f"{tmp_path}/net.py") == {"net.py"}
    (tmp_path / "helper.py").unlink()
    (tmp_path / "helper.py").write_bytes(b"")
    with (tmp_path / "helper.py").open("r+b") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(SettingsError, match=r"helper.py cannot be read: it has more than 64 MiB"):
        found(tmp_path, f"{tmp_path}/net.py")


def test_nothing_is_executed(tmp_path: Path, write: Write) -> None:
    write(net="raise SystemExit\nimport pkg.inner", pkg__in__INIT="raise SystemExit", pkg__in__inner="raise SystemExit")
    assert found(tmp_path, f"{tmp_path}/net.py") == {"net.py", "pkg/__init__.py", "pkg/inner.py"}
