"""The page of a run: what is in it, and that text from a run stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from run_directories import MESSAGE, RunMaker

from forge_tui import client
from forge_tui.cli import main
from forge_tui.protocol.energy import Energy
from forge_tui.protocol.events import Decision, ResourceWarned
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.reports.page import failures, resources, summary
from forge_tui.reports.page.resources import resources_section
from forge_tui.reports.run_report import report_bytes
from forge_tui.settings.files import write_settings
from forge_tui.settings.schema import Settings, TrainingConfig

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> \" ' & \x1b[31m"
SHOWN = HOSTILE.replace("\x1b", " ")
_OVERHEAD = 300_000
_VOID = {"br", "col", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of each outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.code: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            attributes = self.elements[-1][1]
            self.code[attributes.get("id") or self.open[-1]] = data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag]

    def data(self, name: str) -> Any:
        return json.loads(self.code[name])

    @property
    def sections(self) -> list[str | None]:
        return [found["id"] for found in self.attributes("section")]


def page_of(path: Path) -> Page:
    with client.attach(path) as run:
        return Page(report_bytes(run, "html").decode())


def hostile_models(maker: RunMaker) -> list[ModelState]:
    swept = {"combination": {"note": HOSTILE, "learning_rate": 0.1}}
    failed = maker.failed(2, epoch=4, **swept)
    worst = replace(failed.failures[0], kind=HOSTILE[:20], message=HOSTILE, traceback=f"{HOSTILE}\nsecond line")
    metrics = {**maker.model(1).metrics, HOSTILE[:90].replace("\x1b", ""): 0.5}
    done = maker.model(1, epoch=6, combination={"note": "plain", "learning_rate": 0.01})
    return [replace(done, metrics=metrics), replace(failed, failures=(worst, failed.failures[1]))]


@pytest.fixture
def hostile(maker: RunMaker) -> Page:
    events = [
        Decision(time=10.0, kind=HOSTILE, reason=HOSTILE), ResourceWarned(time=20.0, kind="memory", message=HOSTILE),
    ]  # fmt: skip
    path = maker.make(
        "one", RunState.FAILED, hostile_models(maker), events=events, reason=HOSTILE, host=HOSTILE,
        limit_reason=HOSTILE, code={HOSTILE: "0"}, command=(HOSTILE,),
    )  # fmt: skip
    return page_of(path)


def test_text_from_a_run_is_nothing_but_text(hostile: Page) -> None:
    scripts = hostile.attributes("script")
    assert [one.get("type") for one in scripts if "id" in one] == ["application/json"] * (len(scripts) - 1)
    assert not {"img", "iframe", "object", "form", "base"} & {tag for tag, _ in hostile.elements}
    every = [name for _, attributes in hostile.elements for name in attributes]
    assert not [name for name in every if name.startswith("on") or name == "style"]
    assert hostile.text.count(SHOWN) >= 8
    assert "\x1b" not in hostile.source


def test_the_data_of_the_scripts_reads_as_it_was(hostile: Page) -> None:
    curves, parallel = hostile.data("curves-data"), hostile.data("parallel-data")
    labels = [series["label"] for view in curves["views"] for series in view["series"]]
    assert any(HOSTILE in label for label in labels)
    assert [axis["key"] for axis in parallel["axes"]] == ["note", "learning_rate"]
    assert HOSTILE in parallel["axes"][0]["words"]


def test_only_its_own_style_and_script_may_run_and_nothing_is_asked_for(hostile: Page) -> None:
    (policy,) = [one["content"] for one in hostile.attributes("meta") if one.get("http-equiv")]

    def allowed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy == (
        f"default-src 'none'; style-src {allowed(hostile.code['style'])}; "
        f"script-src {allowed(hostile.code['script'])}; img-src data:; base-uri 'none'"
    )
    addresses = [value for _, found in hostile.elements for name, value in found.items() if name in ("src", "href")]
    assert all(address is not None and address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|innerHTML|eval\(", hostile.source)


def test_every_link_of_the_contents_and_every_label_leads_somewhere(hostile: Page) -> None:
    names = [found["id"] for _, found in hostile.elements if "id" in found]
    assert len(names) == len(set(names))
    assert {(one["href"] or "")[1:] for one in hostile.attributes("a")} <= set(names)
    assert {one["aria-labelledby"] for one in hostile.attributes("section")} <= set(names)
    assert all(one.get("aria-label") for one in hostile.attributes("nav"))
    assert len(hostile.attributes("caption")) == len(hostile.attributes("table"))
    assert all(one.get("scope") in ("row", "col") for one in hostile.attributes("th"))


@pytest.fixture
def sweep(maker: RunMaker) -> Path:
    models = [
        maker.model(index, epoch=6, seed=index % 2, validation_accuracy=0.9 + rate, combination={"learning_rate": rate})
        for index, rate in enumerate((0.01, 0.01, 0.05, 0.05), 1)
    ]
    path = maker.make("rates", RunState.FAILED, [*models, maker.failed(5, combination={"learning_rate": 9.0})])
    write_settings(Settings(training=TrainingConfig(epochs=6, learning_rate=0.05)), path / "settings.toml")
    return path


def test_a_sweep_has_every_section_and_its_figures(sweep: Path) -> None:
    page = page_of(sweep)
    assert page.sections == ["results", "curves", "sweep", "failures", "resources", "settings"]
    for expected in (
        "Best of the completed models: cognate_planner_3 (learning_rate 0.05), accuracy 0.9500",
        "4 completed, 1 failed",
        "Ranked by mean validation accuracy; mean ± standard deviation over the models done (so far: over all).",
        MESSAGE,
        "2 attempts of 1 model; 1 failed for good: cognate_planner_5.",
        "torch.OutOfMemoryError: CUDA out of memory.",
        "training.learning_rate",
    ):
        assert expected in page.text, expected
    curves = page.data("curves-data")
    assert [(view["name"], len(view["series"])) for view in curves["views"]] == [("Configs", 3), ("Models", 5)]
    first = curves["views"][0]["series"][0]
    assert (first["label"], first["rank"], first["models"]) == ("learning_rate 0.05", 1, 2)
    axis, low, high, lower, upper = first["curves"]["loss"]
    assert curves["axes"][axis] == [1, 2, 3, 4, 5, 6]
    assert (high, lower, upper) == (0, low, low)  # both models have the same history
    assert {metric["name"] for metric in curves["metrics"]} >= {"loss", "validation_loss", "learning_rate"}
    parallel = page.data("parallel-data")
    assert parallel["first"] == "validation_accuracy"
    assert parallel["axes"] == [
        {"key": "learning_rate", "log": True, "ticks": [0.01, 0.05, 9.0], "at": [0.05, 0.01, 9.0]}
    ]
    assert [line["rank"] for line in parallel["lines"]] == [1, 2, 3]


def test_settings_that_are_the_default_stand_apart(sweep: Path) -> None:
    text = page_of(sweep).text
    chosen, usual = text.split("Settings that are not the default")[1].split("Settings with their defaults")
    assert "training.epochs6" in chosen
    assert "training.batch_size" not in chosen
    assert "training.batch_size32" in usual


def test_what_the_page_adds_to_the_data_stays_small(sweep: Path) -> None:
    page = page_of(sweep)
    assert len(page.code["script"].encode()) + len(page.code["style"].encode()) < _OVERHEAD
    assert len(page.source.encode()) < _OVERHEAD


def test_without_scripts_a_picture_of_the_curves_is_there(sweep: Path) -> None:
    page = page_of(sweep)
    (picture,) = page.attributes("svg")
    assert picture["role"] == "img"
    assert "Curves of validation loss" in page.text


def test_details_of_the_best_model_are_told(maker: RunMaker) -> None:
    path = maker.make("one", RunState.COMPLETED, [maker.model(1)])
    details = {
        "split": "test",
        "confusion": {"classes": ["cat", HOSTILE], "matrix": [[9, 1], [0, 10]]},
        "worst": [{"row": 1234, "loss": 2.5, "true": "cat", "predicted": HOSTILE}],
    }
    record = {
        "format": 1,
        "name": "cognate_planner_1",
        "details": details,
        "versions": {"torch": "2.9", "forge_tui": "1"},
    }
    (path / "cognate_planner_1.json").write_text(json.dumps(record), encoding="utf-8")
    page = page_of(path)
    assert "mistakes" in page.sections
    assert "cognate_planner_1, measured on the test split." in page.text
    assert "cat91" in page.text
    assert page.text.count(SHOWN) == 3
    assert {"number right-5", "number wrong-1", "number none"} <= {one.get("class") for one in page.attributes("td")}
    assert "1,234" in page.text
    assert "torch2.9" in page.text


def test_a_run_that_has_not_begun_has_a_page(maker: RunMaker) -> None:
    page = page_of(maker.make("one", RunState.QUEUED, [maker.model(1, TrainingPhase.QUEUED)]))
    assert "No model has finished an epoch." in page.text
    assert "No sample of the machine was recorded." in page.text
    assert "failures" not in page.sections


def test_equal_failures_stand_together(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MOST_KINDS", 1)
    models = [maker.failed(index) for index in range(1, 9)]
    other = replace(models[7].failures[1], message="another")
    models[7] = replace(models[7], failures=(models[7].failures[0], other))
    text = page_of(maker.make("one", RunState.FAILED, models)).text
    assert "15 attempts of 8 models; 8 failed for good: cognate_planner_1, cognate_planner_2, " in text
    assert "cognate_planner_6 and 2 more." in text
    assert text.count("Traceback of") == 1
    assert "1 other failures are left out" in text


def test_of_many_models_the_table_has_some_and_says_so(maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "MOST_ROWS", 4)
    page = page_of(maker.make("one", RunState.COMPLETED, [maker.model(index, epoch=1) for index in range(1, 9)]))
    assert "Of 8 models the best 3 and 1 others, evenly spread over the later ranks, are in the table." in page.text


def sample(time: float, **known: Any) -> dict[str, Any]:
    return {"time": time, "cpu_percent": 50.0, "memory_used": 1 << 30, "gpus": [], **known}


def resources_page(*given: Any) -> Page:
    return Page(resources_section(*given, ()).whole())


@pytest.mark.parametrize("samples", [[], [{"time": 1.0, "gpus": []}]])
def test_the_energy_is_told_with_and_without_samples(samples: list[dict[str, Any]]) -> None:
    energy = Energy(packages=90_000.0, cpu=18_000.0, intensity=500.0)
    text = Page(resources_section(samples, [], (), energy).whole()).text
    assert "Energy: 18 kJ (5 Wh), 2.5 g CO2 at 500 g/kWh" in text
    assert "CPU 18 kJ, this run's share by CPU time of 90 kJ in all" in text


def test_resources_are_drawn_over_time_with_what_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MOST_SAMPLES", 2)
    gpus = [{"utilization_percent": 20.0, "memory_used": 1.0}, {"utilization_percent": 40.0, "memory_used": 2.0}]
    samples = [sample(100.0 + place, cpu_percent=10.0 * place, gpus=gpus) for place in range(4)]
    events = [
        {"event": "decision", "kind": "plan", "reason": "why", "time": 90.0},
        {"event": "decision", "kind": "hold", "reason": "too little memory", "time": 101.0},
        {"event": "model_failed", "model": "m", "kind": "hang", "message": "silent", "time": 102.5},
    ]
    page = resources_page(samples, events)
    data = page.data("resources-data")
    load, memory = data["panels"]
    assert load["lines"] == [
        {"label": "CPU", "points": [[1.0, 0.0, 10.0], [3.0, 20.0, 30.0]]},
        {"label": "GPU", "points": [[1.0, 30.0, 30.0], [3.0, 30.0, 30.0]]},
    ]
    assert [line["label"] for line in memory["lines"]] == ["memory in use", "GPU memory in use"]
    assert [(mark["at"], mark["kind"]) for mark in data["marks"]] == [(1.0, "decision"), (2.5, "failure")]
    assert "4 samples are drawn as 2 points, each with the smallest and the largest value." in page.text
    assert "GPU: the mean load and the summed memory of 2 GPUs." in page.text
    assert "Decisions, warnings and failures (3)" in page.text
    assert "1.0 GiB" in page.text
    assert "GPU: 30 % busy on average, at most 2 B in use" in page.text


def test_samples_of_unknown_content_are_shown_as_unknown() -> None:
    page = resources_page([sample(1.0, cpu_percent=None, memory_used="much", gpus="none")], [])
    data = page.data("resources-data")
    assert [panel["lines"] for panel in data["panels"]] == [[], []]


# --- the command


def test_the_page_goes_to_a_new_file_here(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("rates-report.html", "rates-report-2.html"):
        assert main(["report", str(sweep), "--format", "html"]) == 0
        assert capsys.readouterr().out == f"{tmp_path / name}\n"
        assert (tmp_path / name).read_bytes().startswith(b"<!DOCTYPE html>")


def test_a_named_file_is_replaced_and_a_dash_is_standard_output(
    sweep: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    target = tmp_path / "page.html"
    target.write_text("old", encoding="utf-8")
    assert main(["report", str(sweep), "--format", "html", "--output", str(target)]) == 0
    assert capfdbinary.readouterr().out == f"{target}\n".encode()
    assert target.read_bytes().endswith(b"</html>\n")
    assert main(["report", str(sweep), "--format", "html", "--output", "-"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"<!DOCTYPE html>")
    assert main(["report", str(sweep), "--format", "csv", "--output", str(tmp_path / "epochs.csv")]) == 0
    assert (tmp_path / "epochs.csv").read_bytes().startswith(b"model,index,attempt,")
    assert main(["report", str(sweep), "--format", "svg", "--output", "-", "--metric", "loss"]) == 0
    assert b"<svg " in capfdbinary.readouterr().out


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--metric", "loss"], 2, "--metric chooses the curves of a picture; add --format svg or --format png"),
        (["--format", "html", "--metric", "loss"], 2, "--metric chooses the curves of a picture"),
        (["--format", "tensorboard", "--output", "x"], 2, "--output names a file, and event files are a directory"),
        (["--format", "html", "--output", "nowhere/x.html"], 4, "cannot write nowhere/x.html"),
        (["--format", "html", "--against", "RUN"], 2, "a comparison has no page"),
        (["--format", "svg", "--against", "RUN"], 2, "a comparison has no picture"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], status: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = [str(sweep) if option == "RUN" else option for option in options]
    assert main(["report", str(sweep), *given]) == status
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".html"] == []
