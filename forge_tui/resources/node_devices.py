"""Which GPUs of a cluster's nodes a run may use. Pure: what each node has said goes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forge_tui.errors import UsageError
from forge_tui.resources.devices import CPU, CUDA, DeviceChoice
from forge_tui.resources.gpus import Gpu
from forge_tui.safe_io.printing import escaped

_LISTED = 8


@dataclass(frozen=True, slots=True)
class NodeDevices:
    """A node's GPUs. `choice`: what `auto` chooses there, and why; `given`: how many GPUs it has given to Ray."""

    name: str
    gpus: tuple[Gpu, ...]
    choice: DeviceChoice
    given: int

    @classmethod
    def from_record(cls, name: str, record: dict[str, Any], given: int) -> NodeDevices:
        """From what the node's agent said (`to_record` of the parts)."""
        choice = DeviceChoice(record["kind"], tuple(record["uuids"]), record["reason"])
        return cls(name, tuple(Gpu.from_record(one) for one in record["gpus"]), choice, given)

    def usable(self, per_model: int) -> tuple[str, ...]:
        """The GPUs, by UUID, that workers with `per_model` of them may get; none if there are too few for one."""
        found = self.choice.uuids if self.given >= per_model else ()
        if per_model > 1:
            instances = {gpu.uuid for gpu in self.gpus if gpu.parent is not None}
            found = tuple(uuid for uuid in found if uuid not in instances)
        return found if len(found) >= per_model else ()

    def why_none(self, per_model: int) -> str:
        """Why none of its GPUs can be used, in words."""
        if not self.choice.uuids:
            return self.choice.reason.removeprefix("the CPU: ") or "no GPU was found"
        if self.given < per_model:
            has = "none of its GPUs" if not self.given else f"only {self.given} of its GPUs"
            return f"Ray has {has} there (`ray start --num-gpus`)"
        return f"{len(self.choice.uuids)} GPUs are there, and a model is to have {per_model} that are not divided (MIG)"


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """Which devices of nodes a run may use, decided once: the same for nodes that join later.

    `kind`: `cpu` or `cuda`; `listed`: beginnings of UUIDs, empty: all GPUs; `per_model`: GPUs of each model.
    """

    kind: str
    per_model: int = 1
    listed: tuple[str, ...] = ()

    def of(self, node: NodeDevices) -> tuple[str, ...]:
        """The node's GPUs that the run may use, by UUID."""
        if self.kind == CPU:
            return ()
        usable = node.usable(self.per_model)
        if not self.listed:
            return usable
        found = tuple(uuid for uuid in usable if any(_begins(uuid, one) for one in self.listed))
        return found if len(found) >= self.per_model else ()

    def why_not(self, node: NodeDevices) -> str | None:
        """Why the node trains no model of the run; None if it may."""
        if self.kind == CPU or self.of(node):
            return None
        if self.listed and node.usable(self.per_model):
            return "it has none of the GPUs in --device, or fewer of them than a model is to have"
        return f"the run trains on GPUs, and here {node.why_none(self.per_model)}"


def device_rule(
    wanted: str | Sequence[str | int], nodes: Sequence[NodeDevices], per_model: int, kept: str | None = None
) -> tuple[DeviceRule, str]:
    """The rule for `[resources] device` on these nodes, and why, in words.

    `auto` takes the GPUs if any node has one that can be used: nodes without then train nothing, because a run trains
    on one kind of device, which its bytes depend on. `kept`: the kind of the run that is resumed.

    Raises `UsageError`, with what was asked for, what is there and what to do.
    """
    if kept == CPU:
        return DeviceRule(CPU), "the CPU, as at the start of the run"
    if kept not in (None, CUDA):
        raise UsageError(f"the run was started on {kept}, which nodes of a cluster do not have: resume it locally")
    gone = ""
    if not isinstance(wanted, str):
        try:
            return _listed(wanted, nodes, per_model)
        except UsageError as error:
            if kept is None:
                raise
            gone = f", instead of those at the start ({error})"
    if wanted == CPU and kept is None:
        return DeviceRule(CPU), "the CPU: --device cpu"
    rule = DeviceRule(CUDA, per_model)
    if any(rule.of(node) for node in nodes):
        return rule, f"{_in_words(rule, nodes)}{gone}"
    why = "; ".join(f"{node.name}: {node.why_none(per_model)}" for node in nodes[:_LISTED]) or "the cluster has no node"
    if kept is not None:
        raise UsageError(
            f"the run was started on {kept}, and its results depend on that: no node has a GPU for it ({why}). Resume "
            "it where there is one, or start a new run"
        )
    if wanted == CUDA:
        raise UsageError(f"--device cuda: no node has a GPU for it ({why}); use --device cpu, or auto, which then does")
    if per_model > 1:
        raise UsageError(f"resources.devices_per_model = {per_model}: no node has so many for a model ({why})")
    has_some = any(node.gpus for node in nodes)
    return DeviceRule(CPU), f"the CPU: {why}" if has_some else ""


def _listed(wanted: Sequence[str | int], nodes: Sequence[NodeDevices], per_model: int) -> tuple[DeviceRule, str]:
    """The rule for a list of UUIDs, each of which names a GPU of one node."""
    asked = f"--device {escaped(','.join(map(str, wanted)))}"
    rule = DeviceRule(CUDA, per_model, tuple(map(str, wanted)))
    there = [(node, uuid) for node in nodes for uuid in node.choice.uuids]
    listed = ", ".join(f"{uuid} of {node.name}" for node, uuid in there[:_LISTED])
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    none = "; ".join(f"{node.name}: {node.why_none(per_model)}" for node in nodes[:_LISTED])
    has = f"there are {listed}{more}" if there else f"no node has a GPU that can be used ({none})"
    for entry in rule.listed:
        fitting = [uuid for _, uuid in there if _begins(uuid, entry)]
        if not fitting:
            raise UsageError(f"{asked}: no UUID of a GPU on the nodes begins with {escaped(entry)}; {has}")
        if len(fitting) > 1:
            raise UsageError(f"{asked}: {escaped(entry)} fits {len(fitting)} GPUs; give more of the UUID; {has}")
    if not any(rule.of(node) for node in nodes):
        few = [f"{node.name}: {node.why_none(per_model)}" for node in nodes if not node.usable(per_model)]
        why = "; ".join(few[:_LISTED]) or f"no node has {per_model} of them, which a model is to have"
        raise UsageError(f"{asked}: {why}; list others")
    return rule, _in_words(rule, nodes)


def _in_words(rule: DeviceRule, nodes: Sequence[NodeDevices]) -> str:
    """`3 GPUs: 2 × NVIDIA H100 on a, NVIDIA H100 on b; not on c: no GPU was found`."""
    parts, without, total = [], [], 0
    for node in nodes:
        uuids = rule.of(node)
        total += len(uuids)
        if uuids:
            names = Counter(gpu.name for gpu in node.gpus if gpu.uuid in uuids)
            parts += [f"{name if count == 1 else f'{count} × {name}'} on {node.name}" for name, count in names.items()]
        elif not rule.listed:
            without.append(f"{node.name}: {node.why_none(rule.per_model)}")
    more = f" and more on {len(parts) - _LISTED} others" if len(parts) > _LISTED else ""
    left = f"; not on {'; '.join(without[:_LISTED])}" if without else ""
    return f"{total} GPU{'s' * (total > 1)}: {', '.join(parts[:_LISTED])}{more}{left}"


def _begins(uuid: str, beginning: str) -> bool:
    return uuid.casefold().startswith(beginning.casefold())
