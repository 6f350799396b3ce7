"""The HTML report: one file that asks for nothing else and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import time
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

import forge_tui
from forge_tui.analysis.configs import config_results
from forge_tui.analysis.ranking import best_model
from forge_tui.client.details import read_details
from forge_tui.protocol.energy import Energy
from forge_tui.reports.curve_sets import curve_set
from forge_tui.reports.page.curves import curves_section
from forge_tui.reports.page.failures import failures_section
from forge_tui.reports.page.mistakes import mistakes_section
from forge_tui.reports.page.resources import resources_section
from forge_tui.reports.page.settings import settings_section
from forge_tui.reports.page.summary import heading, moment, results
from forge_tui.reports.page.sweep import sweep_section
from forge_tui.reports.page.tables import Section, paragraphs
from forge_tui.reports.pictures.drawing import DARK, LIGHT
from forge_tui.reports.pictures.svg import colour_rules
from forge_tui.reports.run_report import REMARKABLE
from forge_tui.safe_io.printing import Writable
from forge_tui.text.markup import element, escaped, joined

if TYPE_CHECKING:
    from forge_tui.client.run import Run
    from forge_tui.protocol.snapshot import Snapshot

SCRIPTS = ("elements.js", "line_chart.js", "curves.js", "parallel.js", "resources.js", "page.js")


def write_page(run: Run, snapshot: Snapshot, out: Writable) -> None:
    """Write the page. Raises `RunDirectoryError` if the run cannot be read."""
    style, script = _style(), _script()
    sections = _sections(run, snapshot)
    links = (element("li", element("a", one.title, href=f"#{one.name}")) for one in sections)
    page = Template(_file("template.html")).substitute(
        policy=_policy(style, script),
        title=escaped(f"Run {snapshot.heading}"),
        style=style,
        head=heading(snapshot),
        problems=paragraphs((f"Warning: {problem}" for problem in snapshot.problems), "problem"),
        contents=element("nav", element("ul", *links), aria_label="Contents"),
        sections=joined(one.whole() for one in sections),
        made=escaped(f"Made {moment(time.time())} by forge-tui {forge_tui.__version__}."),
        script=script,
    )
    out.write(page)


def _sections(run: Run, snapshot: Snapshot) -> list[Section]:
    best = best_model(snapshot)
    name = None if best is None else best.model.name
    swept = config_results(snapshot)
    found = [
        results(snapshot),
        curves_section(curve_set(run, snapshot)),
        None if swept is None else sweep_section(swept),
        None if name is None else mistakes_section(name, read_details(run.directory, name)),
        failures_section(snapshot),
        resources_section(
            run.resources(),
            run.events_of(REMARKABLE, check_epochs=False),
            snapshot.models,
            Energy.from_record(snapshot.run.energy),
        ),
        settings_section(run.directory, snapshot, name),
    ]
    return [part for part in found if part is not None]


def _policy(style: str, script: str) -> str:
    """The content security policy: only this style and this script, nothing from elsewhere."""
    return f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; base-uri 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _style() -> str:
    def variables(colours: dict[str, str]) -> str:
        return "".join(f"--{role}:{colour};" for role, colour in colours.items())

    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
    return f":root{{{variables(LIGHT)}}}{dark}{colour_rules(LIGHT, variables=True)}\n{_file('report.css')}"


def _script() -> str:
    return "".join(("(() => {\n'use strict';\n", *map(_file, SCRIPTS), "})();\n"))


def _file(name: str) -> str:
    return (resources.files(__package__) / "files" / name).read_text(encoding="utf-8")
