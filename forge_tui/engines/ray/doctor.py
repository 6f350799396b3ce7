"""What `forge-tui doctor --engine ray` shows: the nodes of a cluster, and what each of them allows."""

from __future__ import annotations

import contextlib
import selectors
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from forge_tui.engines.local import LocalEngine
from forge_tui.engines.output import Outputs
from forge_tui.engines.ray.engine import RayEngine
from forge_tui.resources.doctor import gpu_rows
from forge_tui.runs.layout import RunDirectory
from forge_tui.settings.engine import require_engine
from forge_tui.settings.schema import EngineSettings, ResourceSettings, Settings

_INDENT = 19


def cluster_report(address: str | None, *, trust: bool) -> list[dict[str, Any]]:
    """The nodes of the cluster at `address`, or of one that is started here and ended again.

    Raises `ForgeError` if it cannot be used.
    """
    engine = EngineSettings(name="ray", address=address, trust_cluster=trust)
    settings = Settings(engine=engine, resources=ResourceSettings(policy="dedicated"))
    require_engine(settings)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-doctor-")))
        selector = stack.enter_context(selectors.DefaultSelector())
        outputs = stack.enter_context(contextlib.closing(Outputs(None, 0)))
        local = LocalEngine(selector, None, 0, outputs)
        cluster = RayEngine(selector, local, outputs, settings, RunDirectory(place), nice=0)
        stack.callback(cluster.close)
        cluster.nodes()
        return cluster.report()


def cluster_text(nodes: Sequence[dict[str, Any]], width: int = 80) -> str:
    """The nodes as a section of the report."""
    rows = [
        textwrap.fill(
            text, width, initial_indent=f"  {label:<{_INDENT - 3}} ", subsequent_indent=" " * _INDENT,
            break_on_hyphens=False,
        )
        for label, text in _rows(nodes)
    ]  # fmt: skip
    return "\n".join(["Ray cluster", *rows]) + "\n"


def _rows(nodes: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    workers = sum(node["workers"] for node in nodes)
    yield "nodes", f"{len(nodes)}, which take up to {workers} worker{'' if workers == 1 else 's'} together"
    for node in nodes:
        if node["refused"] is not None:
            yield node["name"], f"not used: {node['refused']}"
            continue
        gpus = f", {node['ray_gpus']:g} GPU{'s' * (node['ray_gpus'] != 1)}" if node["ray_gpus"] else ""
        yield (
            node["name"],
            f"up to {node['workers']} at once. Ray has {node['ray_cpus']:g} CPUs{gpus} and "
            f"{node['ray_memory_gb']:.1f} GiB there; {node['available_memory_gb']:.1f} of {node['memory_gb']:.1f} GiB "
            f"available, {node['cpus']} CPUs",
        )
        yield from _gpus(node)


def _gpus(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The GPUs of a node, and why models are not trained on them."""
    for label, text in gpu_rows(node["gpus"]):
        yield f"  {label}", text
    devices = node["devices"]
    if devices["problem"] is not None:
        yield "  GPUs not used", devices["problem"]
