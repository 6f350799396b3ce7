"""A peer of `training.py`: all models as one program of JAX, as people write it for many small networks.

python jax_peer.py --given FILE --output FILE

`--given` is what `training_peers.py prepare` wrote: data, initial weights of each model and the order of its samples.
The planners are mapped by `vmap`, an epoch is one jitted `lax.scan` over its batches, Adam is optax's. Writes one JSON
line a model: its loss of every epoch. Imports no torch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

Weights = dict[str, jax.Array]


def _linear(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _planner(weights: Weights, x: jax.Array) -> jax.Array:
    """(N, features) → (N, outputs), as `forge_tui.training.models.planner.Planner`."""
    x = _linear(weights, "enter", x)
    depth = sum(name.endswith("norm.weight") for name in weights)
    for block in range(depth):
        centred = x - x.mean(axis=-1, keepdims=True)
        normed = centred * jax.lax.rsqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)
        normed = normed * weights[f"blocks.{block}.norm.weight"] + weights[f"blocks.{block}.norm.bias"]
        x = x + _linear(
            weights, f"blocks.{block}.outer", jax.nn.relu(_linear(weights, f"blocks.{block}.inner", normed))
        )
    return _linear(weights, "leave", x)


def train(given: dict[str, np.ndarray]) -> np.ndarray:
    """The loss of every model and epoch, (models, epochs)."""
    inputs, targets, orders = jnp.asarray(given.pop("inputs")), jnp.asarray(given.pop("targets")), given.pop("orders")
    optimizer = optax.adam(0.001)

    def loss(weights: Weights, rows: jax.Array) -> jax.Array:
        out = _planner(weights, inputs[rows])
        return optax.softmax_cross_entropy_with_integer_labels(out, targets[rows]).mean()

    def step(
        state: tuple[Weights, optax.OptState], rows: jax.Array
    ) -> tuple[tuple[Weights, optax.OptState], jax.Array]:
        weights, moments = state
        value, gradients = jax.value_and_grad(loss)(weights, rows)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(weights, updates), moments), value

    def epoch(
        weights: Weights, moments: optax.OptState, batches: jax.Array
    ) -> tuple[Weights, optax.OptState, jax.Array]:
        (weights, moments), losses = jax.lax.scan(step, (weights, moments), batches)
        return weights, moments, losses.mean()

    together = jax.jit(jax.vmap(epoch), donate_argnums=(0, 1))
    weights = {name: jnp.asarray(value) for name, value in given.items()}
    moments = jax.vmap(optimizer.init)(weights)
    found = []
    for number in range(orders.shape[1]):
        weights, moments, losses = together(weights, moments, orders[:, number])
        found.append(np.asarray(losses))  # a record of every epoch, as the others keep
    return np.stack(found, axis=1)


def main() -> None:
    """Train, and write the losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--given", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    with np.load(options.given) as file:
        given = dict(file)
    lines = (json.dumps(losses) + "\n" for losses in train(given).tolist())
    options.output.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
