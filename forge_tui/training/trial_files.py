"""Files of a model that a training function trains: checkpoints, its own directory, and the finished model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forge_tui.errors import RunDirectoryError, TrialError
from forge_tui.safe_io.printing import escaped
from forge_tui.training import attached_files, random_state
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.attached_files import Files
from forge_tui.training.checkpoint import Checkpoint
from forge_tui.training.checkpoint_writer import prune_of_member
from forge_tui.training.member import Member
from forge_tui.training.packed import CannotPack, pack, unpack
from forge_tui.training.tensor_file import can_hold
from forge_tui.training.trial_progress import TrialProgress

STATE = "state"


class TrialFiles:
    """Saves and loads the checkpoints of one attempt; the newest `keep` are kept."""

    def __init__(self, member: Member, environment: dict[str, Any], device: torch.device, keep: int) -> None:
        self._member, self._environment, self._device, self._keep = member, environment, device, keep
        self._found: Checkpoint | None = None
        self._is_known = False
        self._step = 0

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that verifies. Raises `RunDirectoryError`."""
        if not self._is_known:
            warn = self._member.report.warn
            self._found = checkpoints.newest_valid(
                self._member.checkpoints,
                lambda problem: warn("checkpoint", problem),
                self._member.fence,
                lambda found: attached_files.verify(attached_files.files_of(found.record), self._place),
            )
            self._is_known = True
            self._step = max(self._step, 0 if self._found is None else self._found.step)
        return self._found

    def directory(self) -> Path:
        """The model's own directory, made if need be. Raises `RunDirectoryError`."""
        return self._member.own_directory()

    @property
    def _place(self) -> Path:
        return self._member.files

    def save(self, state: Any, epoch: int, progress: TrialProgress, files: Files = ()) -> None:
        """Write a checkpoint, which the `files` in the model's own directory belong to, and delete old ones.

        Raises `TrialError` for a state or files that cannot be saved, and `RunDirectoryError`.
        """
        packed, tensors = packed_state(state)
        member, begun = self._member, time.perf_counter()
        # Without reported steps it counts checkpoints: later ones have higher numbers.
        step = max(self._step + 1, progress.step)
        record = {
            STATE: packed,
            "epoch": epoch,
            "step": step,
            "model": member.job.model,
            "seed": member.job.seed,
            "environment": self._environment,
            **progress.to_record(),
        }
        with member.in_place():
            if attached := attached_files.attach(files, self._place):
                record["files"] = attached
        parts = {
            **{f"{STATE}/{name}": tensor for name, tensor in tensors.items()},
            **{f"random/{name}": tensor for name, tensor in random_state.capture(self._device).items()},
            **progress.tensors(),
        }
        with member.in_place():
            path = checkpoints.save_checkpoint(member.checkpoints, step, parts, record, member.job.attempt)
            self._step, self._found, self._is_known = step, None, False
            prune_of_member(member, self._keep)
            member.report.checkpoint(path, epoch=epoch, step=step, seconds=time.perf_counter() - begun)

    def load(self, found: Checkpoint) -> tuple[Any, TrialProgress]:
        """The state and the progress of a checkpoint; restores the random states. Raises `RunDirectoryError`."""
        try:
            state = unpack(found.record[STATE], found.part(STATE), device=self._device)
            progress = TrialProgress.from_checkpoint(found.record, found.part("epochs")["history"])
            random_state.restore(found.part("random"), self._device)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise RunDirectoryError(
                f"{found.path} is no checkpoint of a training function ({type(error).__name__}: {error}); resume with "
                "the run's own settings, or start anew with --overwrite"
            ) from error
        return state, progress


def packed_state(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """As `packed.pack`, for the argument of `Trial.checkpoint`. Raises `TrialError`."""
    if not isinstance(state, Mapping):
        raise TrialError(f"trial.checkpoint takes a dict, such as a state_dict(), and got a {type(state).__qualname__}")
    try:
        return pack(state)
    except CannotPack as error:
        raise TrialError(f"trial.checkpoint: {error}") from None


def saved_weights(model: Any) -> tuple[dict[str, Tensor], int]:
    """Copies of a finished model's tensors on the CPU, and its number of parameters. Raises `TrialError`.

    For a `state_dict()` that is the number of all its elements.
    """
    given = model.state_dict() if isinstance(model, nn.Module) else model
    if not isinstance(given, Mapping) or not given:
        raise TrialError(f"trial.save takes a module or its state_dict(), and got a {type(model).__qualname__}")
    found = {}
    for name, tensor in given.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            kind = type(tensor if isinstance(name, str) else name).__qualname__
            raise TrialError(f"trial.save: {escaped(str(name))} is a {kind}; tensors by name are saved")
        if tensor.layout is not torch.strided or tensor.is_quantized or not can_hold(tensor.dtype):
            raise TrialError(
                f"trial.save: {escaped(name)} is a tensor of {tensor.dtype}, {tensor.layout}, which safetensors files "
                "do not know"
            )
        found[name] = tensor.detach().cpu().clone()
    of_module = model.parameters() if isinstance(model, nn.Module) else found.values()
    return found, sum(tensor.numel() for tensor in of_module)
