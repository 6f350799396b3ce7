"""Custom modules that keep something beside their weights, each in one way; a file of a user's, for `--model-type`."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SAMPLES, FEATURES, CLASSES = 60, 5, 3


def dataset() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(SAMPLES, FEATURES, generator=generator)
    return inputs, (inputs @ torch.randn(FEATURES, CLASSES, generator=generator)).argmax(1)


class Base(nn.Module):
    """Linear, and what a subclass adds to its inputs."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.last = nn.Linear(inputs.features, inputs.outputs)

    def shift(self, x: Tensor) -> Any:
        return 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.shift(x))


class Extra(Base):
    """`get_extra_state`, with tensors in it."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.stats: Any = _Stats()

    def get_extra_state(self) -> Any:
        return {"steps": self.stats.steps, "means": [self.stats.mean], 3: ("x", None)}

    def set_extra_state(self, state: Any) -> None:
        assert state[3] == ("x", None)
        self.stats.steps, self.stats.mean = state["steps"], state["means"][0]

    def shift(self, x: Tensor) -> Any:
        if self.training:
            self.stats.steps += 1
            self.stats.mean = 0.9 * self.stats.mean + 0.1 * x.detach().mean()
        return 0.01 * self.stats.steps + self.stats.mean


class _Stats:
    """An object that nobody can keep but through `get_extra_state`."""

    def __init__(self) -> None:
        self.steps, self.mean = 0, torch.zeros(())


class Hidden(Base):
    """A buffer that is not persistent, random at first, changed in place."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.register_buffer("mean", torch.randn(inputs.features), persistent=False)
        self.mean: Tensor

    def shift(self, x: Tensor) -> Any:
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return self.mean


class Replaced(Hidden):
    """The same, with a new tensor in every step, as most people write it."""

    def shift(self, x: Tensor) -> Any:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.mean


class Late(Base):
    """Persistent and other buffers that are None at first, and one that grows."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.register_buffer("mean", None)
        self.register_buffer("hidden", None, persistent=False)
        self.register_buffer("losses", torch.zeros(0))
        self.register_buffer("first", torch.ones(2))

    def shift(self, x: Tensor) -> Any:
        if self.training:
            now = x.detach().mean(0)
            self.mean = now if self.mean is None else 0.9 * self.mean + 0.1 * now
            self.hidden = self.mean.clone()
            self.losses = torch.cat((self.losses, now.sum().reshape(1)))[-50:]
            self.first = None
        return 0.0 if self.mean is None else self.mean + self.hidden + self.losses.mean()


class Expanded(Base):
    """A buffer in which all places share one number."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.register_buffer("scale", torch.full((1,), 0.5).expand(inputs.features))

    def shift(self, x: Tensor) -> Any:
        return self.scale


class Views(Base):
    """A buffer that is a view of another one."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        base = torch.zeros(4)
        self.register_buffer("part", base[:2])
        self.register_buffer("whole", base)

    def shift(self, x: Tensor) -> Any:
        if self.training:
            self.whole.add_(0.01)
        return self.part.sum()


class Counter(Base):
    """A counter, as for annealing."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.steps, self.temperature, self.mode, self.unchanged = 0, 1.0, "warm", [1, 2]

    def shift(self, x: Tensor) -> Any:
        if self.training:
            self.steps += 1
            self.temperature *= 0.99
            self.mode = "cold" if self.steps > 3 else "warm"
        return self.temperature + 0.1 * self.steps


class Nested(Base):
    """Lists, dicts and tuples, in place and anew; one that two parts share; an attribute that goes, one that comes."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.log: list[Any] = []
        self.last.log = self.log  # type: ignore[assignment]
        self.table: dict[Any, Any] = {"a": {"n": (0, None)}, 1: True}
        self.once = 1

    def shift(self, x: Tensor) -> Any:
        if self.training:
            self.log.append(float(x.detach().mean()))
            del self.log[:-10]
            self.table["a"]["n"] = (self.table["a"]["n"][0] + 1, None)
            self.pair = (len(self.log), [self.table["a"]["n"][0]])
            self.__dict__.pop("once", None)
        return sum(self.last.log) + 0.01 * self.table["a"]["n"][0] + getattr(self, "once", 0)  # type: ignore[arg-type]


class Tensors(Base):
    """Tensors and arrays as plain attributes: one that is None at first, one in place with a view of it, and a name of
    another part's."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.mean: Tensor | None = None
        self.whole = torch.zeros(4)
        self.part = self.whole[:2]
        self.counts = np.zeros(3, dtype=np.int16)
        self.same: Tensor | None = None

    def shift(self, x: Tensor) -> Any:
        if self.training:
            now = x.detach().mean(0)
            self.mean = now if self.mean is None else 0.9 * self.mean + 0.1 * now
            self.whole += 0.01
            self.counts[1] += 1
            self.same = self.whole
        found = self.part.sum() + float(self.counts[1]) * 0.01
        return found if self.mean is None or self.same is None else found + self.mean + self.same.sum()


class Noise(Base):
    """Generators of its own."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.torch_one = torch.Generator().manual_seed(3)
        self.numpy_one = np.random.default_rng(4)
        self.python_one = random.Random(5)

    def shift(self, x: Tensor) -> Any:
        if not self.training:
            return 0.0
        drawn = torch.randn(x.shape[-1], generator=self.torch_one)
        return 0.1 * (drawn + self.numpy_one.normal() + self.python_one.random())


class Frozen(Base):
    """A batch normalisation that is frozen, and dropout that is switched off: fine-tuning."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.first = nn.Sequential(nn.BatchNorm1d(inputs.features), nn.Dropout(0.5)).requires_grad_(False).eval()

    def shift(self, x: Tensor) -> Any:
        return self.first(x + 3)


class HalfFrozen(Base):
    """A first layer that is not trained."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.first = nn.Linear(inputs.features, inputs.features, bias=False).requires_grad_(False)
        nn.init.eye_(self.first.weight)

    def shift(self, x: Tensor) -> Any:
        return self.first(x)


class FreezesLater(Base):
    """Its batch normalisation trains for some steps only; its first layer begins to train then."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.steps = 0
        self.norm = nn.BatchNorm1d(inputs.features)
        self.first = nn.Linear(inputs.features, inputs.features).requires_grad_(False)

    def shift(self, x: Tensor) -> Any:
        if self.training:
            self.steps += 1
            if self.steps == 7:
                self.norm.requires_grad_(False).eval()
                self.first.requires_grad_(True)
        return self.first(self.norm(x))


class TurnsItself(Base):
    """Puts its normalisation into eval mode in its first step, without counting: modes alone tell that."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.norm = nn.BatchNorm1d(inputs.features)

    def shift(self, x: Tensor) -> Any:
        found = self.norm(x + 3)
        self.norm.eval()
        return found


class Keeps(Base):
    """An object that nobody can keep."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.inner = nn.Module()
        self.inner.stats = _Stats()  # type: ignore[assignment]

    def shift(self, x: Tensor) -> Any:
        if self.training:
            self.inner.stats.steps += 1
        return 0.01 * self.inner.stats.steps


class OneWay(Base):
    """Gives an extra state and takes none."""

    def get_extra_state(self) -> Any:
        return 1


class Odd(Base):
    """Gives an extra state of a type that cannot be kept."""

    def get_extra_state(self) -> Any:
        return {"names": {"a", "b"}}

    def set_extra_state(self, state: Any) -> None:
        raise AssertionError("there is nothing to set")


class Large(Base):
    """Remembers what it saw last: more than a checkpoint takes."""

    def shift(self, x: Tensor) -> Any:
        self.seen = torch.zeros((65 << 20) // 4)
        return 0.0


class Normed(Base):
    """The older `weight_norm`: a weight that a hook computes anew in every pass, as a plain attribute."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.first = nn.utils.weight_norm(nn.Linear(inputs.features, inputs.features))

    def shift(self, x: Tensor) -> Any:
        return self.first(x)


class Drawn(Base):
    """A plain attribute that the seed decides."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.power = float(torch.rand(()))

    def shift(self, x: Tensor) -> Any:
        return self.power


class Captured(Base):
    """A function that holds the module it belongs to: a copy of the module calls the original's."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.scale = nn.Parameter(torch.rand(inputs.features))
        self.function = lambda x: x * self.scale

    def shift(self, x: Tensor) -> Any:
        return self.function(x)


class Merging(Base):
    """Merges a weight into another one while it is evaluated, as adapters do."""

    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.adapter = nn.Parameter(torch.full((inputs.outputs, inputs.features), 0.1))

    def train(self, mode: bool = True) -> Merging:
        if mode is not self.training:
            with torch.no_grad():
                self.last.weight += self.adapter if not mode else -self.adapter
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        out = self.last(x)
        return out + x @ self.adapter.t() if self.training else out


def base(inputs: Any) -> nn.Module:
    return Base(inputs)


def extra(inputs: Any) -> nn.Module:
    return Extra(inputs)


def hidden(inputs: Any) -> nn.Module:
    return Hidden(inputs)


def replaced(inputs: Any) -> nn.Module:
    return Replaced(inputs)


def late(inputs: Any) -> nn.Module:
    return Late(inputs)


def expanded(inputs: Any) -> nn.Module:
    return Expanded(inputs)


def views(inputs: Any) -> nn.Module:
    return Views(inputs)


def counter(inputs: Any) -> nn.Module:
    return Counter(inputs)


def nested(inputs: Any) -> nn.Module:
    return Nested(inputs)


def tensors(inputs: Any) -> nn.Module:
    return Tensors(inputs)


def noise(inputs: Any) -> nn.Module:
    return Noise(inputs)


def frozen(inputs: Any) -> nn.Module:
    return Frozen(inputs)


def half_frozen(inputs: Any) -> nn.Module:
    return HalfFrozen(inputs)


def freezes_later(inputs: Any) -> nn.Module:
    return FreezesLater(inputs)


def turns_itself(inputs: Any) -> nn.Module:
    return TurnsItself(inputs)


def keeps(inputs: Any) -> nn.Module:
    return Keeps(inputs)


def one_way(inputs: Any) -> nn.Module:
    return OneWay(inputs)


def odd(inputs: Any) -> nn.Module:
    return Odd(inputs)


def large(inputs: Any) -> nn.Module:
    return Large(inputs)


def normed(inputs: Any) -> nn.Module:
    return Normed(inputs)


def traced(inputs: Any) -> nn.Module:
    """A module that torch.jit made."""
    made: nn.Module = torch.jit.trace(Base(inputs), torch.zeros(2, inputs.features))
    return made


def drawn(inputs: Any) -> nn.Module:
    return Drawn(inputs)


def captured(inputs: Any) -> nn.Module:
    return Captured(inputs)


def merging(inputs: Any) -> nn.Module:
    return Merging(inputs)
