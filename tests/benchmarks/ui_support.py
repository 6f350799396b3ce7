"""What the benchmarks of the UI share: a program on a pseudo-terminal, what it costs, and a run that changes.

`python ui_support.py feed DIRECTORY MODELS CHANGES` is the run: it holds the lock and writes a real run.db.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import fcntl
import os
import platform
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyte

from forge_tui.protocol.events import CheckpointSaved, EpochFinished
from forge_tui.protocol.model_state import ModelState, apply
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.lock import RunLock
from forge_tui.runs.store import RunStore

HERE = Path(__file__).parent
FORGE_TUI = (sys.executable, "-m", "forge_tui")
BARE = (sys.executable, str(HERE / "ui_peers.py"))
EPOCHS = 5_000
_TICK = 0.1
_GIVEN_UP = 60.0
_LONGEST_SEQUENCE = 64
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[^\[\]])")
_NOT_FOR_PYTE = re.compile(r"\x1b\[[<>][0-9]*u|\x1b\[\?[0-9]+\$p|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b\[[0-9;]+t")


@dataclass(frozen=True, slots=True)
class Use:
    """What a process used between two looks: % of a core (user and system), bytes to the terminal a second."""

    cpu_percent: float
    bytes_per_second: float
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Look:
    """How much a program had used at one moment."""

    when: float
    cpu: float
    pieces: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of output: when it came (seconds from the start), and what CPU time the program had taken by then."""

    seconds: float
    cpu: float
    data: bytes


class Terminal:
    """`command` on a terminal of its own, of `columns` by `rows`; use it as a context manager.

    What it writes is kept with the time it came; what the screen showed then is worked out afterwards, so that this
    costs no time while the program is being measured.
    """

    def __init__(self, command: Sequence[str], columns: int, rows: int, home: Path) -> None:
        """`home` holds the program's state and settings, so that nobody's own are read or changed."""
        self.columns, self.rows = columns, rows
        self.pieces: list[Piece] = []
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONIOENCODING": "utf-8"}
        environment |= own_state(home)
        # An installed program has its bytecode; without it each start would compile ours, and not Textual.
        for name in ("NO_COLOR", "COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE"):
            environment.pop(name, None)
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=home, start_new_session=True
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        os.close(self._master)

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # EIO: the program has ended
                return
            if not data:
                return
            self.pieces.append(Piece(time.monotonic() - self._started, self.cpu_seconds(), data))

    @property
    def pid(self) -> int:
        """The program's process."""
        return self._process.pid

    def send(self, keys: str) -> float:
        """Type `keys`; returns when (seconds from the start)."""
        when = time.monotonic() - self._started
        os.write(self._master, keys.encode())
        return when

    def wait_for(self, text: str) -> None:
        """Wait until `text` has been written, in one piece."""
        wanted = text.encode()
        self._wait(lambda: wanted in b"".join(piece.data for piece in self.pieces), repr(text), 0.002)

    def wait_for_screen(self, holds: Callable[[str], object], what: str) -> None:
        """Wait until the screen is one of which `holds` is true; looked at seldom, for looking takes time."""
        self._wait(lambda: holds(self.text()), what, 1.0)

    def _wait(self, condition: Callable[[], object], what: str, pause: float) -> None:
        deadline = time.monotonic() + _GIVEN_UP
        while not condition():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise SystemExit(f"waited in vain for {what}; the screen shows\n{self.text()}")
            time.sleep(pause)

    def screens(self) -> Iterator[tuple[Piece, str]]:
        """What the screen showed after each piece of output."""
        screen = pyte.Screen(self.columns, self.rows)
        stream = pyte.Stream(screen)
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        left = ""
        for piece in list(self.pieces):
            text = left + decode(piece.data)
            # A sequence may have been cut in two: its beginning waits for the rest.
            cut = text.rfind("\x1b", -_LONGEST_SEQUENCE)
            cut = len(text) if cut < 0 or _SEQUENCE.match(text, cut) else cut
            text, left = text[:cut], text[cut:]
            stream.feed(_NOT_FOR_PYTE.sub("", text))
            yield piece, "\n".join(screen.display)

    def text(self) -> str:
        """What the screen shows now."""
        return max(self.screens(), key=lambda screen: screen[0].seconds, default=(None, ""))[1]

    def first(self, holds: Callable[[str], object]) -> Piece:
        """The piece of output that made the first screen of which `holds` is true."""
        for piece, text in self.screens():
            if holds(text):
                return piece
        raise SystemExit(f"the screen never showed what was waited for; it shows\n{self.text()}")

    def cpu_seconds(self) -> float:
        """User and system time of the program so far, its threads included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory, in MB of 10^6 bytes."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8"))
        return int(found[1]) * 1024 / 1e6 if found else 0.0

    def look(self) -> Look:
        """Remember how much the program has used so far."""
        return Look(time.monotonic(), self.cpu_seconds(), len(self.pieces))

    def since(self, look: Look) -> Use:
        """What the program has used since `look`."""
        taken = time.monotonic() - look.when
        written = sum(len(piece.data) for piece in self.pieces[look.pieces :])
        return Use(100 * (self.cpu_seconds() - look.cpu) / taken, written / taken, self.rss_mb())


class Feeder:
    """A live run of `models` models in a process of its own, with `changes` epochs a second."""

    def __init__(self, directory: Path, models: int, changes: float) -> None:
        """Returns when the run is there."""
        self.directory = directory
        command = [sys.executable, __file__, "feed", str(directory), str(models), str(changes)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise SystemExit("the run did not begin")

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self.tell("end")
        self._process.wait(60)

    def tell(self, order: str) -> None:
        """`hold`: nothing changes any more, the signs of life go on; `go`: on again; `end`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()


def first_models(count: int) -> list[ModelState]:
    """Models in training with a curve behind them."""
    return [
        ModelState(
            name=f"cognate_planner_{index}", index=index, seed=index, epochs=EPOCHS, phase=TrainingPhase.TRAINING,
            parameters=104_000, device="cpu", threads=1, started=time.time(),
            config={"model_type": "planner", "model_size": 104_000, "learning_rate": 0.001, "batch_size": 32},
        )
        for index in range(1, count + 1)
    ]  # fmt: skip


def next_epoch(model: ModelState, chance: random.Random) -> EpochFinished:
    """The model's next epoch: a falling loss with some noise."""
    epoch = model.epoch % EPOCHS + 1
    loss = 2.3 / (1 + 0.02 * epoch) * (1 + 0.03 * chance.random())
    best = loss if model.best_loss is None else min(loss, model.best_loss)
    return EpochFinished(
        time=time.time(), model=model.name, index=model.index, attempt=1, epoch=epoch, epochs=EPOCHS, step=20 * epoch,
        metrics={
            "loss": loss, "validation_loss": 1.1 * loss, "validation_accuracy": 1 - 0.4 * loss, "learning_rate": 1e-3,
            "steps_per_second": 40 + chance.random(),
        },
        best_loss=best, seconds=0.5, eta_seconds=0.5 * (EPOCHS - epoch),
    )  # fmt: skip


def feed(path: Path, count: int, changes: float) -> None:
    """Write the run until told to end: each model in turn, in one shuffled order, `changes` epochs a second."""
    directory = RunDirectory(path)
    directory.create()
    now = time.time()
    info = RunInfo(
        run=path.name, path=str(path), mode="parallel", policy="dedicated", model_type="planner", models=count,
        epochs=EPOCHS, created=now, started=now, state=RunState.RUNNING, workers=count, requested=count,
        limit_reason="as requested", host=platform.node(),
    )  # fmt: skip
    chance = random.Random(7)
    models = [apply(model, next_epoch(model, chance)) for model in first_models(count)]
    order = list(range(count))
    chance.shuffle(order)
    lock = RunLock.acquire(directory.lock)
    store = RunStore.create(directory.database, info, models)
    print("ready", flush=True)
    done, going, due = 0, True, time.monotonic()
    owed = 0.0
    while True:
        due += _TICK
        ready, _, _ = select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))
        if ready:
            due -= _TICK
            word = sys.stdin.readline().strip()
            if word in ("", "end"):
                break
            going = word == "go"
            continue
        owed += changes * _TICK if going else 0.0
        while owed >= 1:
            owed -= 1
            place = order[done % count]
            done += 1
            event = next_epoch(models[place], chance)
            models[place] = apply(models[place], event)
            store.append(event)
            store.put_model(models[place])
            if event.epoch % 100 == 0:
                saved = CheckpointSaved(
                    time=event.time, model=event.model, index=event.index, attempt=1, epoch=event.epoch,
                    step=event.step, path=f"checkpoints/{event.model}/{event.epoch:06}.safetensors", bytes=1_250_000,
                    seconds=0.01,
                )  # fmt: skip
                store.append(saved)
    store.put_run(replace(info, state=RunState.STOPPED, finished=time.time()))
    store.close()
    lock.release()


def own_state(home: Path) -> dict[str, str]:
    """Variables for a program whose state and settings lie in `home`: nobody else's runs take a part of the machine."""
    return {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("STATE", "CONFIG", "CACHE")}


def timed(command: Sequence[object], place: Path, variables: Mapping[str, str] | None = None) -> tuple[float, str]:
    """Seconds of a command in `place`, with its state there, and what it printed; ends the benchmark if it fails."""
    begun = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], cwd=place, env={**os.environ, **(variables or {}), **own_state(place)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{command} exits {done.returncode}:\n{done.stderr[-2_000:]}")
    return seconds, done.stdout


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A directory for runs and the programs' state, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="forge-tui-bench-") as name:
        yield Path(name)


def machine() -> str:
    """The machine in words: numbers of one are no numbers of another."""
    model = "unknown processor"
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        model = found[1] if found else model
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} × {model}, Python {platform.python_version()}, load at the start {load:.1f}"


def main() -> None:
    """Be the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["feed"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("models", type=int)
    parser.add_argument("changes", type=float)
    options = parser.parse_args()
    feed(options.directory, options.models, options.changes)


if __name__ == "__main__":
    main()
