"""What a worker says it costs, and what was expected of it before, against the kernel's own account."""

from __future__ import annotations

import re
import selectors
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from depth import deep
from publishing import publish_if_finished

from forge_tui.engines.local import LocalEngine, LocalWorker
from forge_tui.engines.output import Outputs
from forge_tui.protocol.job import Job
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.location import Location
from forge_tui.settings.schema import DataSettings, EngineSettings, RunSettings, Settings, TrainingConfig, to_plain

MIB = 1 << 20
FEW = {"samples": 444}  # 400 to train with: two large batches, and the peak is that of one
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "small planner": ({"model_size": 2_000}, {}),
    "large planner": ({"model_size": 8_000_000}, FEW),
    "large batch": ({"model_size": 1_000_000, "batch_size": 2_000}, {"samples": 4_000}),
    "much data": ({"model_size": 10_000, "batch_size": 1_000}, {"samples": 100_000}),
    "reasoner": ({"model_type": "reasoner", "model_size": 300_000, "batch_size": 200}, FEW),
    "memory": ({"model_type": "memory", "model_size": 1_000_000, "batch_size": 200}, FEW),
    "momentum": ({"model_size": 4_000_000, "optimizer": "sgd", "momentum": 0.9, "grokfast_enabled": True}, FEW),
    "averaged weights": ({"model_size": 4_000_000, "weights_average": 0.9}, FEW),
}

DEEPER = ("large batch", "much data", "reasoner", "momentum")


class Watched:
    """Starts workers and keeps what they told, and what the kernel said of them whenever they told something."""

    def __init__(self, engine: LocalEngine, selector: selectors.BaseSelector, logs: Path) -> None:
        self._engine, self._selector, self._logs = engine, selector, logs

    def run(self, kind: str, jobs: Sequence[Job], *commands: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """A worker's messages, and the most of its pages that were its own (bytes); it is sent `commands` at once."""
        messages: list[dict[str, Any]] = []
        own = [0]
        ended: list[LocalWorker] = []

        def on_message(worker: LocalWorker, message: dict[str, Any]) -> None:
            messages.append(message)
            own.append(private_bytes(worker.pid))
            publish_if_finished(worker, message)

        started = self._engine.spawn(kind, jobs, kind, on_message, ended.append)
        for command in commands:
            started.send(command)
        while not ended:
            for key, _ in self._selector.select(0.005):  # often: the making of the data is a short peak
                key.data()
            own.append(private_bytes(started.pid))
            self._engine.tick()
        assert ended[0].status == 0, (self._logs / f"{kind}.log").read_text(encoding="utf-8")
        return messages, max(own)


def private_bytes(pid: int | None) -> int:
    """Pages of a process that nobody else has; 0 once it has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return 1024 * sum(map(int, re.findall(r"^Private_(?:Clean|Dirty): *(\d+)", text, re.MULTILINE)))


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    base = tmp_path_factory.mktemp("logs")
    (base / "logs").mkdir()
    with (
        selectors.DefaultSelector() as selector,
        closing(Location(base)) as place,
        closing(Outputs(place.fileno(), 1 << 20)) as outputs,
        closing(LocalEngine(selector, None, 0, outputs)) as engine,
    ):
        yield Watched(engine, selector, base / "logs")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this kernel does not tell what is private")
@pytest.mark.parametrize(
    ("case", "fuse"), [*(deep(case, 1) if case in DEEPER else (case, 1) for case in CASES), ("reasoner", 4)]
)
def test_measured_cost_is_right_and_the_estimate_within_reason(
    case: str, fuse: int, workers: Watched, tmp_path: Path
) -> None:
    training, data = CASES[case]
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    settings = Settings(
        training=TrainingConfig(epochs=3, checkpoint_interval=1, training_mode="parallel", **training),
        data=DataSettings(**data),
        run=RunSettings(output=str(directory.path), models=fuse),
        engine=EngineSettings(fuse=fuse),
    )
    jobs = [
        Job(
            run="run", directory=str(directory.path), working_directory=str(tmp_path), model=f"cognate_{index}",
            index=index, attempt=1, seed=index, settings=to_plain(settings), threads=1, device="cpu",
        )
        for index in range(1, fuse + 1)
    ]  # fmt: skip
    question = {"command": "inspect", "combinations": [{}], "together": fuse, "rehearsal": None, "check": False}
    messages, _own = workers.run("inspect", jobs[:1], question, {"command": "stop"})
    (found,) = [message for message in messages if "result" in message]
    estimated = found["result"]["inspections"][0]["worker_bytes"]
    messages, own = workers.run("train", jobs)
    told = max(message["memory"] for message in messages if "memory" in message)
    print(f"{case}: estimated {estimated / MIB:.0f}, told {told / MIB:.0f}, own at most {own / MIB:.0f} MiB")
    # A peak, such as the making of the data, lies between two looks at the kernel's account.
    assert own <= 1.1 * told
    assert told <= 1.6 * own + 24 * MIB
    assert 0.8 * told <= estimated <= 2.0 * told + 64 * MIB
