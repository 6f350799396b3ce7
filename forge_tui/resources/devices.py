"""Which devices a run may use: what is asked for, what is visible, and what torch can use."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forge_tui.errors import UsageError
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.visible_devices import Visible, visible_gpus
from forge_tui.safe_io.printing import escaped

CPU, CUDA, MPS = "cpu", "cuda", "mps"
_LISTED = 8


@dataclass(frozen=True, slots=True)
class TorchDevices:
    """What torch can use in this environment, as a process of its own found out.

    `uuids`: of the CUDA devices, in CUDA's order, with or without `GPU-` or `MIG-` before them. `problem`: why there
    are none, in words. `mps`: Apple's GPU.
    """

    uuids: tuple[str, ...] = ()
    problem: str | None = None
    mps: bool = False


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """The devices of a run. `kind`: `cpu`, `cuda` or `mps`; `uuids`: its GPUs, in order; `reason`: why, in words."""

    kind: str
    uuids: tuple[str, ...] = ()
    reason: str = ""


def is_torch_asked(wanted: str | Sequence[str | int], gpus: Sequence[Gpu], *, trains_with_torch: bool = True) -> bool:
    """Whether the choice depends on what torch can use. Asking takes a process; `auto` asks only where a GPU is.

    `trains_with_torch`: not of a command, which may use another library, or another torch.
    """
    if not trains_with_torch:
        return False
    return bool(gpus) if wanted == "auto" else wanted != CPU


def choose_devices(
    wanted: str | Sequence[str | int],
    gpus: Sequence[Gpu],
    torch_devices: TorchDevices | None,
    environment: Mapping[str, str],
) -> DeviceChoice:
    """The devices for `[resources] device`. `torch_devices`: None if there was no reason to ask torch
    (`is_torch_asked`): then what the driver shows counts.

    An index of a list is CUDA's: the place among the visible devices, as in `cuda:0`; without torch, their order on the
    bus. `auto` takes GPUs if torch can use them, and never Apple's. GPUs with a problem are left out; a list that names
    one is refused.

    Raises `UsageError`, with what was asked for, what is there and what to do.
    """
    if not isinstance(wanted, str):
        return _of_list(wanted, _Seen.of(gpus, torch_devices, environment))
    match wanted:
        case "cpu":
            return DeviceChoice(CPU, reason="the CPU: --device cpu")
        case "mps":
            if not (sys.platform == "darwin" if torch_devices is None else torch_devices.mps):
                raise UsageError(
                    "--device mps: torch cannot use Apple's GPU here (it takes a Mac with Apple silicon and a torch "
                    "build for it); use --device cpu"
                )
            return DeviceChoice(MPS, reason="Apple's GPU: --device mps")
        case "cuda":
            seen = _Seen.of(gpus, torch_devices, environment)
            if (problem := seen.problem or seen.none_works()) is not None:
                raise UsageError(f"--device cuda: {problem}; use --device cpu, or auto, which then takes the CPU")
            return seen.all_that_work()
        case "auto":
            if not gpus and torch_devices is None:
                return DeviceChoice(CPU, reason="the CPU: no GPU was found")
            seen = _Seen.of(gpus, torch_devices, environment)
            if (problem := seen.problem or seen.none_works()) is not None:
                return DeviceChoice(CPU, reason=f"the CPU: {problem}")
            return seen.all_that_work()
    raise UsageError(f"--device {escaped(wanted)}: give auto, cpu, cuda, mps, or a list of GPUs such as 0,1")


def require_enough(choice: DeviceChoice, gpus: Sequence[Gpu], per_model: int) -> None:
    """Raise `UsageError` if a model is to have more GPUs than there are, or several MIG instances."""
    if per_model == 1:
        return
    count = len(choice.uuids)
    asked = f"resources.devices_per_model = {per_model}"
    if count < per_model:
        has = ("no GPU", "1 GPU")[count] if count < 2 else f"{count} GPUs"
        raise UsageError(
            f"{asked}: the run has {has} ({choice.reason}); give a smaller number, or more devices in resources.device"
        )
    if any(gpu.parent is not None and gpu.uuid in choice.uuids for gpu in gpus):
        raise UsageError(
            f"{asked}: CUDA shows a process only one MIG instance, and the run has such ({choice.reason}); use 1, or "
            "list GPUs that are not divided in resources.device"
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """The visible GPUs in CUDA's order, what hides others of `everything`, or the `problem` why there are none."""

    gpus: tuple[Gpu, ...]
    everything: tuple[Gpu, ...]
    limit: str | None
    problem: str | None = None

    @classmethod
    def of(cls, gpus: Sequence[Gpu], torch_devices: TorchDevices | None, environment: Mapping[str, str]) -> _Seen:
        visible = visible_gpus(gpus, environment)
        seen = _in_order(visible, gpus, torch_devices)
        return cls(seen, tuple(gpus), visible.limit, _problem(visible, gpus, torch_devices))

    def none_works(self) -> str | None:
        """Why none of them works; None if one does."""
        if any(gpu.problem is None for gpu in self.gpus):
            return None
        return "; ".join(f"{_called(gpu)}: {gpu.problem}" for gpu in self.gpus[:_LISTED])

    def all_that_work(self) -> DeviceChoice:
        working = [gpu for gpu in self.gpus if gpu.problem is None]
        return self.choice(working, [gpu for gpu in self.gpus if gpu.problem is not None])

    def choice(self, gpus: Sequence[Gpu], left_out: Sequence[Gpu] = ()) -> DeviceChoice:
        names = Counter(gpu.name for gpu in gpus)
        words = ", ".join(name if count == 1 else f"{count} × {name}" for name, count in names.items())
        reason = f"{len(gpus)} GPU{'s' * (len(gpus) > 1)}: {words}"
        if self.limit is not None:
            reason += f" ({self.limit} leaves {len(self.gpus)} of {len(self.everything)} visible)"
        reason += "".join(f"; without {_called(gpu)}: {gpu.problem}" for gpu in left_out)
        return DeviceChoice(CUDA, tuple(gpu.uuid for gpu in gpus), reason)

    @property
    def in_words(self) -> str:
        """The visible GPUs, with the indices that a list may have."""
        known = [f"{place} ({gpu.uuid or gpu.name}, {gpu.name})" for place, gpu in enumerate(self.gpus[:_LISTED])]
        more = len(self.gpus) - _LISTED
        hidden = "" if self.limit is None else f"; {self.limit} hides {len(self.everything) - len(self.gpus)} more"
        return ", ".join(known) + (f" and {more} more" if more > 0 else "") + hidden


def _problem(visible: Visible, gpus: Sequence[Gpu], torch_devices: TorchDevices | None) -> str | None:
    """Why no GPU can be used at all, in words; else None."""
    if not gpus and (torch_devices is None or not torch_devices.uuids):
        more = "" if torch_devices is None or torch_devices.problem is None else f" (torch: {torch_devices.problem})"
        return f"no GPU was found{more}"
    if torch_devices is not None and torch_devices.uuids:
        return None
    if not visible.gpus:
        return f"{visible.limit} hides all {len(gpus)} GPUs"
    if torch_devices is not None:
        why = torch_devices.problem or "it lists none"
        return f"torch cannot use the GPU{'s' * (len(visible.gpus) > 1)}: {why}"
    return None


def _in_order(visible: Visible, gpus: Sequence[Gpu], torch_devices: TorchDevices | None) -> tuple[Gpu, ...]:
    """The visible GPUs as CUDA orders them, which only torch knows where GPUs differ in speed.

    Not with MIG: a process sees one instance at most, and each worker may have another one.
    """
    if torch_devices is None or not torch_devices.uuids or any(gpu.parent is not None for gpu in visible.gpus):
        return visible.gpus
    known = {_bare(gpu.uuid): gpu for gpu in gpus}
    return tuple(
        known.get(_bare(uuid)) or Gpu(place, f"GPU {place}", 0, 0, uuid=_with_kind(uuid))
        for place, uuid in enumerate(torch_devices.uuids)
    )


def _of_list(wanted: Sequence[str | int], seen: _Seen) -> DeviceChoice:
    asked = f"--device {escaped(','.join(map(str, wanted)))}"
    if not wanted:
        raise UsageError("--device: the list is empty; give auto, cpu, cuda, mps, or a list of GPUs such as 0,1")
    if seen.problem is not None:
        raise UsageError(f"{asked}: {seen.problem}; use --device cpu, or auto, which then takes the CPU")
    chosen: list[Gpu] = []
    for entry in map(str, wanted):
        gpu = _found(entry, asked, seen)
        if gpu.problem is not None:
            raise UsageError(f"{asked}: {_called(gpu)} cannot be used: {gpu.problem}; leave it out")
        if gpu not in chosen:
            chosen.append(gpu)
    return seen.choice(chosen)


def _found(entry: str, asked: str, seen: _Seen) -> Gpu:
    """The visible GPU of an index or of the beginning of a UUID. Raises `UsageError`."""
    if entry.isdecimal():
        if int(entry) < len(seen.gpus):
            return seen.gpus[int(entry)]
        raise UsageError(f"{asked}: there is no GPU {escaped(entry)}; there are {seen.in_words}")
    fitting = [gpu for gpu in seen.gpus if gpu.uuid.casefold().startswith(entry.casefold())]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        uuids = ", ".join(gpu.uuid for gpu in fitting)
        raise UsageError(f"{asked}: {escaped(entry)} fits {len(fitting)} GPUs ({uuids}); give more of the UUID")
    hidden = [gpu for gpu in seen.everything if gpu.uuid.casefold().startswith(entry.casefold())]
    if hidden:
        raise UsageError(f"{asked}: {seen.limit or 'torch'} hides {hidden[0].uuid}; there are {seen.in_words}")
    raise UsageError(f"{asked}: no UUID begins with {escaped(entry)}; there are {seen.in_words}")


def _called(gpu: Gpu) -> str:
    return f"GPU {gpu.index}" + (f" ({gpu.uuid})" if gpu.uuid else "")


def _bare(uuid: str) -> str:
    """A UUID without its kind: torch leaves it out."""
    return uuid.removeprefix("GPU-").removeprefix("MIG-").casefold()


def _with_kind(uuid: str) -> str:
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
