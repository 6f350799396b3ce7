"""Make the pictures of the documentation from real sessions: `python docs/record.py` (about two minutes).

Trains on the synthetic data in a temporary directory, runs the UI in a terminal of its own, types keys, and draws what
is shown: a recording (`docs/pictures/session.gif`) and single pictures. Needs the extras `test` and `plots`. The name
of this machine and of its user are not in the pictures.
"""

from __future__ import annotations

import codecs
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pexpect
import pyte
from PIL import Image
from terminal_picture import Painter

PICTURES = Path(__file__).resolve().parent / "pictures"
MOST_BYTES = 500_000
"""Of the recording: more makes a page slow."""
_COLOURS = 256
_QUIET_SECONDS = 0.05
_SHORTEST_FRAME, _LONGEST_FRAME, _LAST_FRAME = 0.1, 0.8, 3.0
_PATIENCE = 120.0
# Not of a screen's content, and unknown to pyte: keyboard modes, questions to the terminal, window titles.
_UNKNOWN = re.compile(
    r"\x1b\[[<>][0-9]*u|\x1b\[\?[0-9;]*\$p|\x1b\[>[0-9;]*[a-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;]+t"
)
_START, _ENTER, _ESCAPE, _DOWN = "\x12", "\r", "\x1b", "\x1b[B"
_HOST = "import os, socket\nsocket.gethostname = lambda: 'server'\n"


def environment(place: Path) -> dict[str, str]:
    """That of a command: a capable terminal, its own state, and no name of this machine or user."""
    known = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return {
        **known, "TERM": "xterm-256color", "COLORTERM": "truecolor", "USER": "you", "LOGNAME": "you",
        "XDG_STATE_HOME": str(place / "state"), "XDG_CONFIG_HOME": str(place / "config"),
        "PYTHONPATH": str(place / "name"), "LC_ALL": "C.UTF-8",
    }  # fmt: skip


class Session:
    """A command in a terminal of this size; what its screen shows is kept over time."""

    def __init__(self, arguments: Sequence[str], columns: int, rows: int, place: Path) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)
        self._decoder, self._rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
        self.frames: list[tuple[float, Image.Image]] = []
        self._painter: Painter | None = None
        self._child = pexpect.spawn(
            sys.executable,
            ["-m", "forge_tui", *arguments],
            cwd=str(place),
            env=environment(place),
            dimensions=(rows, columns),
            timeout=_PATIENCE,
        )

    @property
    def text(self) -> str:
        """What is shown."""
        return "\n".join(self.screen.display)

    def film(self, painter: Painter) -> None:
        """Keep a frame for every change from now on."""
        self._painter = painter
        self._keep()

    def rest(self, seconds: float) -> None:
        """Let the session continue for so long."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self._look()

    def wait(self, condition: Callable[[str], object], what: str) -> None:
        """Let it continue until the text on the screen is as wanted. Raises `TimeoutError`."""
        ends = time.monotonic() + _PATIENCE
        while not condition(self.text):
            if time.monotonic() > ends:
                raise TimeoutError(f"waited {_PATIENCE:g} s for {what}; the screen shows\n{self.text}")
            self._look()

    def press(self, keys: str, seconds: float) -> None:
        """Type, and let the answer be seen for `seconds`."""
        self._child.send(keys)
        self.rest(seconds)

    def close(self) -> None:
        """End it."""
        self._child.close(force=True)

    def _look(self) -> None:
        """Take output until there is none for a moment: then the screen is whole."""
        changed = False
        while True:
            try:
                data = self._child.read_nonblocking(1 << 16, _QUIET_SECONDS)
            except pexpect.TIMEOUT:
                break
            except pexpect.EOF:
                raise TimeoutError(f"the session ended; the screen shows\n{self.text}") from None
            self._feed(self._decoder.decode(data))
            changed = True
        if changed and self._painter is not None:
            self._keep()

    def _feed(self, text: str) -> None:
        text, self._rest = self._rest + text, ""
        begin = text.rfind("\x1b")
        if begin >= 0 and not re.search(r"[A-Za-z~\x07\\]", text[begin + 2 :]):
            text, self._rest = text[:begin], text[begin:]  # a sequence that is not complete
        self._stream.feed(_UNKNOWN.sub("", text))

    def _keep(self) -> None:
        assert self._painter is not None
        picture = self._painter.paint(self.screen)
        if self.frames and time.monotonic() - self.frames[-1][0] < _SHORTEST_FRAME:
            self.frames[-1] = (self.frames[-1][0], picture)
        elif not self.frames or self.frames[-1][1].tobytes() != picture.tobytes():
            self.frames.append((time.monotonic(), picture))


def save_recording(frames: Sequence[tuple[float, Image.Image]], path: Path) -> None:
    """Write the frames as a GIF that repeats. Raises `ValueError` if it is larger than `MOST_BYTES`."""
    times = [moment for moment, _ in frames]
    shown = [*(min(after - before, _LONGEST_FRAME) for before, after in pairwise(times)), _LAST_FRAME]
    # Rare colours count, too: the dot of a state is a few pixels.
    palette = _together([picture for _, picture in frames]).quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)
    drawn = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for _, picture in frames]
    drawn[0].save(
        path, save_all=True, append_images=drawn[1:], duration=[round(1_000 * one) for one in shown], loop=0,
        optimize=True, disposal=1,
    )  # fmt: skip
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}: record less")


def _together(pictures: Sequence[Image.Image]) -> Image.Image:
    """A few of the pictures above each other: the colours of all."""
    chosen = [pictures[place * (len(pictures) - 1) // 5] for place in range(6)]
    whole = Image.new("RGB", (chosen[0].width, sum(one.height for one in chosen)))
    for number, one in enumerate(chosen):
        whole.paste(one, (0, number * one.height))
    return whole


def save_picture(session: Session, name: str) -> None:
    """Write what is shown as `NAME.png`."""
    picture = Painter().paint(session.screen).quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)
    picture.save(PICTURES / f"{name}.png", optimize=True)


def train(epochs: int) -> list[str]:
    """The flags of a sweep of planners, two at once."""
    return [
        "--sweep", "learning_rate=1e-4,3e-4,1e-3,3e-3", "--models", "1", "--model-size", "20k", "--epochs", str(epochs),
        "--mode", "parallel", "--workers", "2", "--fuse", "1", "--policy", "dedicated", "--threads", "1",
    ]  # fmt: skip


def epoch_of(text: str) -> int:
    """The last epoch of the model that is farthest, as Watch shows it; 0 before there is one."""
    return max((int(epoch) for epoch in re.findall(r"(\d+)/\d{2,}\b", text)), default=0)


def record(place: Path) -> None:
    """The recording: from the form to the end of a run, and what was trained."""
    session = Session([*train(150), "--output", "runs/rates"], 100, 30, place)
    try:
        session.wait(lambda text: "MEMORY" in text and "SUGGESTED" in text, "the form and the machine")
        session.film(Painter(13))
        session.rest(1.5)
        session.press(_START, 0.0)
        session.wait(lambda text: epoch_of(text) >= 5, "the first epochs")
        session.press("a", 1.0)
        session.wait(lambda text: "2/4 done" in text, "two models")
        for keys, seconds in ((_ENTER, 2.0), (_ESCAPE, 0.5)):
            session.press(keys, seconds)
        session.wait(lambda text: "completed" in text.splitlines()[0], "the end of the run")
        for keys, seconds in (("v", 1.2), ("v", 1.2), ("3", 1.5)):
            session.press(keys, seconds)
    finally:
        session.close()
    save_recording(session.frames, PICTURES / "session.gif")


def take(place: Path) -> None:
    """The single pictures of the guide, of a run in the middle of its training."""
    run = "runs/night"
    for name, columns, rows, keys, ready in (
        ("configure", 100, 30, "", "SUGGESTED"),
        ("watch", 120, 40, " a", "SUGGESTED"),
        ("watch-80x24", 80, 24, "", "LOSS"),
        ("model", 100, 30, _ENTER, "loss"),
        ("runs", 100, 30, "3", "night"),
    ):
        arguments = train(400) if name == "configure" else ["attach", run]
        if name == "watch":
            start(place, run)
        session = Session(arguments, columns, rows, place)
        try:
            session.wait(lambda text, ready=ready: ready in text, f"{name}: {ready}")
            if name.startswith("watch"):
                session.wait(lambda text: epoch_of(text) >= 100, "a hundred epochs")
            for key in keys:
                session.press(key, 0.5)
            session.rest(3.0)
            save_picture(session, name)
        finally:
            session.close()


def start(place: Path, run: str) -> None:
    """Start the run of the single pictures; it ends by itself."""
    output, status = pexpect.run(
        f"{sys.executable} -m forge_tui --detach {' '.join(train(2_000))} --output {run}",
        cwd=str(place), env=environment(place), withexitstatus=True, timeout=_PATIENCE,
    )  # fmt: skip
    if status:
        raise OSError(f"the run did not begin: {output.decode(errors='replace')}")


def main() -> None:
    """Record, take pictures, and clean up."""
    PICTURES.mkdir(exist_ok=True)
    place = Path(tempfile.gettempdir()) / "forge-demo"  # it is in the pictures
    place.mkdir(mode=0o700)
    (place / "name").mkdir()
    (place / "name" / "sitecustomize.py").write_text(_HOST)
    try:
        record(place)
        take(place)
    finally:
        for run in (place / "runs").glob("*"):  # a live one would write into a directory that is gone
            pexpect.run(
                f"{sys.executable} -m forge_tui kill {run}", cwd=str(place), env=environment(place), timeout=_PATIENCE
            )
            pexpect.run(
                f"{sys.executable} -m forge_tui wait {run}", cwd=str(place), env=environment(place), timeout=_PATIENCE
            )
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
