"""`label RUN`: the name and the note of a run."""

from __future__ import annotations

import argparse
import json

from forge_tui.safe_io.printing import answer, named, say


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", help="run directory, name or run id")
    parser.add_argument("--name", metavar="NAME", help="what commands also accept for the run; '' removes it")
    parser.add_argument("--note", metavar="TEXT", help="a remark, shown with the run; '' removes it")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, name: str) -> int:
    """Set what was given, and print name and note."""
    from forge_tui import client

    with client.attach(arguments.run) as attached:
        if arguments.name is None and arguments.note is None:
            label = attached.label
        else:
            label = attached.set_label(name=arguments.name, note=arguments.note)
        run_id, path = attached.id, attached.path
    if arguments.json:
        print(json.dumps({"run": run_id, "path": str(path), "name": label.name, "note": label.note}))
    else:
        answer(f"{named(run_id)}: {label.name or 'no name'}" + (f", {label.note}" if label.note else ", no note"))
    if arguments.name:
        warn_of_namesakes(label.name, client.namesakes(label.name, path))
    return 0


def warn_of_namesakes(name: str, others: list[str]) -> None:
    """Warn that a name does not say which run is meant."""
    if others:
        say(f"warning: {name!r} also stands for {', '.join(map(named, others))}: name these runs by their directories")
