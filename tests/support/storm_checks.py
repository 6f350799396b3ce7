"""What must hold of a run after any kill: it can be read, nobody trains twice, and nothing is lost."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from running import in_this_process
from storm_run import SPARE, Holder, Role, holders, is_alive

from forge_tui.client.run import Run
from forge_tui.protocol.phases import RunState

if TYPE_CHECKING:
    from storm_scenarios import Scenario

Losses = dict[int, list[float | None]]
"""Of each model (1…N) the loss of each epoch."""

INSPECTS = "inspect"


def told(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `forge-tui ARGUMENTS`, run in this process."""
    return in_this_process([str(argument) for argument in arguments])


def look(directory: Path) -> tuple[str, list[str]]:
    """The run's state as a viewer shows it now, and what is wrong with that."""
    before, was_free = holders(directory), is_free(directory)
    status, out, err = told("status", directory, "--json")
    is_still_free, after = is_free(directory), holders(directory)
    problems = two_trainers(before) + two_trainers(after)
    if status != 0:
        return "unreadable", [*problems, f"status exits {status}: {err}"]
    record = json.loads(out)
    state = str(record["state"])
    if was_free and is_still_free and RunState(state).is_live:
        problems.append(f"shown as {state} though nobody holds the lock")
    stayed = {holder.pid for holder in before if holder.role is Role.RUNNER} & {holder.pid for holder in after}
    if stayed and state == RunState.DIED:
        problems.append(f"shown as died though {stayed} hold the lock")
    if record.get("problems"):
        problems.append(f"damage is told: {record['problems']}")
    return state, problems


def is_free(directory: Path) -> bool:
    """Whether nobody holds the run's lock. (A process that is dying holds it when /proc shows no title any more.)"""
    with (directory / "lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def two_trainers(found: list[Holder]) -> list[str]:
    """Models that more than one live process trains."""
    # A spare worker that was just given a model has its title still; the next one may be there already. Workers that
    # inspect measure side by side, and train nothing that is kept.
    counts = Counter(
        holder.model for holder in found if holder.role is Role.WORKER and holder.model not in (SPARE, INSPECTS)
    )
    twice = [model for model, count in counts.items() if count > 1]
    # /proc is read one process after another: only those that live now, all of them, do so at one moment.
    at_once = [[holder for holder in found if holder.model == model and is_alive(holder)] for model in twice]
    return [f"two trainers on one model: {trainers}" for trainers in at_once if len(trainers) > 1]


def history_problems(directory: Path, reference: Losses | None = None, *, goes_back: bool = False) -> list[str]:
    """What the recorded events say of overlapping attempts, steps back, gaps, and numbers other than `reference`.

    `goes_back`: a model that diverged may return to any earlier epoch.
    """
    with Run(directory) as run:
        records: list[dict[str, Any]] = []
        while found := run.events(records[-1]["seq"] if records else 0):
            records += [{**record, "seq": seq} for seq, record in found]
        problems = list(run.snapshot().problems)
    training: set[int] = set()
    checkpoint: Counter[int] = Counter()
    last: dict[int, int | None] = {}
    named = {record["model"]: record["index"] for record in records if "index" in record}
    group: dict[int, list[int]] = {}
    differs: set[int] = set()
    for record in records:
        event, index = record["event"], record.get("index", 0)
        where = f"event {record['seq']}, model {index}"
        if event == "model_started":
            if index in training:
                problems.append(f"{where}: begun while another attempt of it was going on")
            training.add(index)
            last[index] = None
            group[index] = [named[name] for name in record["group"] or (record["model"],) if name in named]
        elif event in ("model_failed", "model_completed") or (
            event == "phase_changed" and record["phase"] in ("queued", "failed", "cancelled")
        ):
            training.discard(index)
            last[index] = None
        elif event == "run_state_changed" and record["state"] == "queued":
            training.clear()
            last.clear()
        elif event == "checkpoint_saved":
            checkpoint[index] = max(checkpoint[index], record["epoch"])
        elif event == "epoch_finished":
            epoch, before = record["epoch"], last.get(index)
            saved = min(checkpoint[one] for one in group.get(index, (index,)))  # a group continues where all was saved
            if before is None and epoch <= saved and not goes_back:
                problems.append(f"{where}: epoch {epoch} again, though there is a checkpoint of {saved}")
            if before is not None and epoch != before + 1:
                problems.append(f"{where}: epoch {epoch} after {before}")
            last[index] = epoch
            other = reference is not None and record["loss"] != reference[index][epoch - 1]
            if other and index not in differs:  # the first epoch tells; the ones after it follow from that
                differs.add(index)
                problems.append(f"{where}: the loss of epoch {epoch} is {record['loss']}, not as undisturbed")
    return problems


def losses(directory: Path) -> Losses:
    """The whole recorded history of every model, in order."""
    with Run(directory) as run:
        return {model.index: [epoch.loss for epoch in run.history(model.index)] for model in run.snapshot().models}


def lost(directory: Path, reference: Path, scenario: Scenario) -> list[str]:
    """What of a run that has come to its end is not as in the undisturbed one at `reference`."""
    whole, here = losses(reference), losses(directory)
    compared = None if scenario.goes_back else whole
    found = history_problems(directory, compared, goes_back=scenario.goes_back)
    with Run(directory) as run:
        pruned = {model.index: model.epoch for model in run.snapshot().models if model.pruned}
        names = {model.name: model.index for model in run.snapshot().models}
    if not set(pruned.values()) <= set(scenario.prunes):
        found.append(f"pruned at other epochs than {scenario.prunes}: {pruned}")
    expected = {index: epochs[: pruned.get(index)] for index, epochs in whole.items()}
    if here != expected:
        lengths = {index: len(epochs) for index, epochs in here.items()}
        found.append(f"the recorded history is not as undisturbed: epochs by model {lengths}")
    for file in sorted(reference.glob("cognate_*.safetensors")):
        if names.get(file.stem) not in pruned:
            found += _differences(directory / file.name, file)
    left = [path.name for path in directory.rglob(".*.tmp")]
    return [*found, *(f"{name} was left behind" for name in left)]


def _differences(ours: Path, theirs: Path) -> list[str]:
    """What of a finished model is other than in the undisturbed run."""
    if not ours.exists() or ours.read_bytes() != theirs.read_bytes():
        return [f"{ours.name} is not byte-identical"]
    here, there = (json.loads(path.with_suffix(".json").read_bytes()) for path in (ours, theirs))
    found = [f"{ours.stem}.json has another {key}" for key in ("sha256", "exact") if here[key] != there[key]]
    if [item["loss"] for item in here["history"]] != [item["loss"] for item in there["history"]]:
        found.append(f"{ours.stem}.json has another history")
    return found
