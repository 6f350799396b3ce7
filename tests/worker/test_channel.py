"""What a worker sends: epochs that follow each other fast together, everything in its order."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from forge_tui.protocol.events import EpochFinished
from forge_tui.worker.loop import Channel


class _Runner:
    """The other side of a channel, and its clock."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.now = 1_000.0
        self.channel = Channel(ours, lambda: self.now)
        self._socket = theirs

    def epoch(self, number: int) -> None:
        event = EpochFinished(
            time=self.now, model="m", index=1, attempt=1, epoch=number, epochs=9, step=number, metrics={"loss": 1.0},
            best_loss=1.0, seconds=0.01,
        )  # fmt: skip
        self.channel.send_soon(event, "run")

    def heard(self) -> list[int | str]:
        """The epochs and the other messages that have arrived."""
        try:
            received = self._socket.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        lines = [json.loads(line) for line in received.splitlines()]
        return [line.get("epoch", next(iter(line))) for line in lines]


@pytest.fixture
def runner() -> Iterator[_Runner]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield _Runner(ours, theirs)


def test_epochs_that_follow_fast_are_sent_together(runner: _Runner) -> None:
    runner.epoch(1)
    assert runner.heard() == [1]
    for number in (2, 3):
        runner.now += 0.06
        runner.epoch(number)
    assert runner.heard() == []
    runner.now += 0.09
    runner.epoch(4)
    assert runner.heard() == [2, 3, 4]


def test_slow_epochs_are_sent_at_once(runner: _Runner) -> None:
    for number in (1, 2, 3):
        runner.epoch(number)
        assert runner.heard() == [number]
        runner.now += 0.3


def test_what_waits_comes_before_what_is_sent_later(runner: _Runner) -> None:
    runner.channel.send({"beats": 1})
    runner.epoch(1)
    runner.epoch(2)
    runner.channel.send({"outcome": "completed"})
    assert runner.heard() == ["beats", 1, 2, "outcome"]
    runner.channel.send_waiting()
    assert runner.heard() == []


WORKER = """
import os, socket, sys, threading, time
from forge_tui.protocol.events import EpochFinished
from forge_tui.protocol.job import Control
from forge_tui.worker.loop import Channel
channel = Channel(socket.socket(fileno=int(sys.argv[1])))
threading.Thread(target=channel.listen, args=(Control(), print, os.getppid()), daemon=True).start()
about = dict(model="m", index=1, attempt=1, epochs=9, step=1, metrics={}, best_loss=None, seconds=0.01)
for epoch in (1, 2):
    channel.send_soon(EpochFinished(time=0.0, epoch=epoch, **about), "run")
time.sleep(600)
"""


def test_the_last_epoch_does_not_wait_for_another() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", WORKER, str(theirs.fileno())]
        worker = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        try:
            found = b""
            ours.settimeout(60.0)
            while found.count(b"\n") < 2:
                found += ours.recv(1 << 16)
        finally:
            worker.kill()
            worker.wait()
    assert [json.loads(line)["epoch"] for line in found.splitlines()] == [1, 2]
