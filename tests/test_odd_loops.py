"""Loops that no trainer has, as training functions: adversarial networks, and reinforcement learning.

Each is run undisturbed, and killed with SIGKILL at random points: both end with the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from held_runs import HOLD, record_of, reported, run_twice

GAN = """
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce


def train(trial, kills: str = ""):
    # The generator learns to draw from a normal distribution of mean 3.
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    critic = nn.Sequential(nn.Linear(1, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    optimizers = [torch.optim.Adam(part.parameters(), lr=0.01, betas=(0.5, 0.9)) for part in (generator, critic)]
    parts = {"generator": generator, "critic": critic, "of_generator": optimizers[0], "of_critic": optimizers[1]}
    begun = 0
    if (state := trial.restore()) is not None:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        begun = state["epoch"]
    for epoch in range(begun + 1, trial.epochs + 1):
        for step in range(1, 6):
            hold(trial, kills, epoch, step)
            real, drawn = 3 + torch.randn(64, 1), generator(torch.randn(64, 4))
            right = bce(critic(real), torch.ones(64, 1)) + bce(critic(drawn.detach()), torch.zeros(64, 1))
            optimizers[1].zero_grad()
            right.backward()
            optimizers[1].step()
            fooled = bce(critic(drawn), torch.ones(64, 1))
            optimizers[0].zero_grad()
            fooled.backward()
            optimizers[0].step()
        trial.report({"loss/critic": right}, loss=fooled, mean=drawn.mean(), epoch=epoch)
        trial.checkpoint({name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch})
    trial.save(generator)
"""
POLICY = """
import random

import numpy as np
import torch
from torch import nn


def walk(policy):
    # Six squares in a row, from the second: the last one pays 1, the first one ends the walk, a gust moves at random.
    square, chosen = 1, []
    while 0 < square < 5 and len(chosen) < 20:
        action = torch.distributions.Categorical(logits=policy(torch.eye(6)[square]))
        move = action.sample()
        chosen.append(action.log_prob(move))
        step = random.choice((-1, 1)) if np.random.rand() < 0.1 else 2 * move.item() - 1
        square += step
    return torch.stack(chosen).sum(), float(square == 5)


def train(trial, kills: str = ""):
    policy = nn.Linear(6, 2)
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    begun, usual = 0, 0.0
    if (state := trial.restore()) is not None:
        policy.load_state_dict(state["policy"])
        optimizer.load_state_dict(state["optimizer"])
        begun, usual = state["epoch"], state["usual"]
    for epoch in range(begun + 1, trial.epochs + 1):
        rewards = []
        for step in range(1, 6):
            hold(trial, kills, epoch, step)
            log_probability, reward = walk(policy)
            optimizer.zero_grad()
            (-(reward - usual) * log_probability).backward()
            optimizer.step()
            usual += 0.1 * (reward - usual)
            rewards.append(reward)
        trial.report(reward=sum(rewards) / 5, epoch=epoch, goal={"reward": "higher"})
        trial.checkpoint({"policy": policy.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch,
                          "usual": usual})
    trial.save(policy)
"""


def test_a_gan_that_is_killed_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    (tmp_path / "gan.py").write_text(HOLD + GAN, encoding="utf-8")
    whole, _ = run_twice(tmp_path, "--train", "gan.py", seed=20261202, epochs=40, steps=5)
    rows = reported(record_of(whole, "cognate_gan_1.safetensors"))
    assert set(rows[0][1]) == {"loss", "loss/critic", "mean"}
    assert abs(rows[0][1]["mean"]) < 1.5 < rows[-1][1]["mean"]


def test_a_policy_gradient_that_is_killed_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    """Its walks draw from the generators of Python, NumPy and torch; no loss is reported."""
    (tmp_path / "walk.py").write_text(HOLD + POLICY, encoding="utf-8")
    whole, _ = run_twice(tmp_path, "--train", "walk.py", seed=20261203, epochs=60, steps=5)
    for number in (1, 2, 3):
        rewards = [row["reward"] for _, row in reported(record_of(whole, f"cognate_walk_{number}.safetensors"))]
        assert sum(rewards[:10]) < sum(rewards[-10:])
        assert sum(rewards[-10:]) > 9
