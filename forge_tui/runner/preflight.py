"""Inspects machine, data and model before the first step."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forge_tui.engines.base import Engine
from forge_tui.errors import ResourceError, UsageError
from forge_tui.protocol.job import Job
from forge_tui.protocol.request import Request
from forge_tui.protocol.run_data import RunData, recorded_data
from forge_tui.resources.devices import DeviceChoice
from forge_tui.resources.hardware import GPU_START_SECONDS, SystemResources, detect
from forge_tui.resources.policy import CONTEXT_BYTES, GIB, OtherRuns, WorkerLimit, require_room_for_one
from forge_tui.runner import groups, prepare, run_planner
from forge_tui.runner.autotune import NO_GPU_HERE, as_before, settle, unmeasured
from forge_tui.runner.code_copy import Code
from forge_tui.runner.device_question import torch_devices
from forge_tui.runner.inspector import Inspector
from forge_tui.runner.other_runs import OtherLiveRuns
from forge_tui.runner.remembered import Remembered
from forge_tui.runner.resuming import Earlier
from forge_tui.runs import run_models
from forge_tui.runs.claims import Claims
from forge_tui.runs.layout import RunDirectory
from forge_tui.runs.moved import relocated_data
from forge_tui.settings.replacement import replacement_in
from forge_tui.settings.schema import Settings, from_plain, to_plain
from forge_tui.settings.sweep import Combination, combination_in_words, with_combination

# If others use more of the CPUs, a measurement is not remembered.
_QUIET_PERCENT = 15.0
# The largest measured group.
_MOST_RATES = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The state before the first step: machine, limit, results of an inspection, and the inspector for measurements.

    `data` is None for a training function, which loads its own.

    `most_here`: how many workers may measure at once on this machine, which need not be where models are trained;
    `devices_here`: its devices for that. `devices`: those of the run, on nodes of a cluster if it `is_elsewhere`.

    In a sweep `found` and `combination` are of the model that needs most memory; `rates` are those of its group.
    """

    resources: SystemResources
    others: OtherRuns
    limit: WorkerLimit
    job: Job
    found: dict[str, Any]
    inspector: Inspector
    combination: dict[str, Any]
    rates: list[tuple[float, float]]
    data: RunData | None
    code: Code
    most_here: int
    devices: DeviceChoice
    devices_here: DeviceChoice
    estimates: dict[str, prepare.DeviceEstimate]
    is_elsewhere: bool = False

    def ask(self, ways: Sequence[run_planner.Asked], workers: int, seconds: float) -> list[dict[str, Any]]:
        """The measurements of `workers` at once in the available memory."""
        room = self.resources.available_memory_gb * GIB
        each = self._device_room(workers)
        return self.inspector.measure(ways, workers, seconds, room, self.combination, self.rates, each)

    def _device_room(self, workers: int) -> float | None:
        """Bytes that each of `workers` may take of its GPU, where the fullest one is; None on the CPU."""
        free = [gpu.memory_free for gpu in self.resources.gpus if gpu.uuid in self.devices_here.uuids]
        if not free:
            return None
        on_one = -(-workers // len(free))
        return max(0.0, min(free) / on_one - CONTEXT_BYTES)

    def device_reason(self, settings: Settings) -> str | None:
        """Why the run has these devices; None where only the CPU could be meant."""
        if self.is_elsewhere:
            return self.devices.reason if settings.resources.device != "cpu" and self.devices.reason else None
        may_be_gpus = bool(self.resources.gpus) and settings.resources.device != "cpu"
        return self.devices.reason if self.devices.kind != "cpu" or may_be_gpus else None

    def kernel_reasons(self, earlier: Earlier | None) -> tuple[tuple[str, str], ...]:
        """The decision about the steps of a new run's models; those of a resumed one keep theirs."""
        kernel = self.found.get("kernel")
        if kernel is None or earlier is not None:
            return ()
        reason = self.found["kernel_reason"]
        return (("kernel", f"{kernel.partition(' ')[0]} steps{f': {reason}' if reason else ''}"),)

    def remembered(self, settings: Settings) -> Remembered:
        """Earlier measurements of this configuration; in a sweep, of its largest one."""
        busy = (self.resources.others_cpu_percent or 0.0) > _QUIET_PERCENT or self.others.workers > 0
        measured = from_plain(with_combination(to_plain(settings), self.combination))
        ours = tuple(gpu for gpu in self.resources.gpus if gpu.uuid in self.devices_here.uuids)
        return Remembered(
            measured,
            self.found,
            replace(self.resources, gpus=ours),
            self.job.device,
            rates=self.rates,
            quiet=not busy,
            code=self.code.digest,
        )

    @property
    def workers(self) -> int:
        """How many may measure at once: as many as will train, or as fit into memory, and on GPUs into theirs."""
        room = int(self.resources.available_memory_gb * GIB // int(self.found["worker_bytes"]))
        free = [gpu.memory_free for gpu in self.resources.gpus if gpu.uuid in self.devices_here.uuids]
        if free and self.found["device_bytes"] is not None:
            # The workers get the GPUs by turns: the fullest one decides.
            each = self.found["device_bytes"][0] + CONTEXT_BYTES
            room = min(room, len(free) * max(1, min(free) // each))
        return max(1, min(self.limit.workers, self.most_here, room))


@contextlib.contextmanager
def preflight(
    request: Request,
    directory: RunDirectory,
    settings: Settings,
    engine: Engine,
    selector: selectors.BaseSelector,
    earlier: Earlier | None,
    code: Code,
) -> Iterator[Preflight]:
    """Inspect machine, data and model, and try custom code, unless a resume continues with tried code.

    Raises the error that refuses a start.
    """
    engine.start()  # imports torch while the resources are detected
    resources = detect(settings=settings.resources, gpu_seconds=GPU_START_SECONDS)
    others = OtherLiveRuns(Claims(directory), 1).taken()
    kept = None if earlier is None else earlier.info.device
    nodes = engine.nodes()
    on_nodes = engine.choose_devices(kept)
    nodes = None if nodes is None else engine.nodes()  # without those whose devices do not fit
    job = _job(request.working_directory, directory, settings)
    chosen, chosen_here = _devices(settings, on_nodes, kept, resources, engine, selector, job)
    here = prepare.allowed_workers(settings, resources, others, uuids=chosen_here.uuids)
    limit = here if nodes is None else prepare.limit_on_nodes(settings, nodes)
    if earlier is None:
        job = replace(job, threads=run_planner.thread_counts(settings, limit)[0], device=chosen_here.kind)
    else:
        info = earlier.info
        job = replace(job, working_directory=info.working_directory, threads=info.threads, device=chosen_here.kind)
        recorded = recorded_data(info)
        known = None if recorded is None else relocated_data(recorded, info.moved)
        # Runs of forge-tui 0.1 may have no record of their data.
        job = replace(job, data=None if known is None else known.to_record(), data_version=1 if known is None else None)
    roomy = prepare.most_room_first(chosen_here.uuids, resources.gpus)
    per_model = settings.resources.devices_per_model
    with Inspector(engine, selector, job, code, devices=roomy, per_model=per_model) as inspector:
        combinations = run_models.inspected(settings)
        together = min(groups.width(settings), run_models.of_a_kind(settings))
        is_tried = earlier is not None and not code.changes_accepted
        room = None if is_tried else resources.available_memory_gb * GIB
        is_check = request.action == "check"
        for_gpu = chosen.kind == "cuda"
        inspections = inspector.inspect(combinations, together, room, is_check=is_check, for_gpu=for_gpu)
        _require_one_data(settings, inspector.data)
        found, combination = max(
            zip(inspections, combinations, strict=True), key=lambda pair: pair[0]["estimated_bytes"] or 0
        )
        try:
            if found["estimated_bytes"] is not None:
                require_room_for_one(found["estimated_bytes"], resources)
        except ResourceError as error:
            raise ResourceError(
                f"with {combination_in_words(combination)}: {error}" if combination else str(error)
            ) from error
        parameters = [one["parameters"] for one in inspections if one["parameters"] is not None]
        yield Preflight(
            resources=resources,
            others=others,
            limit=limit,
            job=job,
            found={
                **found,
                "parameters_least": min(parameters, default=None),
                "parameters_most": max(parameters, default=None),
                "grouping_problem": next(filter(None, (one["grouping_problem"] for one in inspections)), None),
            },
            inspector=inspector,
            combination=combination,
            rates=run_models.rates(settings, _MOST_RATES),
            data=inspector.data,
            code=code,
            most_here=here.workers,
            devices=chosen,
            devices_here=chosen_here,
            is_elsewhere=on_nodes is not None,
            estimates=_device_estimates(settings, inspections, combinations),
        )


def _device_estimates(
    settings: Settings, inspections: Sequence[Mapping[str, Any]], combinations: Sequence[Combination]
) -> dict[str, prepare.DeviceEstimate]:
    """The estimate of each shape of models; of a search also the largest one, for shapes that it may propose."""
    found: dict[str, prepare.DeviceEstimate] = {}
    for one, combination in zip(inspections, combinations, strict=True):
        if one["device_bytes"] is not None:
            shape, estimate = run_models.shape_of(settings, combination), prepare.DeviceEstimate(*one["device_bytes"])
            for key in (shape, run_models.ANY_SHAPE) if run_models.is_search(settings) else (shape,):
                if key not in found or estimate.of(1) > found[key].of(1):
                    found[key] = estimate
    return found


def _require_one_data(settings: Settings, data: RunData | None) -> None:
    """Raise `UsageError` if the data of a search depends on what is searched: its trials could not be compared."""
    if run_models.is_search(settings) and data is not None and data.others:
        part, _ = data.others[0]
        raise UsageError(
            f"the data changes with {', '.join(part)}, and the trials of a search are compared on the same data; "
            "leave this out of --space, or sweep it (--sweep)"
        )


def make_plan(settings: Settings, known: Preflight, earlier: Earlier | None) -> prepare.Plan:
    if earlier is None and replacement_in(settings) is not None:
        chosen = unmeasured(settings, prepare.lasting(known.limit, settings, known.resources))
    elif earlier is None and known.devices.kind != known.devices_here.kind:
        chosen = unmeasured(settings, prepare.lasting(known.limit, settings, known.resources), NO_GPU_HERE)
    elif earlier is None:
        problem = known.found["grouping_problem"]
        chosen = settle(settings, known.limit, known.workers, known.ask, known.remembered(settings), problem)
    else:
        chosen = as_before(settings, earlier.info.threads)
    estimate: int | None = known.found["worker_bytes"]
    place = known.device_reason(settings)
    return prepare.Plan(
        limit=known.limit,
        resources=known.resources,
        threads=chosen.threads,
        fuse=chosen.fuse,
        reasons=(*(() if place is None else (("place", place),)), *known.kernel_reasons(earlier), *chosen.reasons),
        job=replace(known.job, device=known.devices.kind),
        memory_estimate=None if estimate is None else max(chosen.worker_bytes or 0, estimate),
        devices=known.devices.uuids,
        device_estimates=known.estimates,
    )


def _devices(
    settings: Settings,
    on_nodes: DeviceChoice | None,
    kept: str | None,
    resources: SystemResources,
    engine: Engine,
    selector: selectors.BaseSelector,
    job: Job,
) -> tuple[DeviceChoice, DeviceChoice]:
    """The devices of the run, and those of this machine where data and model are looked at.

    `on_nodes`: those of the run, chosen on the nodes of a cluster.
    """
    is_on_nodes = settings.engine.name == "ray"
    if on_nodes is None and not is_on_nodes:
        asked = None if kept == "cpu" else torch_devices(settings, resources.gpus, engine, selector, job)
        found = prepare.choose_devices(settings, resources, asked, kept)
        return found, found
    if on_nodes is not None and on_nodes.kind == "cpu":
        return on_nodes, on_nodes
    asked = torch_devices(prepare.anywhere(settings), resources.gpus, engine, selector, job)
    found = prepare.devices_here(settings, resources, asked)
    return on_nodes or found, found  # a check or a plan asks no node


def _job(working_directory: str, directory: RunDirectory, settings: Settings) -> Job:
    """The first model's, with the run's own settings; device and threads are chosen later."""
    return Job(
        run=directory.id,
        directory=str(directory.path),
        working_directory=working_directory,
        model=run_models.name_of(settings, 1),
        index=1,
        attempt=1,
        seed=settings.run.seed,
        settings=to_plain(settings),
        threads=1,
        device="cpu",
    )
