"""What `doctor --engine ray` shows of nodes and their GPUs."""

from __future__ import annotations

from typing import Any

from engine_host import EngineHost

from forge_tui.engines.ray.doctor import cluster_text
from forge_tui.resources.gpu_users import GpuUser, SeenGpu
from forge_tui.resources.gpus import Gpu

CARD = Gpu(0, "Test 80", 80 << 30, 8 << 30, 30.0, uuid="GPU-5f2a6c1e")
SEEN = SeenGpu(CARD, (GpuUser(7, 1 << 30, "bob"),)).to_record()


def shown(host: EngineHost) -> str:
    host.engine.nodes()
    return " ".join(cluster_text(host.engine.report()).split())


def test_each_nodes_gpus_are_shown_with_who_is_on_them(on: Any) -> None:
    host = on("a", "b", gpus={"a": (CARD,)})
    host.cluster.hellos["a"] = {"seen": [SEEN]}
    text = shown(host)
    assert "Ray has 8 CPUs, 1 GPU and 64.0 GiB there" in text
    assert "GPU 0 Test 80 (GPU-5f2a6c1e), 8.0 of 80.0 GiB in use, 30 % busy; bob: 1 process" in text
    assert "GPUs not used" not in text
    (a, b) = host.engine.report()
    assert (a["devices"], a["gpus"]) == ({"kind": "cuda", "uuids": ["GPU-5f2a6c1e"], "problem": None}, [SEEN])
    assert (b["devices"], b["gpus"]) == ({"kind": "cpu", "uuids": [], "problem": None}, [])


def test_gpus_on_which_no_model_can_be_trained_are_shown_with_the_reason(on: Any) -> None:
    host = on("a", gpus={"a": (CARD,)})
    host.cluster.nodes["a"].resources["GPU"] = 0.0
    host.cluster.hellos["a"] = {"seen": [SEEN]}
    assert "GPUs not used Ray has none of its GPUs there (`ray start --num-gpus`)" in shown(host)
