"""Run `python ARGUMENTS` as the leader of a session of its own on this terminal, as tmux or sshd would."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios

signal.signal(signal.SIGHUP, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
