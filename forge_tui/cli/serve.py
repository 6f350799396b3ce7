"""`forge-tui serve`: the UI in a browser."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import importlib.util
import os
import socket
import sys
from pathlib import Path

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import answer, say


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--port", type=int, metavar="N", help="port of 127.0.0.1 to listen on, by default 8765; 0: any free one"
    )
    where.add_argument(
        "--socket", metavar="PATH", help="listen on a Unix socket instead, in a directory that only you may enter"
    )
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="only look: nothing can be started, steered, deleted, exported, saved or picked",
    )


def run(arguments: argparse.Namespace, name: str) -> int:
    """Serve until a signal."""
    for module in ("aiohttp", "textual_serve"):
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"serve needs {module}, which is not installed: pip install 'forge-tui[serve]'")
    from forge_tui.serve.listening import DEFAULT_PORT, Listener, listen_on_port, listen_on_socket
    from forge_tui.serve.server import serve, tunnel_command
    from forge_tui.serve.session import command_of

    listening: contextlib.AbstractContextManager[Listener]
    if arguments.socket is not None:
        listening = listen_on_socket(Path(arguments.socket))
    else:
        listening = listen_on_port(DEFAULT_PORT if arguments.port is None else arguments.port)
    with listening as listener:

        def announce(address: str) -> None:
            answer(address)
            sys.stdout.flush()
            what = "look at every run of yours" if arguments.read_only else "start programs as you"
            say(f"Whoever has this address can {what}: do not pass it on. It is valid until this server ends.")
            here = "" if arguments.socket is not None else "Open it on this machine; or from"
            say(f"{here or 'From'} your own computer, run this there first, and open the address there:")
            say(f"    {tunnel_command(listener, _user(), socket.gethostname())}")
            say("Ctrl+C ends the server and its sessions. Runs continue.")

        serve(listener, command_of(read_only=arguments.read_only), announce)
    say("The server has ended. Runs continue.")
    return 0


def _user() -> str:
    """This user's name; in a container it may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
