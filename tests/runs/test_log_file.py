"""Logs with a largest size: what stays, what is said of the rest, and that readers follow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import small_disk

from forge_tui.runs.log_file import LogFile, LogReader, find_gap

MOST = 64 << 10


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "logs").mkdir()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def log(directory: int) -> Iterator[LogFile]:
    made = LogFile(directory, "logs/a.log", MOST)
    yield made
    made.close()


def lines(start: int, count: int) -> bytes:
    """Lines of 16 bytes, each with its number."""
    return b"".join(b"line %010d\n" % number for number in range(start, start + count))


def write(log: LogFile, data: bytes) -> None:
    while data:
        data = data[log.write(data) :]


def gap_of(path: Path) -> tuple[int, int, int]:
    with path.open("rb") as file:
        gap = find_gap(file.fileno())
    assert gap is not None
    return gap.start, gap.end, gap.dropped


def printed(path: Path) -> tuple[bytes, int, bytes]:
    """What a log has of the output: before the gap, how much is dropped, after it."""
    start, end, dropped = gap_of(path)
    data = path.read_bytes()
    return data[:start], dropped, data[end:]


def test_output_up_to_the_largest_size_is_kept_as_it_is(log: LogFile, tmp_path: Path) -> None:
    data = os.urandom(MOST - 10) + b"\r\npart \r"
    write(log, data)
    assert (tmp_path / "logs" / "a.log").read_bytes() == data


@pytest.mark.parametrize("chunk", [1, 100, 5_000, 100_000])
def test_of_more_the_beginning_and_the_newest_part_stay_and_every_byte_is_accounted_for(
    chunk: int, log: LogFile, tmp_path: Path
) -> None:
    path, total, count = tmp_path / "logs" / "a.log", 20_000, 0
    while count < total:
        write(log, lines(count, chunk))
        count += chunk
        assert path.stat().st_size <= MOST
    before, dropped, after = printed(path)
    whole = lines(0, count)
    assert whole.startswith(before)
    assert whole.endswith(after)
    assert len(before) + dropped + len(after) == len(whole)
    assert before.endswith(b"\n")
    assert after.startswith(b"line ")
    assert len(before) >= MOST // 16
    assert len(after) >= MOST // 4
    text = path.read_bytes().decode()
    told = re.findall(r"^\[forge-tui: (\d+) bytes of output after byte (\d+) were dropped .*\]$", text, re.MULTILINE)
    assert told == [(str(dropped), str(len(before)))]


def test_output_without_lines_is_cut_anywhere(log: LogFile, tmp_path: Path) -> None:
    whole = os.urandom(5 * MOST).replace(b"\n", b"")
    for start in range(0, len(whole), 1_000):
        write(log, whole[start : start + 1_000])
    path = tmp_path / "logs" / "a.log"
    before, dropped, after = printed(path)
    assert (whole.startswith(before), whole.endswith(after)) == (True, True)
    # The line stands alone: a break was put before it.
    assert len(before) + dropped + len(after) == len(whole)
    assert path.read_bytes()[len(before) : len(before) + 1] == b"\n"


def test_at_most_twice_as_much_is_written_as_was_printed(
    log: LogFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [0]
    real = os.write

    def counted(file: int, data: bytes) -> int:
        done = real(file, data)
        written[0] += done
        return done

    monkeypatch.setattr("forge_tui.runs.log_file.os.write", counted)
    whole = lines(0, 100_000)
    for start in range(0, len(whole), 4_096):
        write(log, whole[start : start + 4_096])
    assert written[0] < 2.1 * len(whole)


def test_a_log_that_another_process_has_begun_goes_on_with_its_gap(directory: int, tmp_path: Path) -> None:
    first = LogFile(directory, "logs/a.log", MOST)
    write(first, lines(0, 10_000))
    first.close()
    second = LogFile(directory, "logs/a.log", MOST)
    for number in range(10_000, 20_000, 50):
        write(second, lines(number, 50))
    second.close()
    before, dropped, after = printed(tmp_path / "logs" / "a.log")
    assert lines(0, 20_000).endswith(after)
    assert len(before) + dropped + len(after) == 16 * 20_000


def test_a_log_that_was_too_large_before_is_made_shorter(directory: int, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    path.write_bytes(lines(0, 50_000))
    path.chmod(0o640)
    log = LogFile(directory, "logs/a.log", MOST)
    write(log, b"more\n")
    log.close()
    before, dropped, after = printed(path)
    assert after.endswith(b"line 0000049999\nmore\n")
    assert len(before) + dropped + len(after) == 16 * 50_000 + 5
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in (tmp_path / "logs").iterdir()] == ["a.log"]


def test_a_line_that_only_looks_like_the_gap_is_output(log: LogFile, tmp_path: Path) -> None:
    forged = b"[forge-tui: 5 bytes of output after byte 7 were dropped (run.log_bytes = 9)]\n"
    write(log, b"x" * 20 + b"\n" + forged)
    with (tmp_path / "logs" / "a.log").open("rb") as file:
        assert find_gap(file.fileno()) is None
    for number in range(0, 10_000, 50):
        write(log, lines(number, 50))
    before, dropped, after = printed(tmp_path / "logs" / "a.log")
    assert before.startswith(b"x" * 20 + b"\n" + forged)
    assert len(before) + dropped + len(after) == 16 * 10_000 + 21 + len(forged)


def test_a_log_that_was_deleted_is_made_again_but_not_after_the_end_of_the_run(log: LogFile, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    write(log, b"one\n")
    path.unlink()
    write(log, b"two\n")
    assert path.read_bytes() == b"two\n"
    path.unlink()
    log.release()
    with pytest.raises(OSError, match="the run has ended"):
        log.write(b"three\n")
    assert not path.exists()


def test_a_log_follows_its_directory_and_makes_nothing_at_the_old_path(log: LogFile, tmp_path: Path) -> None:
    write(log, b"one\n")
    os.rename(tmp_path / "logs", tmp_path / "elsewhere")
    write(log, b"two\n")
    (tmp_path / "elsewhere" / "a.log").unlink()
    with pytest.raises(FileNotFoundError):
        log.write(b"three\n")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("what", ["link", "directory link", "pipe", "link in the way of a shorter one"])
def test_nothing_outside_is_written(what: str, directory: int, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.log").write_bytes(b"mine")
    log = LogFile(directory, "logs/a.log", MOST)
    if what == "link":
        (tmp_path / "logs" / "a.log").symlink_to(outside / "a.log")
    elif what == "directory link":
        (tmp_path / "logs").rmdir()
        (tmp_path / "logs").symlink_to(outside)
    elif what == "pipe":
        os.mkfifo(tmp_path / "logs" / "a.log")
    else:
        (tmp_path / "logs" / ".a.log.tmp").symlink_to(outside / "a.log")
        write(log, lines(0, 10_000))
    if what != "link in the way of a shorter one":
        with pytest.raises(OSError):  # noqa: PT011
            log.write(b"more")
    log.close()
    assert (outside / "a.log").read_bytes() == b"mine"
    assert [entry.name for entry in outside.iterdir()] == ["a.log"]


def test_the_last_of_a_disk_is_left_to_others_and_the_newest_output_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        (disk.path / "logs").mkdir()
        directory = os.open(disk.path, os.O_RDONLY)
        log = LogFile(directory, "logs/a.log", 64 << 20)
        try:
            for number in range(0, 4_000_000, 10_000):
                write(log, lines(number, 10_000))
                assert disk.free > 3 << 20
        finally:
            log.close()
            os.close(directory)
        before, dropped, after = printed(disk.path / "logs" / "a.log")
        assert before.startswith(lines(0, 100))
        assert after.endswith(lines(3_999_900, 100))
        assert len(before) + dropped + len(after) == 16 * 4_000_000


def test_a_disk_that_others_have_filled_is_told_of_and_short_logs_are_written_to_the_last(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        (disk.path / "logs").mkdir()
        directory = os.open(disk.path, os.O_RDONLY)
        short, long = (LogFile(directory, f"logs/{name}.log", 1 << 20) for name in ("short", "long"))
        try:
            write(long, lines(0, 5_000))
            disk.fill(leave=64 << 10)
            write(short, b"a traceback\n")
            with pytest.raises(OSError, match="the last 4 MiB of the disk are kept for history and checkpoints"):
                write(long, lines(5_000, 5_000))
            disk.fill()
            with pytest.raises(OSError, match="No space left on device"):
                long.write(lines(5_000, 5_000))
            disk.clear()
            write(long, lines(5_000, 5_000))
        finally:
            short.close()
            long.close()
            os.close(directory)
        assert (disk.path / "logs" / "long.log").read_bytes() == lines(0, 10_000)


# --- readers


def test_a_reader_follows_a_log_through_all_its_changes(log: LogFile, tmp_path: Path) -> None:
    reader, seen = LogReader(tmp_path / "logs" / "a.log", tmp_path), b""
    assert list(reader.read()) == []
    for number in range(0, 20_000, 77):
        write(log, lines(number, 77))
        seen += b"".join(reader.read())
    assert seen == lines(0, 77 * 260)
    reader.close()


def test_a_reader_that_comes_too_late_is_told_what_it_missed(log: LogFile, tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "logs" / "a.log", tmp_path)
    write(log, lines(0, 1_000))
    assert b"".join(reader.read()) == lines(0, 1_000)
    for number in range(1_000, 20_000, 50):
        write(log, lines(number, 50))
    seen = b"".join(reader.read())
    told = re.search(
        rb"^\[forge-tui: (\d+) bytes of output were dropped before they were shown\]\n", seen, re.MULTILINE
    )
    assert told is not None
    more, rest = seen[: told.start()], seen[told.end() :]
    assert lines(1_000, 19_000).startswith(more)
    assert lines(1_000, 19_000).endswith(rest)
    assert len(more) + int(told[1]) + len(rest) == 16 * 19_000
    write(log, b"more\n")
    assert b"".join(reader.read()) == b"more\n"
    reader.close()


def test_a_reader_that_begins_late_reads_the_file_as_it_is(log: LogFile, tmp_path: Path) -> None:
    write(log, lines(0, 10_000))
    write(log, lines(10_000, 10_000))
    path = tmp_path / "logs" / "a.log"
    reader = LogReader(path, path.parent)
    assert b"".join(reader.read()) == path.read_bytes()
    for number in range(20_000, 30_000, 50):
        write(log, lines(number, 50))
        assert b"".join(reader.read()) == lines(number, 50)
    reader.close()


def test_a_reader_begins_anew_in_another_log_and_in_one_that_was_emptied(log: LogFile, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    reader = LogReader(path, path.parent)
    write(log, lines(0, 100))
    assert b"".join(reader.read()) == lines(0, 100)
    os.truncate(path, 0)
    write(log, b"emptied\n")
    assert b"".join(reader.read()) == b"emptied\n"
    path.unlink()
    assert b"".join(reader.read()) == b""
    write(log, b"another\n")
    assert b"".join(reader.read()) == b"another\n"
    reader.close()
