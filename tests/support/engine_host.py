"""The runner's side of the Ray engine, on a scripted cluster: what its workers said, and how they ended."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fake_cluster import FakeCluster

from forge_tui.engines.base import Ended, WorkerHandle
from forge_tui.engines.local import LocalEngine
from forge_tui.engines.output import Outputs
from forge_tui.engines.ray.engine import RayEngine
from forge_tui.protocol.job import Job
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.schema import Settings, from_plain, to_plain


class EngineHost:
    """An engine without a scheduler."""

    def __init__(self, stack: contextlib.ExitStack, base: Path, cluster: FakeCluster, **engine: Any) -> None:
        self.base, self.cluster, self.now = base, cluster, 0.0
        plain = to_plain(Settings())
        plain["engine"] |= {"name": "ray", **engine.pop("engine", {})}
        plain["run"] |= engine.pop("run", {})
        plain["resources"] |= {"policy": "dedicated", **engine.pop("resources", {})}
        self.settings = from_plain(plain)
        selector = stack.enter_context(selectors.DefaultSelector())
        self.outputs = stack.enter_context(contextlib.closing(Outputs(None, 0)))
        inspecting = LocalEngine(selector, None, 0, self.outputs)
        self.engine = RayEngine(
            selector, inspecting, self.outputs, self.settings, RunDirectory(base), nice=0,
            open_link=cluster.open, monotonic=lambda: self.now,
        )  # fmt: skip
        stack.callback(self.engine.close)
        self.problems: list[str] = []
        self.engine.on_problem = self.problems.append
        self.messages: list[tuple[int, dict[str, Any]]] = []
        self.ended: list[tuple[int, Ended | None]] = []

    def spawn(self, *indexes: int, threads: int = 1, device: str = "cpu", devices: Sequence[str] = ()) -> WorkerHandle:
        jobs = [
            Job(
                run="run", directory=str(self.base), working_directory=str(self.base), model=f"planner_{index}",
                index=index, attempt=1, seed=1, settings={}, threads=threads, device=device,
            )
            for index in indexes or (1,)
        ]  # fmt: skip
        return self.engine.spawn("train", jobs, jobs[0].model, self._on_message, self._on_exit, devices=devices)

    def _on_message(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        self.messages.append((worker.id, message))

    def _on_exit(self, worker: WorkerHandle) -> None:
        self.ended.append((worker.id, worker.ended))

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.engine.tick()
