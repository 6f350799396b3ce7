"""A training loop of your own: forge-tui calls `train` once per model, in a process of its own.

`settings.toml` beside this file names this file. `trial` is what a model is trained with; every other parameter gets
the value under `[model]` that has its name, in the settings or of `--set model.NAME=VALUE`.
"""

import torch
from torch import Tensor, nn

import forge_tui


def spirals(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (N, 2) on two spirals, and which spiral each is on (N,), as 0.0 or 1.0."""
    on = torch.randint(2, (count,), generator=generator)
    radius = torch.rand(count, generator=generator)
    angle = 7 * radius + torch.pi * on
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return points + 0.01 * torch.randn(count, 2, generator=generator), on.float()


def train(trial: forge_tui.Trial, lr: float = 0.01, width: int = 32) -> None:
    """Train one model: Python's, NumPy's and torch's generators are seeded with `trial.seed`."""
    model = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    model.to(trial.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(0)  # the same data for every model
    points, targets = (part.to(trial.device) for part in spirals(1000, generator))
    held_out, answers = (part.to(trial.device) for part in spirals(200, generator))

    begun = 0
    if (state := trial.restore()) is not None:  # after a kill, a stop or a failure; random states are restored, too
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begun = state["epoch"]

    for epoch in range(begun + 1, trial.epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(points)).split(50):
            loss = nn.functional.binary_cross_entropy_with_logits(model(points[rows]).squeeze(1), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        with torch.no_grad():
            outputs = model(held_out).squeeze(1)
            validation_loss = nn.functional.binary_cross_entropy_with_logits(outputs, answers)
            accuracy = ((outputs > 0) == (answers > 0.5)).float().mean()
        # Any other number has a name of its own, as here: {"my/metric": value}. Pauses and stops happen in these calls.
        trial.report(
            loss=total / len(points), validation_loss=validation_loss, validation_accuracy=accuracy, epoch=epoch
        )
        trial.checkpoint({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch})
    trial.save(model)
