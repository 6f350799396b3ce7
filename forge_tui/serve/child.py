"""The process of one session: `python -m forge_tui.serve.child --size 120x40 [--read-only]`, started by the server."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Sequence

from forge_tui.safe_io.printing import fit_streams_to_locale
from forge_tui.safe_io.read_only import become_read_only


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app for the server at the other end of standard input and output; returns the exit status."""
    given = _parsed(arguments)
    if given.read_only:
        become_read_only()  # before anything that could do more
    output = _own_output()
    fit_streams_to_locale(os.environ)

    from forge_tui.serve.driver import BrowserDriver
    from forge_tui.tui.app import ForgeApp
    from forge_tui.tui.offered import Surroundings
    from forge_tui.tui.options import read_options
    from forge_tui.tui.terminal.terminal_app import ending

    os.environ.pop("TEXTUAL_COLOR_SYSTEM", None)  # Textual has read it; runs need not inherit it
    options = read_options()
    app = ForgeApp(
        options=options,
        surroundings=Surroundings(in_browser=True, read_only=given.read_only),
        only_ascii=options.ascii,
    )
    app.driver_class = functools.partial(BrowserDriver, output=output, first_size=given.size)  # type: ignore[assignment]
    result = app.run(mouse=options.mouse)
    print(ending(app), end="", file=sys.stderr)
    return 1 if app.crash else app.return_code or (result if isinstance(result, int) else 0)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="forge_tui.serve.child", allow_abbrev=False)
    parser.add_argument("--size", type=_size, required=True, metavar="COLUMNSxROWS")
    parser.add_argument("--read-only", action="store_true")
    return parser.parse_args(arguments)


def _size(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    return int(columns), int(rows)


def _own_output() -> int:
    """A descriptor for packets only; what anything else prints goes to standard error."""
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    return output


if __name__ == "__main__":
    sys.exit(main())
