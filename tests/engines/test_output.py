"""What processes print reaches its log whole, never waits for a disk, and is accounted for where it is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from running import wait_until

from forge_tui.engines import buffered_log as waiting_log
from forge_tui.engines.output import Output, Outputs
from forge_tui.runs.log_file import LogFile

MOST = 1 << 20


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[Outputs]:
    (tmp_path / "logs").mkdir()
    directory = os.open(tmp_path, os.O_RDONLY)
    with closing(Outputs(directory, MOST)) as made:
        yield made
    os.close(directory)


class Disk:
    """Stands between the logs and the file system: may be stuck or full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.waits = threading.Event()
        self.failure: OSError | None = None
        real = LogFile.write

        def write(file: LogFile, data: bytes) -> int:
            if not self.goes_on.is_set():
                self.waits.set()
            self.goes_on.wait()
            if self.failure is not None:
                raise self.failure
            return real(file, data)

        monkeypatch.setattr(LogFile, "write", write)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(monkeypatch)
    yield made
    made.goes_on.set()


def text(tmp_path: Path, name: str = "a") -> bytes:
    return (tmp_path / "logs" / f"{name}.log").read_bytes()


def is_written(outputs: Outputs, output: Output) -> None:
    wait_until(lambda: outputs.is_written(output, outputs.drained(output)), "the log")


def test_what_a_process_prints_is_in_the_log_byte_by_byte(outputs: Outputs, tmp_path: Path) -> None:
    said = bytes(range(256)) + b"\r 5 %\r 10 %\r\n part of a line"
    output, writing = outputs.pipe("a")
    os.write(writing, said)
    os.close(writing)
    is_written(outputs, output)
    assert text(tmp_path) == said


def test_a_process_that_prints_nothing_has_an_empty_log(outputs: Outputs, tmp_path: Path) -> None:
    output, writing = outputs.pipe("a")
    os.close(writing)
    is_written(outputs, output)
    assert text(tmp_path) == b""


def test_nobody_who_prints_waits_for_a_disk_that_is_stuck(
    outputs: Outputs, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_tui.engines.output.WAITING_BYTES", 1 << 16)
    disk.goes_on.clear()
    output, writing = outputs.pipe("a")
    printed = b"".join(b"%015d\n" % number for number in range(250_000))  # 4 MB: many times what may wait
    os.write(writing, b"first\n")
    assert disk.waits.wait(30)
    printer = threading.Thread(target=lambda: os.write(writing, printed))
    printer.start()
    printer.join(30)
    assert not printer.is_alive(), "what prints waits for the disk"
    assert not outputs.is_written(output, outputs.drained(output))
    disk.goes_on.set()
    is_written(outputs, output)
    assert select.select([outputs.news], [], [], 30)[0], "nobody is told that it is written"
    os.close(writing)
    found = text(tmp_path)
    lost = rb"^\[forge-tui: (\d+) bytes of output were lost here: the disk did not keep up\]$"
    (told,) = re.findall(lost, found, re.MULTILINE)
    kept = re.sub(rb"(?m)^\[forge-tui: .*\]\n", b"", found)
    assert kept.startswith(b"first\n")
    assert printed.endswith(kept[6:])
    assert len(kept) + int(told) == len(printed) + 6


def test_a_log_that_cannot_be_written_goes_on_when_it_can_and_says_what_was_lost(
    outputs: Outputs, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_tui.engines.output.WAITING_BYTES", 1 << 16)
    output, writing = outputs.pipe("a")
    os.write(writing, b"before, part of a line")
    is_written(outputs, output)
    disk.failure = OSError(errno.EIO, "Input/output error")
    printed = b"".join(b"%015d\n" % number for number in range(50_000))
    for start in range(0, len(printed), 1 << 14):
        os.write(writing, printed[start : start + (1 << 14)])
    problem = wait_until(outputs.take_problem, "the problem")
    assert problem == "logs/a.log cannot be written: Input/output error; output is lost until it can be"
    assert outputs.take_problem() is None
    wait_until(lambda: outputs.drained(output) == len(printed) + 22, "all that was printed")
    assert outputs.is_written(output, outputs.drained(output)), "the end of a worker waits for a disk that fails"
    disk.failure = None
    wait_until(lambda: text(tmp_path).endswith(printed[-100:]), "the log")
    os.close(writing)
    before, told, after = text(tmp_path).partition(b"\n[forge-tui: ")
    lost, _, kept = (told + after).partition(b"]\n")
    assert before == b"before, part of a line"
    assert printed.endswith(kept)
    count = re.search(rb"forge-tui: (\d+) bytes of output were lost here: Input/output error", lost)
    assert count is not None
    assert int(count[1]) + len(kept) == len(printed)
    assert len(kept) >= 1 << 16


def test_the_end_of_a_worker_is_not_held_up_by_what_it_has_started(outputs: Outputs, tmp_path: Path) -> None:
    output, writing = outputs.pipe("a")
    left = subprocess.Popen(
        [sys.executable, "-c", "import sys; print('started', flush=True); sys.stdin.read(); print('later')"],
        stdin=subprocess.PIPE,
        stdout=writing,
    )
    os.close(writing)  # the worker itself is gone
    wait_until(lambda: outputs.drained(output) == len(b"started\n"), "its first words")
    is_written(outputs, output)
    assert text(tmp_path) == b"started\n"
    assert not output.at_end
    left.communicate()
    is_written(outputs, output)
    assert text(tmp_path) == b"started\nlater\n"


def test_several_processes_print_into_one_log_and_a_later_one_goes_on_with_it(outputs: Outputs, tmp_path: Path) -> None:
    pipes = [outputs.pipe("a") for _ in range(3)]
    for number, (output, writing) in enumerate(pipes):
        os.write(writing, b"from %d\n" % number)
        is_written(outputs, output)
        os.close(writing)
    wait_until(lambda: not outputs._logs, "nobody needs the log any more")
    output, writing = outputs.pipe("a")
    os.write(writing, b"a retry\n")
    os.close(writing)
    is_written(outputs, output)
    assert text(tmp_path) == b"from 0\nfrom 1\nfrom 2\na retry\n"


def test_nothing_stays_open_of_processes_that_have_ended(outputs: Outputs) -> None:
    def opened() -> set[str]:
        """Descriptors with what they are of. Those of other tests may be closed meanwhile."""
        found = set()
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        return found

    before = opened()
    for number in range(50):
        output, writing = outputs.pipe(f"model_{number}")
        os.write(writing, b"words\n")
        os.close(writing)
        is_written(outputs, output)
    wait_until(lambda: opened() <= before, "the descriptors are closed")


def test_after_the_end_of_the_run_no_file_is_made(outputs: Outputs, tmp_path: Path) -> None:
    first, writing = outputs.pipe("a")
    is_written(outputs, first)
    outputs.release()
    (tmp_path / "logs" / "a.log").unlink()
    os.write(writing, b"late words\n")
    second, other = outputs.pipe("b")
    for output in (first, second):
        is_written(outputs, output)
    os.close(writing)
    os.close(other)
    assert list((tmp_path / "logs").iterdir()) == []


def test_without_a_directory_only_the_last_words_are_kept() -> None:
    with closing(Outputs(None, 0)) as outputs:
        output, writing = outputs.pipe(None)
        os.write(writing, b"x" * 5_000 + b"the last words")
        os.close(writing)
        wait_until(lambda: output.at_end, "the end")
        assert outputs.own.last.endswith(b"the last words")
        assert len(outputs.own.last) < 5_000


OWN = """
import os, sys
from forge_tui.engines.output import Outputs
directory = os.open(sys.argv[1], os.O_RDONLY)
before = sys.stdout, sys.stderr
outputs = Outputs(directory, 65536)
outputs.take_own("starting.log")
print("printed \\udcff \u00e4")
print("to stderr", file=sys.stderr)
outputs.settle(30.0)
os.write(2, b"by other ways than Python's\\n")
outputs.move_own("logs/runner.log")
for number in range(20_000):
    print(f"line {number:010d}")
outputs.settle(30.0)
os.write(2, b"into the shorter file\\n")
outputs.close()
assert (sys.stdout, sys.stderr) == before
print("after the end", file=sys.stderr)
"""


def test_the_runners_own_output_goes_to_its_log_under_its_new_name_and_is_capped_too(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    subprocess.run([sys.executable, "-c", OWN, str(tmp_path)], check=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["logs", "runner.log"]
    found = text(tmp_path, "runner")
    assert found.startswith("printed \\udcff ä\nto stderr\nby other ways than Python's\nline 0000000000\n".encode())
    assert found.endswith(b"line 0000019999\ninto the shorter file\nafter the end\n")
    assert len(found) <= 65536


def test_a_log_holds_no_more_memory_than_it_may() -> None:
    log = waiting_log.Log(LogFile(-1, "a", MOST))
    log.most_waiting = 1 << 16
    for _ in range(100):
        log.add(b"x" * 10_000)
    assert sum(map(len, log._waiting)) <= 2 << 16
    assert log.taken == 1_000_000
