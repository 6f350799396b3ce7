"""What TensorBoard itself reads: its Python reader, and its server with either of its two readers."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from growing_runs import GrowingRun
from run_directories import RunMaker
from running import begin, forge, wait_until
from told_story import Arrived, expected, exporting, tell

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")


@contextlib.contextmanager
def server(logs: Path, fast: bool) -> Iterator[str]:
    """A TensorBoard on a free port of this machine, with its Rust reader (`fast`) or its Python one."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--port", "0", "--host", "127.0.0.1",
            "--load_fast", str(fast).lower(), "--reload_interval", "1",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        else:
            pytest.fail(said)
        yield found[0]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def ask(address: str, **values: str) -> Any:
    """The server's answer, None while it has none."""
    page, values = values.pop("page"), values
    with contextlib.suppress(urllib.error.HTTPError):
        url = f"{address}data/plugin/scalars/{page}?{urllib.parse.urlencode(values)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.loads(answer.read())
    return None


def served(address: str) -> Arrived:
    """All scalars that a server draws."""
    return {
        run: {
            tag: [(step, float(value)) for _, step, value in ask(address, page="scalars", run=run, tag=tag)]
            for tag in tags
        }
        for run, tags in ask(address, page="tags").items()
    }


def accumulated(logs: Path) -> Arrived:
    """All scalars, by TensorBoard's own accumulator."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Arrived = {}
    for directory in filter(Path.is_dir, sorted(logs.iterdir())):
        reader = EventAccumulator(str(directory), size_guidance={"scalars": 0})
        reader.Reload()
        found[directory.name] = {
            tag: [(one.step, one.value) for one in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]
        }
    return found


def same(found: Arrived, run: GrowingRun) -> bool:
    """Whether names, steps and values are those of the run, in 32 bits."""
    wanted = expected(run)
    wanted["cognate_planner_1"]["test/loss"] = [(4, 0.125)]
    for tags in found.values():
        tags.pop("steps_per_second", None)
    return found.keys() == wanted.keys() and all(
        found[model].keys() == wanted[model].keys()
        and all(
            [step for step, _ in found[model][tag]] == [step for step, _ in values]
            and [value for _, value in found[model][tag]]
            == pytest.approx([value for _, value in values], rel=1e-6, nan_ok=True)
            for tag, values in wanted[model].items()
        )
        for model in wanted
    )


def test_its_readers_draw_the_run_that_was_told(maker: RunMaker, tmp_path: Path) -> None:
    run = tell(maker, exporting("tensorboard", tmp_path))
    logs = tmp_path / "growing-tensorboard"
    assert same(accumulated(logs), run), accumulated(logs)
    for fast in (False, True):
        with server(logs, fast) as address:
            wait_until(lambda address=address: len(ask(address, page="tags") or ()) == 2, "both models")
            wait_until(lambda address=address: same(served(address), run), f"{served(address)}")


@pytest.mark.parametrize("fast", [False, True], ids=["python reader", "rust reader"])
def test_a_server_that_watches_draws_each_export(maker: RunMaker, tmp_path: Path, fast: bool) -> None:
    run, logs = GrowingRun(maker, models=1), tmp_path / "growing-tensorboard"
    run.train(1, [1])
    export = exporting("tensorboard", tmp_path)
    export(run)
    with server(logs, fast) as address:
        for epochs, shift in (((2, 3), 0.0), ((2, 3, 4), 0.0), ((2,), 0.5), ((3, 4, 5), 0.5)):
            run.train(1, epochs, shift=shift)
            export(run)
            wanted = [(epoch.epoch, epoch.loss) for epoch in run.expected()["cognate_planner_1"]]
            if shift == 0.0 and epochs == (2, 3, 4):
                assert [epoch for epoch, _ in wanted] == [1, 2, 3, 4]

            def drawn() -> list[tuple[int, float]]:
                return served(address).get("cognate_planner_1", {}).get("loss", [])

            wait_until(
                lambda wanted=wanted, drawn=drawn: (
                    [step for step, _ in drawn()] == [step for step, _ in wanted]
                    and [value for _, value in drawn()] == pytest.approx([value for _, value in wanted], rel=1e-6)
                ),
                f"{wanted}",
            )


def test_settings_are_read_by_its_hparams_plugin(maker: RunMaker, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    tell(maker, exporting("tensorboard", tmp_path))
    reader = EventAccumulator(str(tmp_path / "growing-tensorboard" / "cognate_planner_1"))
    reader.Reload()
    content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    begun = plugin_data_pb2.HParamsPluginData.FromString(content)
    found = begun.session_start_info.hparams
    assert begun.session_start_info.group_name == "cognate_planner_1"
    assert found["seed"].number_value == 42
    assert found["learning_rate"].number_value == 0.001
    assert found["grokfast_enabled"].bool_value is True
    assert found["layers"].string_value == "[64, 64]"
    content = reader.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info.status == 1


def test_its_hparams_dashboard_has_a_row_for_each_model(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker)
    for index in (1, 2):
        run.train(index, [1])
    exporting("tensorboard", tmp_path)(run)
    with server(tmp_path / "growing-tensorboard", fast=True) as address:
        asked = {"allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS"], "startIndex": 0, "sliceSize": 10}

        def rows() -> dict[str, dict[str, Any]]:
            request = urllib.request.Request(
                f"{address}data/plugin/hparams/session_groups", json.dumps(asked).encode(),
                {"Content-Type": "application/json"},
            )  # fmt: skip
            with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=30) as answer:
                found = json.loads(answer.read())["sessionGroups"]
                return {row["name"]: row["hparams"] for row in found}
            return {}

        wait_until(lambda: len(rows()) == 2, f"{rows()}")
        assert {name: settings["seed"] for name, settings in rows().items()} == {
            "cognate_planner_1": 42.0, "cognate_planner_2": 43.0,
        }  # fmt: skip


def test_an_epoch_is_in_the_files_while_the_run_is_followed(maker: RunMaker, tmp_path: Path) -> None:
    run = GrowingRun(maker, models=1)
    run.train(1, [1])
    following = begin("export", run.path, "--to", "tensorboard", "--follow", cwd=tmp_path)
    logs = tmp_path / "growing-tensorboard"

    def steps() -> list[int]:
        found = accumulated(logs) if logs.is_dir() else {}
        return [step for step, _ in found.get("cognate_planner_1", {}).get("loss", [])]

    for epoch in (2, 3, 4):
        wait_until(lambda epoch=epoch: steps() == [*range(1, epoch)], f"epoch {epoch - 1}")
        run.train(1, [epoch])
    run.end()
    out, err = following.communicate(timeout=60)
    assert following.returncode == 0, err
    assert out == f"{logs}\n"
    assert "4 epochs written" in err
    assert steps() == [1, 2, 3, 4]


def test_a_real_run_that_was_stopped_and_resumed(tmp_path: Path) -> None:
    small = ("--model-size", "2000", "--policy", "dedicated", "--threads", "1", "--fuse", "1", "--samples", "100")
    forge("--no-ui", *small, "--models", "1", "--epochs", "2", "--output", "run", cwd=tmp_path)
    forge("export", "run", "--to", "tensorboard", cwd=tmp_path)
    forge("resume", "run", "--no-ui", "--epochs", "4", cwd=tmp_path)
    forge("export", "run", "--to", "tensorboard", cwd=tmp_path)
    ((_, tags),) = accumulated(tmp_path / "run-tensorboard").items()
    assert [step for step, _ in tags["loss"]] == [1, 2, 3, 4]
    assert all(math.isfinite(value) for _, value in tags["loss"])
