"""Custom code from its copy: in a process of its own, as workers import it, and beside other code in a script."""

from __future__ import annotations

import importlib
import json
import linecache
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from forge_tui.errors import ChangedError
from forge_tui.runs.code import CodeRecord, sha256, write_copies
from forge_tui.training.code_finder import CodeFinder, Copy, copies_in, install
from forge_tui.training.code_space import CodeSpace, space_of

FILES = {
    "net_x.py": """
        import traceback
        from pathlib import Path
        import parts_x
        from pkg_x.inner import deep
        from space_x.far import away
        HERE = Path(__file__).parent
        def data():
            return (HERE / "data.txt").read_text()
        def fails():
            raise ValueError("here")
        def later():
            import late_x
            return late_x.VALUE
        class Net:
            value = parts_x.VALUE + deep.VALUE + away.VALUE
    """,
    "parts_x.py": "VALUE = 1",
    "late_x.py": "VALUE = 'late'",
    "pkg_x/__init__.py": "from .inner.deep import VALUE",
    "pkg_x/inner/__init__.py": "",
    "pkg_x/inner/deep.py": "from .. import __path__ as path\nVALUE = 10",
    "space_x/far/away.py": "VALUE = 100",
}


class Project:
    """Files, their copy, and its record."""

    def __init__(self, base: Path, files: Mapping[str, str] = FILES) -> None:
        self.base, self.root, self.copy = base, base / "project", base / "run" / "code"
        contents = {f"project/{name}": textwrap.dedent(text).encode() for name, text in files.items()}
        for name, content in contents.items():
            place = base / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        (self.root / "data.txt").write_text("data beside it", encoding="utf-8")
        (self.root / "pkg_x" / "table.txt").parent.mkdir(exist_ok=True)
        (self.root / "pkg_x" / "table.txt").write_text("a table", encoding="utf-8")
        self.copy.parent.mkdir()
        write_copies(self.copy, contents)
        hashes = {name: sha256(content) for name, content in contents.items()}
        self.record = CodeRecord(hashes, {"project": str(self.root)})

    def finder(self, **given: Any) -> CodeFinder:
        return CodeFinder(self.record, copies_in(self.copy, self.record.files), **given)

    def space(self) -> CodeSpace:
        return space_of(self.record, copies_in(self.copy, self.record.files), [str(self.root)])

    def edit(self, name: str, before: str, after: str) -> None:
        path = self.root / name
        path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(autouse=True)
def _own_imports() -> Iterator[None]:
    path, finders, cached = list(sys.path), list(sys.meta_path), set(linecache.cache)
    yield
    sys.path[:], sys.meta_path[:] = path, finders
    for name in [name for name in sys.modules if name.partition(".")[0].endswith("_x")]:
        del sys.modules[name]
    for name in set(linecache.cache) - cached:
        del linecache.cache[name]


def net(project: Project, **given: Any) -> Any:
    """The module, imported as a worker does."""
    install(project.finder(**given))
    sys.path.append(str(project.root))
    return importlib.import_module("net_x")


def test_everything_is_the_copys_but_its_name(project: Project) -> None:
    for name in FILES:
        project.edit(name, "VALUE =", "VALUE = 7 #")
    module = net(project)
    assert module.Net.value == 111
    assert module.__file__ == str(project.root / "net_x.py")
    assert sys.modules["pkg_x"].__path__ == [str(project.root / "pkg_x")]
    assert sys.modules["pkg_x.inner.deep"].path == [str(project.root / "pkg_x")]
    assert list(sys.modules["space_x"].__path__) == [str(project.root / "space_x")]
    assert module.data() == "data beside it"
    assert module.later() == "late"


def test_files_of_packages_are_found_as_usual(project: Project) -> None:
    import importlib.resources
    import pkgutil

    net(project)
    assert importlib.resources.files("pkg_x").joinpath("table.txt").read_text() == "a table"
    assert pkgutil.get_data("pkg_x", "table.txt") == b"a table"
    assert [one.name for one in pkgutil.iter_modules(sys.modules["pkg_x"].__path__)] == ["inner"]


def test_tracebacks_and_sources_show_the_text_that_ran(project: Project) -> None:
    import inspect
    import traceback

    module = net(project)
    project.edit("net_x.py", '    raise ValueError("here")', "    pass\n\n\n")
    linecache.checkcache()
    assert "here" in inspect.getsource(module.fails)
    assert "parts_x.VALUE + deep" in inspect.getsource(module.Net)
    with pytest.raises(ValueError, match="here") as caught:
        module.fails()
    said = "".join(traceback.format_exception(caught.value))
    assert f'File "{project.root}/net_x.py", line 11' in said
    assert 'raise ValueError("here")' in said


def test_nothing_compiled_is_read_or_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import py_compile

    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    other = project.base / "other.py"
    other.write_text("VALUE = 9", encoding="utf-8")
    # As a stale one is: it says that it is of this very file.
    stale = py_compile.compile(
        str(other), importlib.util.cache_from_source(str(project.root / "parts_x.py")), doraise=True
    )
    py_compile.compile(str(other), stale, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert net(project).parts_x.VALUE == 1
    assert [path for path in project.base.rglob("*.pyc") if path != Path(str(stale))] == []


def test_where_the_original_is_gone_the_copy_has_its_own_place(project: Project) -> None:
    shutil.rmtree(project.root)
    module = net(project)
    assert module.Net.value == 111
    assert module.__file__ == str(project.copy / "project" / "net_x.py")
    assert sys.modules["pkg_x"].__path__ == [str(project.copy / "project" / "pkg_x")]
    assert module.later() == "late"


def test_modules_can_be_reloaded_and_described(project: Project) -> None:
    module = net(project)
    project.edit("parts_x.py", "1", "2")
    assert importlib.reload(module.parts_x).VALUE == 1
    spec = importlib.util.find_spec("pkg_x.inner.deep")
    assert spec is not None
    assert spec.origin == str(project.root / "pkg_x" / "inner" / "deep.py")


def test_installed_modules_and_others_are_found_as_usual(project: Project) -> None:
    (project.base / "elsewhere").mkdir()
    (project.base / "elsewhere" / "aside_x.py").write_text("VALUE = 3", encoding="utf-8")
    net(project)
    sys.path.append(str(project.base / "elsewhere"))
    assert importlib.import_module("aside_x").VALUE == 3
    assert importlib.import_module("json").loads is json.loads
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("nowhere_x")


def test_an_earlier_directory_of_the_path_wins_as_usual(project: Project) -> None:
    (project.base / "before").mkdir()
    (project.base / "before" / "parts_x.py").write_text("VALUE = 5", encoding="utf-8")
    sys.path.insert(0, str(project.base / "before"))
    assert net(project).parts_x.VALUE == 5


def test_a_namespace_may_have_parts_elsewhere(project: Project) -> None:
    (project.base / "more" / "space_x" / "near").mkdir(parents=True)
    (project.base / "more" / "space_x" / "near" / "here.py").write_text("VALUE = 4", encoding="utf-8")
    sys.path.append(str(project.base / "more"))
    net(project)
    assert importlib.import_module("space_x.near.here").VALUE == 4
    assert importlib.import_module("space_x.far.away").VALUE == 100


def test_a_file_that_is_not_recorded_is_asked_for_once(project: Project) -> None:
    asked: list[str] = []

    def ask(file: str) -> tuple[str, Copy]:
        asked.append(file)
        return "project/new_x.py", Copy(str(project.copy / "project" / "new_x.py"), b"VALUE = 'of the copy'")

    (project.root / "new_x.py").write_text("VALUE = 'of the file'", encoding="utf-8")
    finder = project.finder(ask=ask)
    install(finder)
    sys.path.append(str(project.root))
    assert importlib.import_module("new_x").VALUE == "of the copy"
    del sys.modules["new_x"]
    assert importlib.import_module("new_x").VALUE == "of the copy"
    assert asked == [str(project.root / "new_x.py")]
    assert finder.record.files["project/new_x.py"] == sha256(b"VALUE = 'of the copy'")


def test_a_copy_that_is_not_what_was_recorded_is_refused(project: Project) -> None:
    (project.copy / "project" / "parts_x.py").write_text("VALUE = 8", encoding="utf-8")
    with pytest.raises(ChangedError, match=r"parts_x.py is not what the run was started with"):
        project.finder()


# --- beside other code


def imported(space: CodeSpace, name: str) -> Any:
    with space.active():
        return importlib.import_module(name)


def test_code_that_is_still_the_same_is_imported_as_usual(project: Project) -> None:
    module = imported(project.space(), "net_x")
    assert sys.modules["net_x"] is module
    sys.path.append(str(project.root))
    assert importlib.import_module("parts_x") is module.parts_x


def test_two_texts_of_one_file_live_side_by_side(project: Project, tmp_path: Path) -> None:
    first = imported(project.space(), "net_x")
    project.edit("parts_x.py", "1", "2")
    project.edit("late_x.py", "late", "later")
    project.edit("net_x.py", "class Net:", "class Other:\n    pass\nclass Net:")
    now = {name: (project.root / name).read_text(encoding="utf-8") for name in FILES}
    again = Project(tmp_path / "again", now)
    moved = CodeRecord(again.record.files, {"project": str(project.root)})
    second_space = space_of(moved, copies_in(again.copy, moved.files), [str(project.root)])
    second = imported(second_space, "net_x")
    assert (first.Net.value, second.Net.value) == (111, 112)
    assert not hasattr(first, "Other")
    assert sys.modules["net_x"] is first
    assert (first.later(), second.later()) == ("late", "later")
    assert imported(second_space, "net_x") is second
    assert sys.modules["net_x"] is first


def test_what_a_script_has_imported_itself_is_left_alone(project: Project) -> None:
    sys.path.append(str(project.root))
    mine = importlib.import_module("net_x")
    project.edit("parts_x.py", "1", "2")
    path, known = list(sys.path), set(sys.modules)
    theirs = imported(project.space(), "net_x")
    assert theirs is not mine
    assert theirs.later() == "late"
    assert sys.modules["net_x"] is mine
    assert set(sys.modules) == known
    assert sys.path == path
    assert theirs.data() == "data beside it"


def test_where_the_original_is_gone_functions_import_later_all_the_same(project: Project) -> None:
    shutil.rmtree(project.root)
    theirs = imported(project.space(), "net_x")
    assert theirs.later() == "late"
    assert not [name for name in sys.modules if name.endswith("_x")]


def test_modules_of_python_keep_their_place(tmp_path: Path) -> None:
    """A file of a package may have the name of a module of Python."""
    project = Project(
        tmp_path, {"pkg_x/__init__.py": "", "pkg_x/json.py": "X = 1", "net_x.py": "import json, pkg_x.json"}
    )
    before = sys.modules["json"]
    project.edit("net_x.py", "import", "import json\nimport")
    module = imported(project.space(), "net_x")
    assert module.json is before is sys.modules["json"]
    assert module.pkg_x.json.X == 1


def test_in_a_new_process_too(project: Project) -> None:
    """What the other tests see does not hang on what pytest has imported."""
    code = (
        "import sys; from pathlib import Path; from forge_tui.runs.code import CodeRecord; "
        "from forge_tui.training.code_finder import CodeFinder, copies_in, install; import json\n"
        "files, root, copy = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])\n"
        "install(CodeFinder(CodeRecord(files, {'project': root}), copies_in(copy, files)))\n"
        "sys.path.append(root)\nimport net_x\nprint(net_x.Net.value, net_x.later(), net_x.data())"
    )
    project.edit("parts_x.py", "1", "2")
    arguments = [json.dumps(dict(project.record.files)), str(project.root), str(project.copy)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "111 late data beside it"
