"""The ways to start a run: `forge-tui`, `demo` and `resume`."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any, Literal

from forge_tui.errors import UsageError
from forge_tui.safe_io.printing import answer, named, say
from forge_tui.settings.amounts import whole_number

# Where a run continues may be another place than where it began.
_ENGINE = ("engine.name", "engine.address", "engine.files", "engine.trust_cluster", "engine.mixed_nodes")
_DEMO = {"training.epochs": "60", "training.training_mode": "parallel"}


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one way to start."""
    if name == "resume":
        parser.add_argument("run", metavar="RUN", help="run directory, name or run id")
        parser.add_argument(
            "--epochs", type=whole_number, metavar="N", help="train a finished run further, to N epochs"
        )
        parser.add_argument("--no-ui", action="store_true", help="batch mode (the default without a terminal)")
        parser.add_argument("--json", action="store_true", help="JSON lines on stdout")
        parser.add_argument("--detach", action="store_true", help="return when the run has begun")
        parser.add_argument(
            "--accept-changes",
            action="store_true",
            help="continue although data or code has changed since the start; the models are then not exact",
        )
        parser.add_argument(
            "--trust-code", action="store_true", help="run custom code of a run that you have not started"
        )
        parser.add_argument("--dataset", metavar="FILE", help="where the run's dataset is now, if it was moved")
        parser.add_argument(
            "--python-path",
            action="append",
            default=[],
            metavar="DIR",
            help="where the run's code is now, if it was moved",
        )
        from forge_tui.settings.flags import add_flags

        add_flags(parser, _ENGINE)
        return
    from forge_tui.settings.flags import add_flags, add_source_flags

    parser.add_argument("--no-ui", action="store_true", help="batch mode: progress on stderr, results on stdout")
    parser.add_argument("--detach", action="store_true", help="return when the run has begun, and print its directory")
    parser.add_argument("--check", action="store_true", help="validate everything, train nothing")
    parser.add_argument(
        "--overwrite", action="store_true", help="move an earlier run's files in the output directory to previous-N/"
    )
    parser.add_argument("--name", metavar="NAME", default="", help="what to call the run; commands accept it for RUN")
    add_source_flags(parser)
    add_flags(parser)


def run(arguments: argparse.Namespace, name: str) -> int:
    """Start or resume, then watch in batch mode."""
    from forge_tui import client
    from forge_tui.cli import ui

    batch = arguments.no_ui or arguments.detach
    if name == "resume":
        batch = batch or arguments.json or not _on_terminal()
        if batch:
            say(f"{named(arguments.run)}: reading the run and its data…")
        started = client.resume(
            arguments.run,
            epochs=arguments.epochs,
            detach=True,
            accept_changes=arguments.accept_changes,
            trust_code=arguments.trust_code,
            dataset=arguments.dataset,
            python_path=arguments.python_path,
            engine=_engine(arguments),
        )
        if not batch:
            return ui.open_ui(run=started)
        return _watch(started, detach=arguments.detach, json_lines=arguments.json)

    if not name and not batch and not arguments.check:
        ui.require_terminal()
    from forge_tui.protocol.label import checked_run_name
    from forge_tui.settings.flags import resolve_arguments

    if name == "demo" and "run.command" in arguments:
        raise UsageError("demo trains three models of its own; leave `demo` out to run a command")
    settings = resolve_arguments(arguments, _DEMO if name == "demo" else None).settings
    called = checked_run_name(arguments.name)
    previous: Literal["refuse", "move"] = "move" if arguments.overwrite else "refuse"
    if arguments.check:
        return _check(settings, previous)
    batch = batch or settings.run.json or (name == "demo" and not _on_terminal())
    if not batch:
        start_with = settings if name == "demo" else None
        return ui.open_ui(
            options=ui.ui_options(settings), start_with=start_with, given=_source(arguments), called=called
        )
    _tell_what_is_read(settings)
    started = client.start(settings, detach=True, previous=previous, name=called)
    if called:
        from forge_tui.cli.label import warn_of_namesakes

        warn_of_namesakes(called, client.namesakes(called, started.path))
    return _watch(started, detach=arguments.detach, json_lines=settings.run.json)


def _engine(arguments: argparse.Namespace) -> Any:
    """The engine that a resume was given flags of; None: none."""
    from forge_tui.settings.flags import flag_values
    from forge_tui.settings.setting_layers import resolve_settings

    given = {name: value for name, value in flag_values(arguments).items() if name in _ENGINE}
    # What the site locks is checked by the runner, against all settings of the run.
    return (
        resolve_settings(flags=given, environment={}, use_user_file=False, use_site=False).settings.engine
        if given
        else None
    )


def _tell_what_is_read(settings: Any) -> None:
    """What a start waits for; a command is found at once."""
    from forge_tui.settings.replacement import Trains, what_trains

    match what_trains(settings):
        case Trains.FUNCTION:
            say(f"{named(settings.training.train)}: looking at the training function…")
        case Trains.MODEL:
            say(f"{named(settings.training.dataset)}: reading the data…")


def _on_terminal() -> bool:
    from forge_tui.tui.terminal.capabilities import this_terminal

    return this_terminal().usable


def _source(arguments: argparse.Namespace) -> Any:
    """The command line's settings, for the form."""
    from forge_tui.settings.flags import flag_values
    from forge_tui.tui.form.source import FormSource

    return FormSource(
        preset=arguments.preset,
        settings_file=arguments.settings,
        flags=flag_values(arguments),
        assignments=tuple(arguments.set),
        sweeps=tuple(arguments.sweep),
        spaces=tuple(arguments.space),
    )


def _watch(started: Any, *, detach: bool, json_lines: bool) -> int:
    from forge_tui.batch import batch_mode

    with started:
        if detach:
            if json_lines:
                print(json.dumps({"run": started.id, "output": str(started.path)}))
            else:
                answer(str(started.path))
            _tell_endings()
            return 0
        return batch_mode.watch(started, json_lines=json_lines)


def _tell_endings() -> None:
    """Warn about what would end a detached run, which outlives this terminal."""
    from forge_tui.resources.lifetime import endings
    from forge_tui.resources.system_probe import SystemProbe

    for ending in endings(SystemProbe()):
        remedy = f" {ending.remedy[:1].upper()}{ending.remedy[1:]}." if ending.remedy else ""
        say(f"warning: the run ends with this {ending.what}: {ending.reason}.{remedy}")


def _check(settings: Any, previous: Literal["refuse", "move"]) -> int:
    from forge_tui import client

    reply = client.check(settings, previous=previous)
    found, limit = reply.found or {}, reply.limit or {}
    if settings.run.json:
        print(json.dumps({"check": "passed", "found": found, "limit": limit}))
        return 0
    from forge_tui.runs import run_models
    from forge_tui.settings.replacement import Trains, what_trains

    trains = what_trains(settings)
    models = f"{run_models.count(settings)} {run_models.type_words(settings)} models"
    if trains is Trains.COMMAND:
        program = found["program"]
        where = "the program depends on a placeholder" if program is None else f"the program is {named(program)}"
        answer(f"Everything is in order: {models}; {where}, to be run in {named(os.getcwd())}. It was not run.")
        _tell_limit(found, limit)
        return 0
    if trains is Trains.FUNCTION:
        answer(f"Everything is in order: {models}, {_first_report(found['first_report'])}.")
        _tell_limit(found, limit)
        return 0
    least, most = found["parameters_least"], found["parameters_most"]
    size = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    answer(f"Everything is in order: {models} of {size} parameters, {_samples(found)} ({found['task']}).")
    if found.get("format") is not None or any(one["kind"] == "left_out" or one["reason"] for one in found["columns"]):
        _tell_table(found)
    _tell_limit(found, limit)
    return 0


def _samples(found: dict[str, Any]) -> str:
    """The samples of each split: `900 training and 100 validation samples`."""
    training, validation = f"{found['train_samples']:,} training", f"{found['validation_samples']:,} validation"
    if not found["test_samples"]:
        return f"{training} and {validation} samples"
    return f"{training}, {validation} and {found['test_samples']:,} test samples"


def _tell_table(found: dict[str, Any]) -> None:
    """What was found in a table: target, split, and a line per column."""
    from forge_tui.text.table_lines import column_lines, format_line, target_line

    written = format_line(found["format"])
    answer(target_line(found) + ("" if written is None else f"\n{written}"))
    answer(column_lines(found["columns"]))


def _first_report(metrics: dict[str, float | None] | None) -> str:
    """What a training function reported when it was tried, in words."""
    from forge_tui.text.figures import number

    if metrics is None:
        return "and the training function ran without an error, and made no report, as long as it was tried"
    reported = ", ".join(f"{named(name)} {number(value)}" for name, value in metrics.items())
    return f"and the training function's first report was {reported or 'without metrics'}"


def _tell_limit(found: dict[str, Any], limit: dict[str, Any]) -> None:
    for warning in found["warnings"]:
        say(f"warning: {warning}")
    say(f"Workers at once: {limit['workers']} of {limit['requested']} ({limit['reason']})")
