"""The runner's side of the process in which Optuna runs (`runner.search.process`). It never waits for that process."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from forge_tui.protocol.wire import LineBuffer, encode_line
from forge_tui.runner.search.draws import STARTUP_TRIALS, drawn
from forge_tui.runner.search.sampler import Proposal, Question
from forge_tui.settings.space import Dimension

_MODULE = "forge_tui.runner.search.process"
_READ_SIZE = 1 << 16
_END_SECONDS = 5.0
# Its end closes the socket a moment before it can be waited for.
_GONE_SECONDS = 0.2
ANSWER_SECONDS = 300.0
"""A process without an answer for so long hangs; a proposal takes 0.1 s after 1,000 trials."""
MOST_STARTS = 3
"""How often in a row the process is started for one question."""
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class TpeSampler:
    """Proposals of TPE from a helper process, which is started for the last of the random trials at the start."""

    def __init__(
        self,
        space: Mapping[str, Dimension],
        plain_space: Mapping[str, Any],
        seed: int,
        selector: selectors.BaseSelector,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`plain_space`: `space` as in the settings, for the process. `monotonic` measures time (seconds)."""
        self._space, self._seed, self._selector, self._monotonic = space, seed, selector, monotonic
        self._opening = encode_line({"space": dict(plain_space), "seed": seed})
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._buffer, self._unsent = LineBuffer(), b""
        self._asked: tuple[Question, Callable[[Proposal], None]] | None = None
        self._starts, self._asked_at = 0, 0.0

    def ask(self, question: Question, answer: Callable[[Proposal], None]) -> None:
        """Find the values; trials before TPE has anything to learn from are answered at once."""
        if question.number >= STARTUP_TRIALS and self._socket is None:
            self._start()
        if question.number <= STARTUP_TRIALS:
            values = drawn(self._space, self._seed, question.number, question.known)
            answer(Proposal(question.number, values, "at random"))
            return
        self._asked, self._starts = (question, answer), 1
        self._send(question)

    def look(self) -> None:
        """End a process that hangs; it is then started again."""
        if self._process is not None and self._monotonic() - self._asked_at > ANSWER_SECONDS:
            self._process.kill()

    def hang_up(self) -> None:
        """Let the process end."""
        self._leave()

    def close(self) -> None:
        """End the process."""
        self._leave()
        self._wait(_END_SECONDS)

    def _wait(self, seconds: float) -> int | None:
        """The status of the process, which is to have ended; after so many seconds it is killed."""
        if self._process is None:
            return None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self._process.returncode

    def _start(self) -> None:
        self._wait(_GONE_SECONDS)
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **_THREADS},
                start_new_session=True,
            )
        ours.setblocking(False)
        self._socket, self._buffer, self._unsent = ours, LineBuffer(), self._opening
        self._selector.register(ours, selectors.EVENT_READ, self._serve)
        self._write()

    def _send(self, question: Question) -> None:
        self._asked_at = self._monotonic()
        record = {"number": question.number, "trials": [trial.to_record() for trial in question.trials]}
        self._unsent += encode_line(record)
        self._write()

    def _serve(self) -> None:
        self._write()
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        for record in self._buffer.feed(data):
            if self._asked is not None and record["number"] == self._asked[0].number:
                answer, self._asked = self._asked[1], None
                about, problem = record.get("about", ""), record.get("problem", "")
                answer(Proposal(record["number"], record.get("values"), about, problem))

    def _gone(self) -> None:
        """The process has ended: start it again for a question that is not answered."""
        self._leave()
        status = self._wait(_GONE_SECONDS)
        if self._asked is None:
            return
        question, answer = self._asked
        if self._starts >= MOST_STARTS:
            self._asked = None
            answer(Proposal(question.number, None, problem=f"its process has ended {MOST_STARTS} times, with {status}"))
            return
        self._starts += 1
        self._start()
        self._send(question)

    def _write(self) -> None:
        if self._socket is None:
            return
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            return  # it has ended; reading reports that
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._selector.get_key(self._socket).events != events:
            self._selector.modify(self._socket, events, self._serve)

    def _leave(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
