"""How many events a second reach run.db, and what handing one over costs the runner: prints a table.

python tests/benchmarks/store_throughput.py [EVENTS] [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from forge_tui.protocol.events import Decision, EpochFinished, Event
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.run_info import RunInfo
from forge_tui.runs.reader import RunReader
from forge_tui.runs.store import RunStore

MODELS = 12


def events(count: int) -> list[Event]:
    """Epochs of twelve models in turn, and a decision every hundred."""
    made: list[Event] = []
    for number in range(count):
        if number % 100 == 99:
            made.append(Decision(time=float(number), kind="admit", reason="there is room for one more worker"))
            continue
        index, epoch = number % MODELS + 1, number // MODELS + 1
        made.append(
            EpochFinished(
                time=1e9 + number, model=f"cognate_planner_{index}", index=index, attempt=1, epoch=epoch, epochs=10**6,
                step=20 * epoch, best_loss=1.0 / epoch, seconds=0.02, eta_seconds=12.5,
                metrics={
                    "loss": 1.0 / epoch, "validation_loss": 1.1 / epoch, "validation_accuracy": 0.5,
                    "learning_rate": 1e-3, "steps_per_second": 1_000.0,
                },
            )
        )  # fmt: skip
    return made


def measure(count: int) -> tuple[float, float]:
    """Events a second from the first append to the end of the last transaction, and microseconds an append."""
    with tempfile.TemporaryDirectory(dir=".") as directory:
        path = Path(directory)
        info = RunInfo(
            run="bench", path=directory, mode="parallel", policy="dedicated", model_type="planner", models=MODELS,
            epochs=10**6, created=time.time(),
        )  # fmt: skip
        models = [ModelState(name=f"m{i}", index=i, seed=i, epochs=10**6) for i in range(1, MODELS + 1)]
        happened = events(count)
        store = RunStore.create(path / "run.db", info, models)
        start = time.perf_counter()
        for event in happened:
            store.append(event)
        appended = time.perf_counter()
        complete = store.flush(timeout=600.0)
        end = time.perf_counter()
        store.close()
        last = RunReader(path).events(since_seq=count - 1)
        if not complete or [seq for seq, _ in last] != [count]:
            raise SystemExit(f"not all events were written: {store.problem}")
        return count / (end - start), 1e6 * (appended - start) / count


def main() -> None:
    """Measure, and print the median and the range."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    rates, costs = zip(*(measure(count) for _ in range(rounds)), strict=True)
    print(f"{count} events, {rounds} rounds      median        from          to")
    print(f"durable events/s     {statistics.median(rates):14,.0f} {min(rates):11,.0f} {max(rates):11,.0f}")
    print(f"append, µs           {statistics.median(costs):14.2f} {min(costs):11.2f} {max(costs):11.2f}")


if __name__ == "__main__":
    main()
