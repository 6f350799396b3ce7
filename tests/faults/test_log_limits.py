"""Whatever training code prints: no disk is filled, no run ended, and the log has its beginning and its newest part."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import SmallDisk, small_disk
from faulty import environment, left_behind
from running import begin, epochs_of, events, forge, has_ended, kill_all, processes_of, wait_until

MIB = 1 << 20
LEAST = 1 << 16
CODE = '''
"""A network that prints `lines` lines of 64 bytes in each step of training, and notes what that raises in a file."""
import os, pathlib, sys, time, torch
from torch import nn

PRINTED = [0]  # not the module's: a group keeps none of that for each model

class Network(nn.Module):
    def __init__(self, inputs, lines, pace, end):
        super().__init__()
        self.body = nn.Linear(inputs.features, inputs.outputs)
        self.lines, self.pace, self.end = lines, pace, end

    def forward(self, x):
        if not self.training:
            return self.body(x)
        time.sleep(self.pace)
        try:
            first, PRINTED[0] = PRINTED[0], PRINTED[0] + self.lines
            print("\\n".join(f"line {number:058d}" for number in range(first, PRINTED[0])), flush=True)
        except BaseException as error:
            (pathlib.Path(__file__).parent / "raised").write_text(repr(error))
            raise
        if self.end and PRINTED[0] >= self.end:
            os.write(2, b"the last words")
            os._exit(3)
        return self.body(x)

def model(inputs, lines: int = 1, pace: float = 0.0, end: int = 0):
    PRINTED[0] = 0
    return Network(inputs, lines, pace, end)

def dataset(seed, samples, lines: int = 1):
    generator = torch.Generator().manual_seed(seed)
    print("\\n".join(f"data {number:058d}" for number in range(lines)))
    return torch.randn(96, 4, generator=generator), torch.arange(96) % 3
'''
ARGUMENTS = (
    "--no-ui", "--json", "--model-type", "code.py", "--epochs", "20", "--checkpoint-interval", "5", "--models", "1",
    "--policy", "dedicated", "--threads", "1", "--fuse", "1", "--batch-size", "16", "--validation-fraction", "0",
    "--samples", "96", "--features", "4", "--classes", "3",
)  # fmt: skip
STEPS = 6 * 20


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Path]:
    """The directory with the code that runs are started from."""
    (tmp_path / "code.py").write_text(CODE, encoding="utf-8")
    with environment(tmp_path):
        yield tmp_path
    assert not (tmp_path / "raised").exists(), (tmp_path / "raised").read_text(encoding="utf-8")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 16) as disk:
        yield disk
        kill_all(processes_of(disk.path / "run"))


def whole(count: int, word: str = "line") -> bytes:
    return b"".join(b"%s %058d\n" % (word.encode(), number) for number in range(count))


def account(found: bytes) -> tuple[bytes, int, bytes]:
    """What a log has before the line about what was dropped, how many bytes that were, and what it has after it."""
    before, _, rest = found.partition(b"[forge-tui: ")
    line, _, after = rest.partition(b"]\n")
    dropped = re.match(rb"(\d+) bytes of output after byte (\d+) were dropped", line)
    assert dropped is not None, found[:200]
    assert int(dropped[2]) == len(before)
    return before, int(dropped[1]), after


def assert_has_beginning_and_end(found: bytes, printed: bytes, most: int) -> None:
    before, dropped, after = account(found)
    assert len(found) <= most
    assert len(before) >= most // 16
    assert len(after) >= most // 4
    assert printed.startswith(before)
    assert printed.endswith(after)
    assert len(before) + dropped + len(after) == len(printed)


def lines_of(*numbers: int) -> tuple[str, ...]:
    return tuple(f"model.lines={number}" for number in numbers)


@pytest.mark.parametrize("fuse", [1, 3])
def test_a_model_that_prints_more_than_the_disk_holds_trains_to_its_end(fuse: int, code: Path, disk: SmallDisk) -> None:
    directory = disk.path / "run"
    arguments = ["--models", "3", "--mode", "parallel", "--workers", "1", "--fuse", "3"] if fuse > 1 else []
    most, lines = MIB, 3_000  # 23 MB on a disk of 16 MiB
    done = forge(
        *ARGUMENTS, *arguments, "--log-bytes", str(most), "--set", f"model.lines={lines}", "--output", directory,
        cwd=code,
    )  # fmt: skip
    assert events(done.stdout)[-1]["status"] == "completed"
    assert {record["kind"] for record in events(done.stdout) if record["event"] == "resource_warning"} <= {"disk"}
    log = directory / "logs" / "cognate_code_1.log"
    if fuse == 1:
        assert_has_beginning_and_end(log.read_bytes(), whole(STEPS * lines), most)
    else:
        assert log.stat().st_size <= most
        account(log.read_bytes())
    assert forge("logs", directory, "1").stdout.encode() == log.read_bytes()


def test_the_runners_log_is_capped_with_what_the_data_prints_before_the_run_begins(code: Path) -> None:
    directory = code / "run"
    count = 5_000
    forge(
        *ARGUMENTS, "--dataset", "code.py", "--log-bytes", str(LEAST), "--epochs", "1",
        "--set", f"model.lines={count}", "--output", directory, cwd=code,
    )  # fmt: skip
    found = (directory / "logs" / "runner.log").read_bytes()
    before, _dropped, after = account(found)
    assert before.startswith(whole(100, "data"))
    assert len(found) <= LEAST
    assert len(after) >= LEAST // 4
    assert not (directory / "starting.log").exists()


def test_a_disk_that_another_program_fills_costs_output_and_nothing_else(code: Path, disk: SmallDisk) -> None:
    directory = disk.path / "run"
    front = begin(
        *ARGUMENTS, "--epochs", "40", "--set", "model.lines=40", "--set", "model.pace=0.02", "--output", directory,
        cwd=code,
    )  # fmt: skip
    wait_until(lambda: epochs_of(directory) >= 3, "it trains")
    log = directory / "logs" / "cognate_code_1.log"
    wait_until(lambda: log.stat().st_size > LEAST, "it prints")
    disk.fill()
    size = log.stat().st_size
    wait_until(lambda: any("cannot be written" in told for told in warnings(directory)), "the warning")
    disk.clear()
    wait_until(lambda: log.stat().st_size > size + 100, "it is written again")
    disk.fill()
    wait_until(lambda: any("has no checkpoint at epoch" in told for told in warnings(directory)), "no checkpoint")
    disk.clear()
    out, err = front.communicate()
    assert front.returncode == 0, err
    found = events(out)
    assert found[-1]["status"] == "completed"
    assert not [record for record in found if record["event"] == "model_failed"]
    printed = whole(6 * 40 * 40)
    found_in_log = log.read_bytes()
    lost = sum(map(int, re.findall(rb"^\[forge-tui: (\d+) bytes of output were lost here", found_in_log, re.MULTILINE)))
    kept = re.sub(rb"(?m)^\[forge-tui: .*\]\n", b"", found_in_log)
    assert kept.startswith(whole(200))
    assert kept.endswith(printed[-64 * 100 :])
    assert 0 <= len(kept) + lost - len(printed) <= 4  # a line that was cut off is ended


def warnings(directory: Path) -> list[str]:
    from forge_tui.client.run import Run

    with Run(directory) as run:
        return [record["message"] for _, record in run.events() if record["event"] == "resource_warning"]


def test_the_last_words_of_a_worker_that_dies_are_in_its_log(code: Path) -> None:
    directory = code / "run"
    done = forge(
        *ARGUMENTS, "--max-retries", "0", "--set", "model.lines=1000", "--set", "model.end=5000", "--output", directory,
        cwd=code, status=1,
    )  # fmt: skip
    assert [record["kind"] for record in events(done.stdout) if record["event"] == "model_failed"] == ["exit"]
    assert (directory / "logs" / "cognate_code_1.log").read_bytes() == whole(5_000) + b"the last words"


def test_who_follows_a_log_sees_it_all_while_it_is_made_shorter(code: Path) -> None:
    directory = code / "run"
    forge(
        *ARGUMENTS, "--log-bytes", str(LEAST), "--epochs", "30", "--set", "model.lines=50", "--set", "model.pace=0.02",
        "--detach", "--output", directory, cwd=code,
    )  # fmt: skip
    shown = forge("logs", directory, "1", "--follow").stdout.encode()
    printed = whole(6 * 30 * 50)  # 576 kB, nine times what the log holds
    assert_has_beginning_and_end((directory / "logs" / "cognate_code_1.log").read_bytes(), printed, LEAST)
    # On a busy machine it may begin late, or show too late what is dropped by then; both are reported.
    missed = sum(map(int, re.findall(rb"^\[forge-tui: (\d+) bytes of output", shown, re.MULTILINE)))
    kept = re.sub(rb"(?m)^\[forge-tui: .*\]\n", b"", shown)
    assert len(kept) + missed >= len(printed) - LEAST
    assert printed.endswith(kept[-LEAST // 4 :])


def test_a_killed_runner_gives_no_error_to_what_prints_just_then(code: Path) -> None:
    directory = code / f"run-{os.getpid()}"
    forge(
        *ARGUMENTS, "--epochs", "100000000", "--set", "model.lines=3000", "--detach", "--output", directory, cwd=code,
    )  # fmt: skip
    wait_until(lambda: epochs_of(directory) >= 2, "it trains")
    of_the_run = processes_of(directory)
    (runner,) = processes_of(directory, "runner")
    runner.kill()
    wait_until(lambda: has_ended(directory), "its processes to end", 20.0)
    assert left_behind(directory) == []
    assert len(of_the_run) == 3
    assert json.loads(forge("status", directory, "--json").stdout)["state"] == "died"


@pytest.mark.parametrize("value", ["65535", "0", "1e-6", "many"])
def test_a_log_that_is_too_small_is_refused(value: str, tmp_path: Path) -> None:
    refused = forge("--no-ui", "--log-bytes", value, "--output", tmp_path / "run", status=2)
    assert "log" in refused.stderr
    assert not (tmp_path / "run").exists()
