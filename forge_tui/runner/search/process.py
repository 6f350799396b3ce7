"""The process in which Optuna runs: questions come over a socket, answers go back, one at a time.

It ends when the runner's side of the socket closes. So neither importing Optuna nor a proposal holds up the runner's
thread, and its memory is given back.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import traceback
from typing import Any

from setproctitle import setproctitle

from forge_tui.protocol.job import STOP_SIGNALS
from forge_tui.protocol.wire import encode_line
from forge_tui.runner.search.trials import Trial
from forge_tui.settings.schema import keys_by_name
from forge_tui.settings.space import space_key


def main() -> None:
    """Serve the runner at the other end of the socket that is the first argument."""
    setproctitle("forge-tui: search")
    for number in (*STOP_SIGNALS, signal.SIGHUP):  # a batch system signals every process of a job; the runner decides
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as runner, contextlib.suppress(OSError):  # the runner is gone
        serve(runner)


def serve(runner: socket.socket) -> None:
    """Answer until the runner closes its side. The first line has `space` and `seed`, each further one a question."""
    with runner.makefile("rb") as lines:
        opening = json.loads(lines.readline() or b"null")
        if opening is None:
            return
        keys, seed = keys_by_name(), opening["seed"]
        space = {name: space_key(name, keys).dimension(value) for name, value in opening["space"].items()}
        from forge_tui.runner.search.tpe import proposed

        for line in lines:
            question = json.loads(line)
            answer: dict[str, Any] = {"number": question["number"]}
            try:
                trials = [Trial.from_record(record) for record in question["trials"]]
                answer["values"], answer["about"] = proposed(space, seed, question["number"], trials)
            except Exception as error:  # becomes data: the run stops with it
                traceback.print_exc()
                answer["problem"] = f"{type(error).__name__}: {error}"
            runner.sendall(encode_line(answer))


if __name__ == "__main__":
    main()
