"""The native library: compiled once, kept, and refused in words."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from native import native_library

from forge_tui.kernels import compiler, library
from forge_tui.kernels.library import NoKernel, load_library

Write = Callable[[str], Path]


@pytest.fixture
def compiled() -> Path:
    """A library that was compiled by a real compiler."""
    return Path(native_library().functions._name)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Makes a compiler of a shell script: `$out` is what it is to write, and each call adds a line to `calls`."""

    def write(script: str) -> Path:
        program, calls = tmp_path / "compiler", tmp_path / "calls"
        lines = ["#!/bin/sh", f"echo called >> '{calls}'", "for out; do :; done", script]
        program.write_text("\n".join(lines) + "\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("CXX", str(program))
        return calls

    return write


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that does not exist yet."""
    return tmp_path / "cache" / "kernels"


def calls_in(calls: Path) -> int:
    return len(calls.read_text(encoding="utf-8").splitlines())


def test_it_is_compiled_once_and_for_this_user_alone(compiled: Path, stand_in: Write, cache: Path) -> None:
    calls = stand_in(f"cp '{compiled}' \"$out\"")
    first = load_library(cache)
    assert load_library(cache).build == first.build
    assert calls_in(calls) == 1
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (cache, *cache.glob("*.so"))] == [0o700, 0o700]
    assert first.functions.lanes() in (4, 8, 16)


def test_those_that_need_it_at_once_wait_for_one_compiler(compiled: Path, stand_in: Write, cache: Path) -> None:
    calls = stand_in(f"sleep 0.2; cp '{compiled}' \"$out\"")
    with ThreadPoolExecutor(4) as threads:
        builds = {one.build for one in threads.map(load_library, [cache] * 4)}
    assert len(builds) == 1
    assert calls_in(calls) == 1


def test_a_refusal_is_given_in_the_compilers_words_and_not_asked_for_again(stand_in: Write, cache: Path) -> None:
    calls = stand_in("echo 'error: unknown argument' >&2; exit 1")
    for _ in range(2):
        with pytest.raises(NoKernel, match="refused the native kernel: error: unknown argument"):
            load_library(cache)
    assert calls_in(calls) == 1
    (failed,) = cache.glob("*.failed")
    os.utime(failed, (0, 0))
    with pytest.raises(NoKernel, match="refused"):
        load_library(cache)
    assert calls_in(calls) == 2


def test_a_silent_refusal_has_its_exit_status(stand_in: Write, cache: Path) -> None:
    stand_in("exit 3")
    with pytest.raises(NoKernel, match="refused the native kernel: exit status 3, without a word"):
        load_library(cache)


def test_a_compiler_that_was_killed_is_tried_again(compiled: Path, stand_in: Write, cache: Path) -> None:
    calls = stand_in("kill -9 $$")
    with pytest.raises(NoKernel, match="was ended by SIGKILL"):
        load_library(cache)
    with pytest.raises(NoKernel, match="was ended by SIGKILL"):
        load_library(cache)
    assert calls_in(calls) == 2
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_a_library_that_was_cut_off_is_compiled_again(compiled: Path, stand_in: Write, cache: Path) -> None:
    calls = stand_in(f"cp '{compiled}' \"$out\"")
    cache.mkdir(parents=True, mode=0o700)
    build = compiler.digest(compiler.find_compiler() or pytest.fail("no stand-in"))
    cut = cache / f"planner-{build}.so"
    cut.write_bytes(compiled.read_bytes()[:100])
    cut.chmod(0o700)
    with pytest.raises(NoKernel, match="cannot be loaded"):
        load_library(cache)
    assert load_library(cache).build == build
    assert calls_in(calls) == 1


def test_what_others_could_have_written_is_not_loaded(compiled: Path, stand_in: Write, cache: Path) -> None:
    stand_in(f"cp '{compiled}' \"$out\"")
    load_library(cache)
    (path,) = cache.glob("*.so")
    path.chmod(0o770)
    with pytest.raises(NoKernel, match="not yours alone to write"):
        load_library(cache)
    path.chmod(0o700)
    cache.chmod(0o777)
    with pytest.raises(NoKernel, match="not yours alone to write"):
        load_library(cache)


def test_a_cache_that_cannot_be_made_is_a_reason(stand_in: Write, tmp_path: Path) -> None:
    stand_in("exit 1")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NoKernel, match="cannot be kept or loaded"):
        load_library(tmp_path / "file" / "kernels")


def test_without_a_compiler_there_is_none(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(NoKernel, match="no C\\+\\+ compiler was found"):
        load_library(cache)


def test_the_name_follows_from_source_compiler_flags_and_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(compiler.SOURCE, source)
    one = compiler.Compiler(("g++",), "/usr/bin/g++ 1 2")
    before = compiler.digest(one)
    monkeypatch.setattr(compiler, "SOURCE", source)
    assert compiler.digest(one) == before
    others = {before, compiler.digest(compiler.Compiler(("g++", "-O1"), "/usr/bin/g++ 1 2"))}
    others.add(compiler.digest(compiler.Compiler(("g++",), "/usr/bin/g++ 1 3")))
    (source / "adam.h").write_text("// other", encoding="utf-8")
    others.add(compiler.digest(one))
    monkeypatch.setattr(compiler, "cpu_features", lambda: ("avx2",))
    others.add(compiler.digest(one))
    monkeypatch.setattr(compiler, "processor", lambda: "another")
    others.add(compiler.digest(one))
    assert len(others) == 6


def test_only_the_newest_libraries_are_kept(compiled: Path, stand_in: Write, cache: Path) -> None:
    stand_in(f"cp '{compiled}' \"$out\"")
    cache.mkdir(parents=True, mode=0o700)
    for number in range(12):
        old = cache / f"planner-{number}.so"
        old.write_bytes(b"")
        os.utime(old, (number, number))
    load_library(cache)
    assert len(list(cache.glob("*.so"))) == library._KEPT + 1
    assert not (cache / "planner-0.so").exists()
