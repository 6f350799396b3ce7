"""A node agent in this process, with a real fork server: what it does for a runner, and without one."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import wait_until

from forge_tui.engines.ray import agent as agents
from forge_tui.engines.ray.agent import NodeAgent
from forge_tui.engines.ray.facts import facts_here
from forge_tui.engines.ray.frames import Message, decode, encode
from forge_tui.engines.ray.marker import Marker
from forge_tui.engines.ray.shipping import Shipping
from forge_tui.protocol.job import Job
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import Settings, from_plain, to_plain


class Runner:
    """The runner's side of one agent, which it calls as Ray does."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = RunDirectory(directory)
        self.directory.create()
        self.directory.database.touch()
        self.is_alive = True
        self.agent = NodeAgent()
        self.heard: list[tuple[Message, bytes]] = []
        self.marker = Marker(directory)
        self.setup: Message = {
            "do": "setup", "settings": to_plain(settings), "directory": str(directory), "marker": self.marker.name,
            "mark": self.marker.text, "nice": 0, "environment": {}, "data": [],
        }  # fmt: skip

    def tell(self, **message: Any) -> None:
        self.agent.tell(encode(message))

    def says(self, kind: str, **values: Any) -> list[Message]:
        """What the agent has said of a kind so far, after listening once more."""
        if self.is_alive:
            self.tell(do="alive", cpus=1, memory=None, gpus=0)
        self.heard += decode(self.agent.listen())
        return [
            message
            for message, _ in self.heard
            if message["a"] == kind and all(message.get(name) == value for name, value in values.items())
        ]

    def until(self, kind: str, **values: Any) -> Message:
        """Its next message of a kind."""
        found: list[Message] = wait_until(lambda: self.says(kind, **values), f"the agent says {kind} {values}")
        return found[-1]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [message["m"] for message in self.says("says") if message["m"].get("event") == kind]


@pytest.fixture
def runner(tmp_path: Path, make_job: Callable[..., Job]) -> Iterator[Runner]:
    settings = from_plain(make_job().settings)
    found = Runner(tmp_path / "run", settings)
    yield found
    if found.agent._thread is not None:
        found.tell(do="dismiss")
        found.agent._thread.join(60.0)
        assert not found.agent._thread.is_alive()


@pytest.fixture
def job(runner: Runner, make_job: Callable[..., Job]) -> Job:
    return make_job("run", training={"epochs": 3, "checkpoint_interval": 1, "model_size": 2_000})


def spawn(runner: Runner, job: Job, **changes: Any) -> None:
    message = {
        "do": "spawn", "w": 1, "jobs": [job.to_record()], "ahead": False, "exact": True, "devices": [],
        "manifest": None,
    }  # fmt: skip
    runner.tell(**{**message, **changes})


def test_it_says_what_its_node_is_and_sees(runner: Runner, tmp_path: Path) -> None:
    runner.setup["data"] = [str(tmp_path), str(tmp_path / "none.csv")]
    runner.tell(**runner.setup)
    hello = runner.until("hello")
    assert hello["facts"] == facts_here()
    assert (hello["is_shared"], hello["missing"]) == (True, [str(tmp_path / "none.csv")])
    assert hello["limit"]["workers"] >= 1


@pytest.mark.parametrize("change", ["another text", "no file"])
def test_another_directory_at_the_same_path_is_not_the_runs(runner: Runner, change: str) -> None:
    place = runner.directory.path / runner.marker.name
    if change == "no file":
        place.unlink()
    else:
        place.write_text("0" * 32)
    runner.tell(**runner.setup)
    assert runner.until("hello")["is_shared"] is False


def test_a_worker_trains_in_the_shared_directory(runner: Runner, job: Job) -> None:
    runner.tell(**runner.setup)
    spawn(runner, job)
    result = wait_until(lambda: [one for one in runner.says("says") if "result" in one["m"]], "it is finished")
    assert runner.says("placed", w=1)
    assert [event["epoch"] for event in runner.events("epoch_finished")] == [1, 2, 3]
    stem = runner.directory.checkpoint_directory(job.model)
    assert (stem / f"result-attempt-{job.attempt}.safetensors").exists()
    answer = {"command": "published", "index": result[0]["m"]["result"], "refused": None, "errno": None}
    runner.tell(do="send", w=1, m=answer)
    end = runner.until("ended", w=1)
    assert (end["kind"], end["words"]) == ("exit", "ended with status 0")


def test_commands_come_in_their_order(runner: Runner, job: Job) -> None:
    runner.tell(**runner.setup)
    spawn(runner, job)
    for command in ("pause", "continue", "stop"):
        runner.tell(do="send", w=1, m={"command": command})
    runner.until("ended", w=1)
    assert [one["m"] for one in runner.says("says") if "outcome" in one["m"]] == [{"outcome": "stopped"}]


def test_its_workers_end_when_it_hears_nothing_from_the_runner(
    runner: Runner, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "SILENT_SECONDS", 1.0)
    runner.tell(**runner.setup)
    runner.is_alive = False
    endless = {**job.settings, "training": {**job.settings["training"], "epochs": 1_000_000}}
    spawn(runner, Job.from_record({**job.to_record(), "settings": endless}))
    end = runner.until("ended", w=1)
    assert end["kind"] == "node_lost"
    assert "had heard nothing" in end["words"]


def test_what_a_worker_prints_comes_before_its_end(runner: Runner, job: Job) -> None:
    runner.tell(**runner.setup)
    broken = {**job.settings, "training": {**job.settings["training"], "dataset": "/nowhere.csv"}}
    spawn(runner, Job.from_record({**job.to_record(), "settings": broken}))
    runner.until("ended", w=1)
    kinds = [message["a"] for message, _ in runner.heard if message["a"] in ("output", "ended")]
    assert kinds[-1] == "ended"
    said = b"".join(data for message, data in runner.heard if message["a"] == "output")
    assert b"DataError" in said


def test_where_the_directory_is_not_shared_files_are_fetched_and_sent_back(
    runner: Runner, job: Job, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{number},{number % 7},{number % 2}\n" for number in range(300)))
    settings = {**job.settings, "training": {**job.settings["training"], "dataset": str(table)}}
    settings["data"] = {**settings["data"], "target": "y"}
    job = Job.from_record({**job.to_record(), "settings": settings})
    shipping = Shipping(runner.directory.path, keep=2)
    (runner.directory.path / runner.marker.name).unlink()
    runner.tell(**runner.setup)
    spawn(runner, job, manifest=shipping.manifest([job], [str(table)]))
    done = 0

    def serve() -> bool:
        """As the engine does."""
        nonlocal done
        is_over = bool(runner.says("ended", w=1))
        for message, data in runner.heard[done:]:
            if message["a"] == "want":
                piece, is_last = shipping.piece(message["path"], message["offset"], is_data=message["is_data"])
                answer = {"do": "piece", "w": 1, "path": message["path"], "last": is_last}
                runner.agent.tell(encode(answer, piece))
            elif message["a"] == "file":
                shipping.take(1, [job], message, data)
                then = message.get("then", {})
                if "kept" in then:
                    shipping.prune(job.model, then["kept"], job.attempt, at_the_end=False)
                if "result" in then.get("m", {}):
                    published = {"command": "published", "index": job.index, "refused": None, "errno": None}
                    runner.tell(do="send", w=1, m=published)
        done = len(runner.heard)
        return is_over

    wait_until(serve, "the worker has ended")
    kept = runner.says("ended")[0]["kept"][job.model]
    shipping.prune(job.model, kept, job.attempt, at_the_end=True)
    place = runner.directory.checkpoint_directory(job.model)
    assert sorted(path.name for path in place.iterdir() if path.name.startswith("step-")) == kept
    assert len(kept) == 1  # of a finished model
    record = json.loads((place / f"result-attempt-{job.attempt}.json").read_text())
    assert record["settings"]["training"]["dataset"] == str(table)
    assert record["data"]["sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    saved = [message["then"]["m"]["path"] for message, _ in runner.heard if message.get("then", {}).get("kept")]
    assert all(path.startswith(f"{place}/") for path in saved)
    assert list(place.glob(".*")) == []


def test_a_file_that_changes_while_it_is_sent_starts_no_worker(runner: Runner, job: Job, tmp_path: Path) -> None:
    runner.tell(**runner.setup)
    files = [{"path": str(tmp_path / "t.csv"), "sha256": "0" * 64, "is_data": True}]
    spawn(runner, job, manifest={"files": files, "data": {str(tmp_path / "t.csv"): "0" * 64}})
    want = runner.until("want", w=1)
    runner.agent.tell(encode({"do": "piece", "w": 1, "path": want["path"], "last": True}, b"other"))
    end = runner.until("ended", w=1)
    assert (end["kind"], "was changed meanwhile" in end["words"]) == ("exit", True)


def test_a_worker_that_is_ended_while_its_files_are_fetched_never_runs(
    runner: Runner, job: Job, tmp_path: Path
) -> None:
    runner.tell(**runner.setup)
    content = b"data"
    digest = hashlib.sha256(content).hexdigest()
    files = [{"path": str(tmp_path / "t.csv"), "sha256": digest, "is_data": True}]
    spawn(runner, job, manifest={"files": files, "data": {}})
    want = runner.until("want", w=1)
    runner.tell(do="kill", w=1)
    runner.agent.tell(encode({"do": "piece", "w": 1, "path": want["path"], "last": True}, content))
    assert runner.until("ended", w=1)["kind"] == "not_placed"
    assert runner.says("placed") == []


def test_what_it_cannot_do_it_says(runner: Runner) -> None:
    with contextlib.suppress(KeyError):
        del runner.setup["settings"]
    runner.tell(**runner.setup)
    assert "its agent failed (KeyError: 'settings')" in runner.until("broken")["why"]
