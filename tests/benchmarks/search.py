"""TPE against random search on functions with a known optimum: prints a table.

python tests/benchmarks/search.py [--seeds 20] [--trials 60] [--workers 1 4]

The samplers are those of a run, asked as a run asks them: trial by trial, each with its seed and number, and told the
results so far. With several workers as many trials run at a time, and each ends after all that began before it.
Counted is the regret: the least value so far less the optimum. `wins`: seeds of which TPE ends lower. Needs the extra
`search`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ui_support import machine

from forge_tui.runner.search.draws import drawn
from forge_tui.runner.search.tpe import proposed
from forge_tui.runner.search.trials import Trial, TrialState, key_of
from forge_tui.settings.space import Choices, Dimension, Range

Propose = Callable[[int, int, Sequence[Trial]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Problem:
    """A function to minimise, its space and its optimum."""

    name: str
    space: Mapping[str, Dimension]
    value: Callable[[Mapping[str, Any]], float]
    optimum: float


def branin(at: Mapping[str, Any]) -> float:
    """Branin's function (Dixon and Szegö 1978): three minima of 0.397887."""
    x, y = at["x"], at["y"]
    bent = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return bent**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


_HARTMANN_WEIGHTS = (1.0, 1.2, 3.0, 3.2)
_HARTMANN_SCALES = (
    (10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14),
)  # fmt: skip
_HARTMANN_PLACES = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886), (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650), (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)  # fmt: skip


def hartmann(at: Mapping[str, Any]) -> float:
    """Hartmann's function of six settings (Dixon and Szegö 1978): one minimum of −3.32237."""
    place = [at[f"x{number}"] for number in range(6)]
    total = 0.0
    for weight, scales, center in zip(_HARTMANN_WEIGHTS, _HARTMANN_SCALES, _HARTMANN_PLACES, strict=True):
        total -= weight * math.exp(-sum(s * (x - c) ** 2 for s, x, c in zip(scales, place, center, strict=True)))
    return total


def training(at: Mapping[str, Any]) -> float:
    """As settings of training: a learning rate on a log scale, whole numbers, a list; minimum 0."""
    rate = math.log10(at["rate"]) + 2.5
    return rate**2 + ((at["width"] - 200) / 200) ** 2 + {"adam": 0.0, "sgd": 0.4, "muon": 0.2}[at["optimizer"]]


PROBLEMS = (
    Problem("Branin", {"x": Range(-5.0, 10.0), "y": Range(0.0, 15.0)}, branin, 0.397887),
    Problem("Hartmann 6", {f"x{number}": Range(0.0, 1.0) for number in range(6)}, hartmann, -3.32237),
    Problem(
        "rate, width, optimizer",
        {
            "rate": Range(1e-5, 1.0, log=True),
            "width": Range(16, 1024, log=True, whole=True),
            "optimizer": Choices(("adam", "sgd", "muon")),
        },
        training,
        0.0,
    ),
)  # fmt: skip


def regrets(problem: Problem, propose: Propose, seed: int, trials: int, workers: int) -> list[float]:
    """The regret after each trial, in the order in which they end."""
    running: list[Trial] = []
    told: list[Trial] = []
    best, found = math.inf, []
    for number in range(1, trials + 1):
        if len(running) == workers:
            first = running.pop(0)
            told.append(replace(first, state=TrialState.COMPLETE, value=problem.value(first.values)))
        known = sorted([*told, *running], key=lambda trial: trial.number)
        running.append(Trial(number=number, values=propose(seed, number, known)))
        best = min(best, problem.value(running[-1].values))
        found.append(best - problem.optimum)
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    at = sorted({options.trials // 3, 2 * options.trials // 3, options.trials})
    print(f"{machine()}; median regret of {options.seeds} seeds after so many trials")
    print(f"{'':<24}{'workers':>8}  {'sampler':<8}" + "".join(f"{count:>10}" for count in at) + f"{'wins':>8}")
    for problem in PROBLEMS:
        for workers in options.workers:
            samplers: dict[str, Propose] = {
                "random": lambda seed, number, trials, space=problem.space: drawn(
                    space, seed, number, {key_of(trial.values) for trial in trials}
                ),
                "tpe": lambda seed, number, trials, space=problem.space: proposed(space, seed, number, trials)[0],
            }
            courses = {
                name: [regrets(problem, one, seed, options.trials, workers) for seed in range(options.seeds)]
                for name, one in samplers.items()
            }
            pairs = zip(courses["random"], courses["tpe"], strict=True)
            wins = sum(tpe[-1] < random[-1] for random, tpe in pairs)
            for name, course in courses.items():
                medians = "".join(f"{statistics.median(one[count - 1] for one in course):>10.4f}" for count in at)
                shown = f"{wins}/{options.seeds}" if name == "tpe" else ""
                print(f"{problem.name:<24}{workers:>8}  {name:<8}{medians}{shown:>8}")


if __name__ == "__main__":
    main()
