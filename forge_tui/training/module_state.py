"""A custom module's state beside its parameters and persistent buffers, for checkpoints and finished models.

Only differences from the newly built module are kept: with the same seed it is built identically. These are
non-persistent buffers, plain attributes, random number generators, the training mode of each part, frozen parameters,
and the results of `get_extra_state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forge_tui.errors import SettingsError
from forge_tui.training.models.network import fill
from forge_tui.training.module_parts import (
    attributes_of,
    dtype_of,
    hidden_buffers,
    holds_parts,
    joined_name,
    known_parts,
    modes,
    not_persistent,
    owner_of,
    part_of,
    set_modes,
    shape_of,
    trained,
    with_extra_state,
)
from forge_tui.training.packed import CannotPack, pack, unpack
from forge_tui.training.value_marks import generator_state, mark_of, set_generator_state

# Limit on tensors in plain attributes: smaller ones are running statistics, larger ones cached activations.
_ATTRIBUTE_BYTES = 64 << 20
_MUTABLE = (list, dict, Tensor, np.ndarray)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModuleState:
    """`packed` is JSON-able and names `tensors` (see `packed.pack`); both are empty if there is nothing to keep.

    `problems`: what cannot be kept, by place (`layer.0.history`).
    """

    packed: Any = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def detached(self) -> ModuleState:
        """The same with copies of the tensors, so that training does not change them."""
        copies = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        return ModuleState(packed=self.packed, tensors=copies, problems=self.problems)


NOTHING = ModuleState()


class Built:
    """A module as it was built; `state` returns the changes since."""

    def __init__(self, body: nn.Module) -> None:
        """Create it before the module is used."""
        self._body = body
        known = known_parts(body)
        self._kinds = {path: type(part) for path, part in body.named_modules()}
        self._modes = modes(body)
        self._frozen = trained(body)
        self._buffers = {name: shape_of(buffer) for name, buffer in body.named_buffers()}
        self._values = hidden_buffers(body)
        self._attributes = {place: (value, mark_of(value, known)) for place, value in attributes_of(body)}

    def state(self, *, for_training: bool = True) -> ModuleState:
        """The changes. `for_training`: with modes and frozen parameters, which finished models do not need."""
        body, problems = self._body, dict[str, str]()
        attributes, removed = self._changed_attributes(problems)
        found: dict[str, Any] = {
            "buffers": dict(self._changed_buffers()),
            "shapes": self._changed_shapes(),
            "attributes": attributes,
            "removed": removed,
            "extra": _extra_states(body, problems),
        }
        if for_training:
            found["modes"] = self.changed_modes()
            found["frozen"] = self._changed_frozen()
        for path, part in body.named_modules():
            if self._kinds.get(path) is not type(part):
                problems[path] = f"{path} is a {type(part).__qualname__}, which was not there when the model was built"
        found = {name: part for name, part in found.items() if part}
        if not found:
            return ModuleState(problems=problems)
        packed, tensors = pack(found)
        return ModuleState(packed=packed, tensors=tensors, problems=problems)

    def changed(self) -> list[str]:
        """The names of changed attributes, extra states and frozen parameters, which a group cannot keep per model."""
        problems = dict[str, str]()
        attributes, removed = self._changed_attributes(problems)
        return [
            *(joined_name(path, name) for path, part in attributes.items() for name in part),
            *(joined_name(path, name) for path, names in removed.items() for name in names),
            *problems,
            *(joined_name(path, "get_extra_state()") for path, _ in with_extra_state(self._body)),
            *self._changed_frozen(),
        ]

    def changed_modes(self) -> dict[str, bool]:
        """The parts with a changed mode, by path."""
        return {path: mode for path, mode in modes(self._body).items() if self._modes.get(path) is not mode}

    def _changed_frozen(self) -> dict[str, bool]:
        return {name: one for name, one in trained(self._body).items() if self._frozen.get(name) is not one}

    def _changed_buffers(self) -> Iterator[tuple[str, Tensor | None]]:
        """Changed non-persistent buffers."""
        now = not_persistent(self._body)
        for name in now:
            buffer = self._body.get_buffer(name)
            if self._values.get(name) != mark_of(buffer):
                yield name, buffer.detach()
        for name in self._values.keys() - set(now):
            yield name, None

    def _changed_shapes(self) -> dict[str, Any]:
        """Persistent buffers that are new, removed, or have another shape or type; needed before loading weights."""
        hidden = set(not_persistent(self._body))
        now = {name: shape_of(one) for name, one in self._body.named_buffers() if name not in hidden}
        found: dict[str, Any] = {name: value for name, value in now.items() if self._buffers.get(name) != value}
        gone = self._buffers.keys() - self._values.keys() - now.keys() - hidden
        return found | dict.fromkeys(sorted(gone))

    def _changed_attributes(self, problems: dict[str, str]) -> tuple[dict[str, Any], dict[str, list[str]]]:
        known = known_parts(self._body)
        extra = {path for path, _ in with_extra_state(self._body)}
        originals = {place: value for place, (value, _) in self._attributes.items()}
        taken = {id(value): place for place, value in attributes_of(self._body) if value is originals.get(place)}
        found: dict[str, Any] = {}
        removed: dict[str, list[str]] = {}
        room, places = _ATTRIBUTE_BYTES, set()
        for place, value in attributes_of(self._body):
            places.add(place)
            original, before = self._attributes.get(place, (None, None))
            if before == mark_of(value, known):
                continue
            path, name = place
            try:
                where = joined_name(path, name)
                how = self._how(value, where, is_original=value is original, known=known, taken=taken)
                _, tensors = pack(how[1], where)
                size = sum(tensor.nbytes for tensor in tensors.values())
                if size > room:
                    raise CannotPack(
                        f"{where} holds tensors of {size >> 20} MiB; more than {_ATTRIBUTE_BYTES >> 20} MiB "
                        "are kept in buffers only (register_buffer)"
                    )
            except CannotPack as error:
                # Such a part defines its state itself.
                if path not in extra:
                    problems[joined_name(path, name)] = str(error)
                continue
            room -= size
            taken[id(value)] = place
            found.setdefault(path, {})[name] = how
        for path, name in sorted(self._attributes.keys() - places):
            removed.setdefault(path, []).append(name)
        return found, removed

    @staticmethod
    def _how(
        value: Any, where: str, *, is_original: bool, known: Mapping[int, str], taken: Mapping[int, tuple[str, str]]
    ) -> tuple[str, Any]:
        """How to keep an attribute: by value, in the existing object or in a new one, or as a name of another part."""
        if id(value) in known:
            return "part", known[id(value)]
        if not is_original and isinstance(value, _MUTABLE) and id(value) in taken:
            return "same", taken[id(value)]
        if holds_parts(value, known):
            raise CannotPack(f"{where} is a {type(value).__qualname__} that holds parts of the model")
        if is_original and (state := generator_state(value)) is not None:
            return "generator", state
        # In the same object: other parts may refer to it, or to a view of it.
        return "fill" if is_original and type(value) in (list, dict, Tensor) else "set", value


def prepare(body: nn.Module, state: Any) -> None:
    """Adjust the buffers of a newly built module before loading weights. `state`: the result of `unpacked`."""
    for name, value in state.get("shapes", {}).items():
        owner, key = owner_of(body, name)
        if value is None:
            owner._buffers[key] = None
            continue
        dtype, shape = value
        device = next((one.device for one in body.parameters()), torch.device("cpu"))
        owner._buffers[key] = torch.zeros(shape, dtype=dtype_of(dtype), device=device)


def restore_module(body: nn.Module, state: Any) -> None:
    """Restore a module's `state`, without its weights. Raises `ValueError`, `KeyError`, `AttributeError` or `TypeError`
    for the state of another module."""
    for name, value in state.get("buffers", {}).items():
        owner, key = owner_of(body, name)
        there = owner._buffers.get(key)
        if key not in owner._buffers:
            owner.register_buffer(key, None, persistent=False)
        if value is None or there is None or shape_of(there) != shape_of(value) or not fill(there, value):
            owner._buffers[key] = value
    for path, names in state.get("removed", {}).items():
        for name in names:
            vars(body.get_submodule(path)).pop(name, None)
    for path, attributes in state.get("attributes", {}).items():
        for name, (how, value) in attributes.items():
            _set_attribute(body, path, name, how, value)
    for path, value in state.get("extra", {}).items():
        body.get_submodule(path).set_extra_state(value)
    for name, requires_grad in state.get("frozen", {}).items():
        body.get_parameter(name).requires_grad_(requires_grad)
    set_modes(body, state.get("modes", {}))


def unpacked(packed: Any, tensors: Mapping[str, Tensor], device: torch.device | None = None) -> dict[str, Any]:
    """The stored state of a module, for `prepare` and `restore_module`; empty if there is none. Raises `ValueError`."""
    found = {} if packed is None else unpack(packed, tensors, "module state", device=device)
    if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
        raise ValueError("the module state is not a table of tables")
    return found


def check_alike(bodies: Sequence[nn.Module]) -> None:
    """Raise `SettingsError` unless modules only differ in weights and buffers, as a group requires."""
    first = _likeness(bodies[0])
    for body in bodies[1:]:
        other = _likeness(body)
        differing = sorted(place for place in first.keys() | other.keys() if first.get(place) != other.get(place))
        if differing:
            raise SettingsError(
                f"{differing[0]} differs from model to model (it depends on the seed, or on how often the function was "
                "called): such models cannot be trained together; use --fuse 1"
            )


def _likeness(body: nn.Module) -> dict[str, str]:
    known = known_parts(body)
    found = {
        joined_name(path, name): mark_of(value, known, by_identity=False) for (path, name), value in attributes_of(body)
    }
    found.update((joined_name(path, "training"), str(mode)) for path, mode in modes(body).items())
    found.update((joined_name(name, "requires_grad"), str(one)) for name, one in trained(body).items())
    found.update((joined_name(path, "type"), mark_of(type(part))) for path, part in body.named_modules())
    return found


def _set_attribute(body: nn.Module, path: str, name: str, how: str, value: Any) -> None:
    attributes = vars(body.get_submodule(path))
    match how:
        case "set":
            attributes[name] = value
        case "fill":
            there = attributes[name]
            if isinstance(there, list):
                there[:] = value
            elif isinstance(there, dict):
                there.clear()
                there.update(value)
            elif shape_of(there) != shape_of(value) or not fill(there, value):
                attributes[name] = value
        case "generator":
            set_generator_state(attributes[name], value)
        case "same":
            other_path, other_name = value
            attributes[name] = vars(body.get_submodule(other_path))[other_name]
        case "part":
            attributes[name] = part_of(body, value)
        case _:
            raise ValueError(f"{joined_name(path, name)} is kept in an unknown way, {how!r}")


def _extra_states(body: nn.Module, problems: dict[str, str]) -> dict[str, Any]:
    found = {}
    for path, part in with_extra_state(body):
        place = joined_name(path, "get_extra_state()")
        if type(part).set_extra_state is nn.Module.set_extra_state:
            problems[place] = f"{place} has no set_extra_state() that would take what it gives"
            continue
        try:
            value = part.get_extra_state()
            pack(value, place)
        except CannotPack as error:
            problems[place] = str(error)
        except Exception as error:  # any error of the module's code
            problems[place] = f"{place} raises {type(error).__name__}: {error}"
        else:
            found[path] = value
    return found
