"""Metrics of runs for Prometheus: text, a file, and a port of this machine; read by Prometheus itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from growing_runs import GrowingRun
from measured import remeasured, snapshot_of
from run_directories import RunMaker
from running import begin, forge, wait_until

from forge_tui.exporters.prometheus import Overview, metrics_text
from forge_tui.protocol.phases import RunState, TrainingPhase

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
_SAMPLE = re.compile(r'(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")


def read(text: str) -> Series:
    """Series by name and labels. Fails if one is there twice, or a line is of another form."""
    found: Series = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        sample = _SAMPLE.fullmatch(line)
        assert sample is not None, line
        key = (sample[1], frozenset(_LABEL.findall(sample[2] or "")))
        assert key not in found
        found[key] = float(sample[3])
    return found


def value(series: Series, name: str, **labels: str) -> float:
    return series[name, frozenset(labels.items())]


def story(maker: RunMaker) -> None:
    """A live run, one that failed, and one that died."""
    maker.make(
        "sweep", RunState.RUNNING,
        [maker.model(1, epoch=40), maker.model(2, TrainingPhase.TRAINING, epoch=12, diverged=True, loss=None),
         maker.model(3, TrainingPhase.QUEUED)],
    )  # fmt: skip
    maker.make("broken", RunState.FAILED, [maker.failed(1)], ago=50.0)
    maker.make("gone", RunState.DIED, [maker.model(1, TrainingPhase.TRAINING, epoch=3)], ago=9_000.0)


def test_states_phases_workers_and_losses(maker: RunMaker) -> None:
    story(maker)
    forge("label", "broken", "--name", "night")
    series = read(forge("prometheus").stdout)
    (about,) = (dict(labels) for name, labels in series if name == "forge_run_info" and ("run", "broken") in labels)
    assert (about["name"], about["model_type"], about["host"]) == ("night", "planner", "gpu7")
    for run, state in (("sweep", "running"), ("broken", "failed"), ("gone", "died")):
        states = {one: value(series, "forge_run_state", run=run, state=one) for one in RunState}
        assert [one for one, on in states.items() if on == 1.0] == [state]
        assert sum(states.values()) == 1.0
    assert value(series, "forge_run_models", run="sweep", phase="training") == 1
    assert value(series, "forge_run_models", run="sweep", phase="failed") == 0
    assert value(series, "forge_run_failed_attempts_total", run="broken") == 2
    assert (value(series, "forge_workers", run="sweep"), value(series, "forge_workers_requested", run="sweep")) == (
        2,
        6,
    )
    assert value(series, "forge_run_progress_ratio", run="sweep") == pytest.approx((1.0 + 0.12) / 3)
    assert value(series, "forge_run_heartbeat_age_seconds", run="gone") >= 0
    assert ("forge_run_heartbeat_age_seconds", frozenset({("run", "broken")})) not in series
    assert value(series, "forge_model_epoch", run="sweep", model="cognate_planner_2") == 12
    assert math.isnan(value(series, "forge_model_loss", run="sweep", model="cognate_planner_2"))
    assert value(series, "forge_runs") == 3


def test_the_number_of_series_is_bounded(maker: RunMaker) -> None:
    models = [maker.model(index, TrainingPhase.QUEUED) for index in range(1, 40)]
    models.append(maker.model(40, TrainingPhase.TRAINING, epoch=1))
    maker.make("large", RunState.RUNNING, models)
    for number in range(5):
        maker.make(f"old-{number}", ago=100_000.0 - number, count=1)
    series = read(forge("prometheus", "--models", "3", "--runs", "2").stdout)
    shown = {dict(labels)["model"] for name, labels in series if name == "forge_model_epoch"}
    assert shown == {"cognate_planner_1", "cognate_planner_2", "cognate_planner_40"}  # the active one first
    assert value(series, "forge_run_models_without_series", run="large") == 37
    runs = {dict(labels)["run"] for name, labels in series if name == "forge_run_state"}
    assert runs == {"large", "old-4"}
    assert (value(series, "forge_runs"), value(series, "forge_runs_left_out")) == (2, 4)


def test_runs_that_are_named_are_shown_alone(maker: RunMaker) -> None:
    story(maker)
    series = read(forge("prometheus", "broken").stdout)
    assert {dict(labels)["run"] for name, labels in series if name == "forge_run_state"} == {"broken"}
    assert forge("prometheus", "nothing", status=2).stdout == ""


def test_runs_of_one_id_are_told_apart_and_labels_escaped() -> None:
    one = snapshot_of([], run='a"b\\c\nd')
    text = metrics_text(Overview([('a"b\\c\nd', one)]), 1)
    assert 'forge_run_state{run="a\\"b\\\\c\\nd",state="running"} 1.0' in text
    read(text)


def test_runs_in_two_places_have_the_same_id(maker: RunMaker, tmp_path: Path) -> None:
    first, second = maker.make("a/run", run="run"), maker.make("b/run", run="run")
    series = read(forge("prometheus").stdout)
    assert {dict(labels)["run"] for name, labels in series if name == "forge_run_state"} == {str(first), str(second)}


def test_infinite_and_unknown_values(maker: RunMaker) -> None:
    model = remeasured(maker.model(1, epoch=3), loss=math.inf, validation_loss=None)
    text = metrics_text(Overview([("r", snapshot_of([model]))]), 1)
    assert 'forge_model_loss{run="r",model="cognate_planner_1"} +Inf' in text
    assert "forge_model_validation_loss" not in text


def test_the_text_file_is_replaced_as_a_whole(maker: RunMaker, tmp_path: Path) -> None:
    story(maker)
    path = tmp_path / "forge.prom"
    path.write_text("older")
    held = path.open()
    assert forge("prometheus", "--textfile", path).stdout == ""
    assert held.read() == "older"  # whoever reads it now reads the old one
    held.close()
    assert value(read(path.read_text()), "forge_runs") == 3
    assert path.stat().st_mode & 0o777 == 0o644
    assert [item.name for item in tmp_path.iterdir() if item.name != "runs"] == ["forge.prom"]
    done = forge("prometheus", "--textfile", tmp_path / "forge.txt", status=2)
    assert "node_exporter reads only files whose names end in .prom" in done.stderr


@contextlib.contextmanager
def listening(*arguments: str) -> Iterator[str]:
    """`forge-tui prometheus --listen 0`; its address. It must end well."""
    process = begin("prometheus", "--listen", "0", *arguments)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", address), process.communicate()
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_a_port_is_answered_with_what_is_true_now(maker: RunMaker) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    with listening() as address:
        for epoch in (1, 2):
            with urllib.request.urlopen(address) as answer:
                assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                series = read(answer.read().decode())
            assert value(series, "forge_model_epoch", run="growing", model="cognate_planner_1") == epoch
            run.train(1, [epoch + 1])


def test_another_name_of_this_machine_and_another_path_are_refused(maker: RunMaker) -> None:
    with listening() as address:
        port = int(address.split(":")[2].split("/")[0])
        for host, path, status in (
            ("evil.example", "/metrics", 403), ("localhost:1", "/metrics", 200), ("127.0.0.1", "/runs", 404),
        ):  # fmt: skip
            asking = http.client.HTTPConnection("127.0.0.1", port)
            asking.request("GET", path, headers={"Host": host})
            assert asking.getresponse().status == status
            asking.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "70000"), "--listen 70000: must be from 0 to 65535"),
        (("--runs", "0"), "--runs 0: must be at least 1"),
        (("--models", "-1"), "--models -1: must be at least 0"),
        (("--listen", "0", "--textfile", "x.prom"), "not allowed with argument"),
    ],
)
def test_values_that_mean_nothing_are_refused(arguments: tuple[str, ...], words: str) -> None:
    assert words in forge("prometheus", *arguments, status=2).stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say(maker: RunMaker) -> None:
    story(maker)
    text = forge("prometheus").stdout
    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed")
def test_prometheus_scrapes_the_port(maker: RunMaker, tmp_path: Path) -> None:
    story(maker)
    with listening() as address:
        target = address.removeprefix("http://").removesuffix("/metrics")
        (tmp_path / "prometheus.yml").write_text(
            "scrape_configs:\n"
            "  - job_name: forge\n    scrape_interval: 1s\n    scrape_timeout: 1s\n"
            f"    static_configs:\n      - targets: ['{target}']\n"
        )
        with prometheus(tmp_path) as server:
            wait_until(lambda: asked(server, 'up{job="forge"} == 1'), "a scrape")
            wait_until(lambda: asked(server, 'forge_run_state{state="running"} == 1'), "the state")
            (found,) = asked(server, 'forge_run_state{state="running"} == 1')
            assert found["metric"]["run"] == "sweep"
            losses = asked(server, 'forge_model_loss{run="broken"}')
            series = read(forge("prometheus").stdout)
            assert [float(one["value"][1]) for one in losses] == [
                value(series, "forge_model_loss", run="broken", model="cognate_planner_1")
            ]
            (count,) = asked(server, 'count({__name__=~"forge_.*"})')
            assert int(count["value"][1]) == len(series)


@contextlib.contextmanager
def prometheus(here: Path) -> Iterator[str]:
    """A Prometheus on a free port, with `prometheus.yml` of that directory; the address of its API."""
    log = here / "prometheus.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                str(PROMETHEUS), f"--config.file={here / 'prometheus.yml'}", f"--storage.tsdb.path={here / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        found = wait_until(
            lambda: re.search(r"Listening on\"? address=(127\.0\.0\.1:\d+)", log.read_text()), "its port"
        )
        yield f"http://{found[1]}"
    finally:
        process.terminate()
        process.wait()


def asked(server: str, query: str) -> list[dict[str, Any]]:
    """The result of a query; empty while it is not ready."""
    url = f"{server}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    found: list[dict[str, Any]] = []
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=30) as answer:
        found = json.loads(answer.read())["data"]["result"]
    return found
