"""What a node's agent says of its GPUs: whether torch can use them, their figures, and who holds what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forge_tui.engines.base import Ended, EndKind
from forge_tui.engines.local import LocalEngine
from forge_tui.engines.ray import node_gpus
from forge_tui.engines.ray.frames import decode, encode
from forge_tui.engines.ray.node_gpus import NodeGpus, gpus_in, node_environment
from forge_tui.engines.ray.sampler import Look, Sampler
from forge_tui.protocol.job import Job
from forge_tui.resources.gpus import Gpu, GpuProcess
from forge_tui.settings.schema import from_plain

GPUS = tuple(
    Gpu(index, "Test 80", 80 << 30, 5 << 30, uuid=f"GPU-{index}", processes=(GpuProcess(70 + index, 5 << 30),))
    for index in (0, 1)
)


class Node:
    """The agent's side: an engine whose only worker answers as the test says, and figures that the test changes."""

    def __init__(self, gpus: Sequence[Gpu] = GPUS, *, visible: str | None = None, **settings: Any) -> None:
        self.asked: list[str] = []
        self.look = Look(1, 1, tuple(gpus))
        self.worker = SimpleNamespace(place=None, ended=None, kill=lambda: self.asked.append("kill"))
        environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        self.gpus = NodeGpus(
            from_plain(settings), "/runs/one", cast(LocalEngine, self), cast(Sampler, _Samples(self)), environment
        )

    def spawn(
        self, kind: str, jobs: Sequence[Job], log: str | None, on_message: Callable[..., None], on_exit: object
    ) -> Any:
        self.asked.append(kind)
        self.says = on_message
        return self.worker

    def owners(self, pids: Collection[int]) -> Mapping[int, int]:
        return {pid: 4 for pid in pids if pid == 71}

    def answers(self, *uuids: str, problem: str | None = None) -> None:
        self.says(self.worker, {"result": {"uuids": list(uuids), "problem": problem, "mps": False}})
        self.worker.ended = Ended(EndKind.EXIT, "ended with status 0")


class _Samples:
    def __init__(self, node: Node) -> None:
        self._node = node

    def now(self) -> Any:
        return SimpleNamespace(gpus=self._node.look.gpus)

    def look(self) -> Look:
        return self._node.look


def test_torch_is_asked_before_the_node_says_what_it_can_use() -> None:
    node = Node()
    assert (node.asked, node.gpus.is_known) == (["devices"], False)
    node.answers("1", "0")
    assert node.gpus.is_known
    record = node.gpus.to_record()
    assert (record["kind"], record["uuids"]) == ("cuda", ["GPU-1", "GPU-0"])
    assert [Gpu.from_record(one) for one in record["gpus"]] == list(GPUS)


@pytest.mark.parametrize(
    ("gpus", "settings", "reason"),
    [
        ((), {}, "the CPU: no GPU was found"),
        (GPUS, {"resources": {"device": "cpu"}}, "the CPU: --device cpu"),
    ],
)
def test_nothing_is_asked_where_there_is_nothing_to_choose(
    gpus: Sequence[Gpu], settings: dict[str, Any], reason: str
) -> None:
    node = Node(gpus, **settings)
    assert (node.asked, node.gpus.is_known) == ([], True)
    record = node.gpus.to_record()
    assert (record["kind"], record["uuids"], record["reason"]) == ("cpu", [], reason)


def test_for_a_command_what_the_driver_shows_counts_and_what_the_node_was_started_with() -> None:
    node = Node(run={"command": ["true"]}, visible="1")
    assert (node.asked, node.gpus.is_known) == ([], True)
    assert node.gpus.to_record()["uuids"] == ["GPU-1"]
    assert "CUDA_VISIBLE_DEVICES=1 leaves 1 of 2 visible" in node.gpus.to_record()["reason"]


def test_a_torch_that_cannot_use_them_is_the_reason() -> None:
    node = Node()
    node.answers(problem="torch 2.9.1 is built without CUDA")
    assert node.gpus.is_known
    assert node.gpus.to_record()["reason"] == "the CPU: torch cannot use the GPUs: torch 2.9.1 is built without CUDA"
    node = Node()
    node.worker.ended = Ended(EndKind.SIGNAL, "was killed by SIGSEGV")
    assert node.gpus.is_known
    assert (
        "the process that was to start CUDA was killed by SIGSEGV without an answer" in node.gpus.to_record()["reason"]
    )


def test_a_driver_that_hangs_does_not_hang_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_gpus, "ANSWER_SECONDS", -1.0)
    node = Node()
    assert not node.gpus.is_known  # torch is still imported
    node.worker.place = "here"
    assert node.gpus.is_known
    assert node.asked == ["devices", "kill"]
    assert "CUDA has not started within" in node.gpus.to_record()["reason"]


def test_figures_are_told_once_with_what_each_worker_holds() -> None:
    node = Node(run={"command": ["true"]})
    ((state, _),) = decode(encode(node.gpus.state({4: 17})))
    assert (state["sample"], state["read"], gpus_in(state)) == (1, 1, GPUS)
    assert state["held"] == {"17": {"GPU-1": 5 << 30}}
    node.look = Look(2, 1, GPUS)  # the driver does not answer
    state = node.gpus.state({4: 17})
    assert (state, gpus_in(state)) == ({"sample": 2, "read": 1}, None)
    node.look = Look(3, 3, GPUS[:1])
    state = node.gpus.state({})
    assert (gpus_in(state), state["held"]) == (GPUS[:1], {})


def test_the_environment_is_that_of_the_raylet_which_has_started_the_agent(tmp_path: Path) -> None:
    parent = tmp_path / "5"
    parent.mkdir()
    (parent / "comm").write_text("raylet\n")
    (parent / "environ").write_bytes(b"CUDA_VISIBLE_DEVICES=2,3\0PATH=/bin:/a=b\0")
    assert node_environment(tmp_path, 5) == {"CUDA_VISIBLE_DEVICES": "2,3", "PATH": "/bin:/a=b"}
    (parent / "comm").write_text("bash\n")
    assert node_environment(tmp_path, 5) is None
    assert node_environment(tmp_path, 6) is None
