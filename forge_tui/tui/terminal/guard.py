"""Signals and hang-ups around an app: the app is asked to leave, and if it does not, the process ends."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from forge_tui.tui.terminal.device import TerminalDevice, in_foreground, wait_for_foreground

LEAVING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
GRACE_SECONDS = 2.0
"""How long an app may take to leave."""
ABANDON_SECONDS = 1.0
"""After this time a stalled terminal is given up, so that the app can still leave by itself."""
_TOGETHER_SECONDS = 0.1
_FAREWELL_SIGNAL = b"\0"


class Guard:
    """Handles signals, the terminal's end, and an app that does not respond.

    Signals arrive through `signal.set_wakeup_fd`, written by the C handler at once, even while the main thread waits in
    a system call. `leave(signum)`, `suspend()` and `resumed()` are called in the guard's thread and must pass control
    to the app's. Use it as a context manager, in the main thread.
    """

    def __init__(self, device: TerminalDevice) -> None:
        self._device = device
        self.leave: Callable[[int], None] = _nothing
        self.suspend: Callable[[], None] = _nothing
        self.resumed: Callable[[], None] = _nothing
        self.farewell: Callable[[], str] = str
        """Returns the text to print after a forced end; called in the guard's thread."""
        self._signum = 0
        self._asked = threading.Event()
        self._in_background = False
        self._deadline: float | None = None
        self._earlier: dict[int, Any] = {}
        self._earlier_wakeup = -1
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._watch, name="terminal-guard", daemon=True)

    @property
    def signum(self) -> int:
        """The first signal that asked to leave (SIGHUP for a hang-up); 0 if none."""
        return self._signum

    @property
    def leaving(self) -> bool:
        """Whether the app was asked to leave."""
        return self._signum != 0

    def __enter__(self) -> Guard:
        # Ignored signals stay ignored (`nohup`, a background job of a script).
        for signum in LEAVING:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._earlier[signum] = signal.signal(signum, self._note)
        for signum in (signal.SIGTSTP, signal.SIGCONT):
            self._earlier[signum] = signal.getsignal(signum)
        self._earlier_wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._writing, _FAREWELL_SIGNAL)
        self._thread.join()
        signal.set_wakeup_fd(self._earlier_wakeup)
        for signum, handler in self._earlier.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        os.close(self._reading)
        os.close(self._writing)

    def comes_back(self) -> bool:
        """After a suspension, wait until the shell returns the terminal; False if the app is to leave instead.

        Called in the main thread.
        """
        if in_foreground(self._device.input):
            return not self.leaving
        # `kill %1` sends a stopped job SIGTERM and SIGCONT together, and another thread may have got the first.
        if self.leaving or self._asked.wait(_TOGETHER_SECONDS):
            return False
        return wait_for_foreground(self._device.input) and not self.leaving

    def hang_up(self) -> None:
        """Leave because the terminal is gone or its input has ended. Callable from any thread."""
        os.write(self._writing, bytes([signal.SIGHUP]))

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        # The guard's thread reads it from the pipe; the main thread must know it before it continues.
        self._signum = self._signum or signum

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        poll.register(self._device.input, 0)  # POLLHUP and POLLERR are always reported
        while True:
            happened = poll.poll(self._milliseconds_left())
            # Waiting stops the whole job. Continuing it sends a SIGCONT, handled next.
            if self._in_background and not happened and not wait_for_foreground(self._device.input):
                self._answer(signal.SIGHUP)
            for descriptor, _ in happened:
                if descriptor == self._reading:
                    for signum in os.read(self._reading, 512):
                        if signum == 0:
                            return
                        self._answer(signum)
                else:
                    poll.unregister(descriptor)
                    self._answer(signal.SIGHUP)
            self._enforce()

    def _answer(self, signum: int) -> None:
        if signum == signal.SIGTSTP:
            self.suspend()
        elif signum == signal.SIGCONT and not self.leaving:
            self._in_background = self._device.entered and not in_foreground(self._device.input)
            if not self._in_background:
                self._device.release()
                self.resumed()
        elif signum in LEAVING and self._deadline is None:
            self._signum = self._signum or signum
            self._in_background = False
            self._asked.set()
            self._device.release()
            self._deadline = time.monotonic() + GRACE_SECONDS
            self.leave(self._signum)

    def _milliseconds_left(self) -> float | None:
        if self._deadline is None:
            return _TOGETHER_SECONDS * 1000 if self._in_background else None
        until = self._deadline if self._device.abandoned else self._deadline - GRACE_SECONDS + ABANDON_SECONDS
        return max(0.0, (until - time.monotonic()) * 1000) + 1

    def _enforce(self) -> None:
        if self._deadline is None:
            return
        left = self._deadline - time.monotonic()
        if left <= GRACE_SECONDS - ABANDON_SECONDS:
            self._device.abandon()
        if left <= 0:
            self._device.restore(self.farewell())
            os._exit(128 + self._signum)


def _nothing(*_: object) -> None:
    """The default callback: does nothing."""
