"""Open the terminal UI: `forge-tui`, `forge-tui attach`, and the UI for `demo` and `resume`."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from forge_tui.errors import UsageError
from forge_tui.safe_io.read_only import become_read_only

if TYPE_CHECKING:
    import argparse

    from forge_tui.client.run import Run
    from forge_tui.settings.schema import Settings


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of `attach`."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="run directory, name or run id; without it the newest")
    parser.add_argument("--ascii", action="store_true", help="plain characters only")
    parser.add_argument("--theme", choices=("dark", "light", "contrast", "ansi"), help="colours")
    parser.add_argument("--refresh", type=float, metavar="N", help="repaints per second, at most 10")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="only look: nothing can be started, steered, deleted, exported, saved or picked",
    )


def run(arguments: argparse.Namespace, name: str) -> int:
    """Attach to a run."""
    require_terminal()
    from forge_tui import client
    from forge_tui.tui.options import read_options

    options = read_options()
    if arguments.refresh is not None:
        if not 0 < arguments.refresh <= 10:
            raise UsageError(f"--refresh {arguments.refresh:g}: must be above 0, at most 10")
        options = options._replace(refresh=arguments.refresh)
    options = options._replace(
        ascii=options.ascii or arguments.ascii,
        theme=arguments.theme or options.theme,
        mouse=options.mouse and not arguments.no_mouse,
    )
    run = client.attach(arguments.run)
    if arguments.read_only:
        become_read_only()
    return open_ui(options=options, run=run, read_only=arguments.read_only)


def require_terminal() -> None:
    """Raise `UsageError` with the reason if the UI cannot be shown here."""
    from forge_tui.tui.terminal.capabilities import this_terminal

    this_terminal().check()


def ui_options(settings: Settings) -> Any:
    """The UI's options from resolved settings."""
    from dataclasses import asdict

    from forge_tui.tui import options

    return options.options_of(asdict(settings.ui))


def open_ui(
    *,
    options: Any = None,
    run: Run | None = None,
    start_with: Settings | None = None,
    given: Any = None,
    read_only: bool = False,
    called: str = "",
) -> int:
    """Run the app on this terminal; return the exit status.

    `read_only`: as this process already is; `called`: the name of the run that it starts first.
    """
    gc.disable()  # until the first paint nothing becomes garbage, and collecting takes 20 ms; the app enables it again
    from forge_tui.tui.app import ForgeApp
    from forge_tui.tui.offered import Surroundings
    from forge_tui.tui.options import read_options
    from forge_tui.tui.terminal.capabilities import this_terminal
    from forge_tui.tui.terminal.terminal_app import run_app

    options = options or read_options()
    only_ascii = this_terminal(force_ascii=options.ascii).ascii
    app = ForgeApp(
        run=run,
        start_with=start_with,
        given=given,
        options=options,
        surroundings=Surroundings(read_only=read_only),
        only_ascii=only_ascii,
        called=called,
    )
    return run_app(app, mouse=options.mouse)
