"""Custom code: a convolutional network and its data, drawn digits.

`settings.toml` beside this file names these functions. Each gets its arguments by name: those that forge-tui provides
(below), and the values under `[model]` in the settings or of `--set model.NAME=VALUE`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from forge_tui import InputSpec

DIGITS = """
### .#. ### ### #.# ### ### ### ### ###
#.# ##. ..# ..# #.# #.. #.. ..# #.# #.#
#.# .#. ### ### ### ### ### ..# ### ###
#.# .#. #.. ..# ..# ..# #.# ..# #.# ..#
### ### ### ### ..# ### ### ..# ### ###
"""
SIDE = 12


def model(inputs: InputSpec, channels: int = 16) -> nn.Module:
    """The network, with random weights: forge-tui seeds torch before the call.

    `inputs.shape` is the shape of one sample, here (1, 12, 12); flat features (N, F) have `inputs.features` instead,
    and tokens `inputs.vocabulary`. `inputs.outputs` is the number of classes, or of targets.
    """
    assert inputs.shape is not None
    return nn.Sequential(
        nn.Conv2d(inputs.shape[0], channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * (SIDE // 4) ** 2, inputs.outputs),
    )


def dataset(seed: int, samples: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 12, 12) and their digits (N,): tensors or arrays, or a `Dataset` or any iterable of such pairs.

    `seed` is the run's, `samples` the setting under `[data]`. Integer targets are classes, other numbers a regression.
    forge-tui splits off the validation split; to provide your own, return four tensors.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = [row.split() for row in DIGITS.split("\n") if row]
    font = torch.tensor([[[mark == "#" for mark in row[digit]] for row in rows] for digit in range(10)]).float()
    large = functional.interpolate(font.unsqueeze(1), scale_factor=2).squeeze(1)  # (10, 10, 6)
    digits = torch.randint(10, (samples,), generator=generator)
    down, right = (torch.randint(room + 1, (samples,), generator=generator) for room in (SIDE - 10, SIDE - 6))
    images = 0.4 * torch.randn(samples, 1, SIDE, SIDE, generator=generator)
    for number in range(samples):
        y, x = int(down[number]), int(right[number])
        images[number, 0, y : y + 10, x : x + 6] += large[digits[number]]
    return images, digits


def loss(outputs: Tensor, targets: Tensor, focus: float = 2.0) -> Tensor:
    """Focal loss, the mean over a batch: cross entropy with less weight on samples that are predicted well.

    Only used if the settings name it: `loss = "network.py"`. By default the loss depends on the data.
    """
    cross_entropy = functional.cross_entropy(outputs, targets, reduction="none")
    return ((1 - torch.exp(-cross_entropy)) ** focus * cross_entropy).mean()
