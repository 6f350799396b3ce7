"""`forge-tui profile`: real workers that measure themselves, and nothing left of them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from native import native_library
from running import SMALL, forge

from forge_tui.protocol.profile import NATIVE_STEP, PHASES, REST, Doubled, OperationCost, PhaseCost, WorkerProfile
from forge_tui.reports.profile import MeasuredWorker, endless
from forge_tui.reports.profile_hints import Conditions, hints
from forge_tui.reports.profile_table import profile_text, time_text
from forge_tui.reports.profile_trace import trace_json
from forge_tui.settings.schema import RunSettings, Settings, TrainingConfig

WORKER = WorkerProfile(
    models=("planner_1",), device="cpu", threads=1, batch_size=32, steps_per_epoch=20, checkpoint_interval=10,
    steps=500, seconds=1.0, cpus=0.98, cpu_wait=0.01,
    phases=(
        PhaseCost("data", 5e-5, "epoch", 1e-3, 25), PhaseCost("data", 5e-5, "step", 5e-5, 475),
        PhaseCost("forward", 4e-4, "step", 4e-4, 500), PhaseCost("backward", 4e-4, "step", 4e-4, 500),
        PhaseCost("checkpoints", 1e-4, "checkpoint", 2e-2, 2),
    ),
    operations=(
        OperationCost("matrix product", "aten::addmm", "forward", 4.0, 2e-4, 0.0),
        OperationCost("matrix product", "aten::mm", "backward", 8.0, 1e-4, 0.0),
        OperationCost("outside operations", "outside operations", "forward", 0.0, 1e-4, 0.0),
    ),
    doubled=Doubled(32, 1e-3, 1.9e-3),
)  # fmt: skip
CHEAP = replace(WORKER, doubled=Doubled(32, 1e-3, 1.1e-3))
QUICK = ("--policy", "dedicated")  # at normal priority
EAGER = ("--kernel", "eager")
BUILT_IN = [phase for phase in PHASES if phase not in (REST, NATIVE_STEP)]
ALONE = Conditions(workers=1, models=1, fuse=1, cpus=1)


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("torch")))


@pytest.mark.usefixtures("_elsewhere")
def test_two_workers_measure_themselves_and_nothing_is_left(tmp_path: Path) -> None:
    done = forge(
        "profile", *SMALL, *EAGER, "--models", "3", "--mode", "parallel", "--workers", "2",
        "--memory-per-worker-gb", "0.1", "--epochs", "1", "--patience", "1", "--checkpoint-interval", "2", "--seconds",
        "0.3", "--json", "--trace", "trace.json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    workers = [WorkerProfile.from_record(record) for record in found["workers"]]
    count = min(2, len(os.sched_getaffinity(0)))  # one for each CPU
    assert sorted(worker.models for worker in workers) == [(f"cognate_planner_{n + 1}",) for n in range(count)]
    for worker in workers:
        assert {cost.phase for cost in worker.phases} == set(BUILT_IN)
        assert all(cost.seconds >= 0 for cost in worker.phases)
        assert sum(map(worker.share, PHASES)) == pytest.approx(1.0)
        assert worker.steps >= 5
        kinds = {one.kind for one in worker.operations}
        assert {"matrix product", "autograd", "outside operations"} <= kinds
        assert {one.phase for one in worker.operations} <= {"data", "forward", "backward", "optimizer"}
        assert worker.doubled is not None
    events = json.loads(Path("trace.json").read_text())["traceEvents"]
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names >= {"worker 1 (cognate_planner_1): phases", f"worker {count} (cognate_planner_{count}): operations"}
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
    assert json.loads(forge("runs", "--json").stdout) == []


@pytest.mark.usefixtures("_elsewhere")
def test_a_group_is_one_worker_and_the_table_says_so() -> None:
    done = forge(
        "profile", "--model-size", "2000", "--policy", "dedicated", "--threads", "1", "--models", "3",
        "--mode", "parallel", "--workers", "1", "--fuse", "3", "--seconds", "0.2", *EAGER,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Worker 1: cognate_planner_1 and 2 more together, cpu, 1 thread; ")
    assert lines[1].split() == ["PHASE", "SHARE", "PER", "STEP", "MEASURED"]
    assert [line.split()[0] for line in lines[2:10]] == BUILT_IN
    assert lines[10].startswith("a step")
    assert any(line.startswith(("hint: ", "no hint: ")) for line in lines)
    assert "measuring each worker for about 0.2 s" in done.stderr


@pytest.mark.usefixtures("_elsewhere")
def test_a_native_step_is_one_phase() -> None:
    native_library()
    done = forge("profile", *SMALL, "--models", "1", "--checkpoint-interval", "2", "--seconds", "0.2", "--json", *QUICK)
    (worker,) = (WorkerProfile.from_record(record) for record in json.loads(done.stdout)["workers"])
    assert {cost.phase for cost in worker.phases} == {NATIVE_STEP, "validation", "records", "checkpoints"}
    (step,) = [cost for cost in worker.phases if cost.phase == NATIVE_STEP]
    assert (step.times, step.every) == (worker.steps, "step")
    assert step.seconds == step.once > 0
    assert (worker.operations, worker.doubled) == ((), None)


FUNCTION = """
import torch
from torch.utils.data import DataLoader, TensorDataset

def train(trial):
    data = DataLoader(TensorDataset(torch.ones(40, 8), torch.ones(40, 1)), batch_size=4)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(trial.epochs):
        for inputs, targets in data:
            loss = (model(inputs) - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trial.report(loss=loss.item())
        trial.checkpoint({"model": model.state_dict()})
"""


@pytest.mark.usefixtures("_elsewhere")
def test_a_training_function_is_measured_by_its_calls(tmp_path: Path) -> None:
    Path("own.py").write_text(FUNCTION)
    given = ("--train", "own.py:train", "--models", "1", "--threads", "1", "--epochs", "100000", *QUICK)
    done = forge("profile", *given, "--seconds", "0.3", "--json", "--trace", "t.json")
    (worker,) = (WorkerProfile.from_record(record) for record in json.loads(done.stdout)["workers"])
    assert worker.is_function
    assert {cost.phase for cost in worker.phases} == {
        "data", "the rest", "backward", "optimizer", "records", "checkpoints",
    }  # fmt: skip
    assert worker.steps_per_epoch in range(5, 16)  # ten steps, as far as whole epochs were measured
    assert {one.phase for one in worker.operations} == {"data", "the rest", "backward", "optimizer"}
    (product,) = [one for one in worker.operations if one.name == "aten::addmm"]
    assert (product.phase, product.calls) == ("the rest", 1.0)
    names = {event["name"] for event in json.loads(Path("t.json").read_text())["traceEvents"]}
    assert {"the rest", "forge-tui: optimizer", "aten::addmm"} <= names
    assert {path.name for path in tmp_path.iterdir()} <= {"own.py", "t.json", "__pycache__"}


@pytest.mark.parametrize("place", ["        for inputs, targets in data:", "    for epoch in range(trial.epochs):"])
@pytest.mark.usefixtures("_elsewhere")
def test_a_training_function_may_have_a_profiler_of_its_own(place: str) -> None:
    """Two at once end the process, or give the first one nothing."""
    indent = " " * (len(place) - len(place.lstrip()) + 4)
    profiler = f"{place}\n{indent}with torch.profiler.profile():\n{indent}    model(torch.ones(1, 8))"
    Path("own.py").write_text(FUNCTION.replace(place, profiler))
    given = (
        "--train",
        "own.py:train",
        "--models",
        "1",
        "--threads",
        "1",
        "--epochs",
        "100000",
        "--seconds",
        "0.2",
        *QUICK,
    )
    (record,) = json.loads(forge("profile", *given, "--json").stdout)["workers"]
    worker = WorkerProfile.from_record(record)
    assert {"data", "the rest", "backward", "optimizer"} <= {cost.phase for cost in worker.phases}
    assert len(worker.operations) == 0 or worker.operations[0].seconds > 0


@pytest.mark.usefixtures("_elsewhere")
def test_a_training_function_without_an_optimizer_cannot_be_measured() -> None:
    Path("own.py").write_text("def train(trial):\n    trial.report(loss=1.0)\n")
    done = forge("profile", "--train", "own.py:train", "--models", "1", "--epochs", "1", *QUICK, status=1)
    assert "ended before enough steps of an optimizer of torch were made" in done.stderr


@pytest.mark.usefixtures("_elsewhere")
def test_a_worker_that_fails_before_says_why(tmp_path: Path) -> None:
    code = "import torch\ndef model(inputs):\n    return torch.nn.Linear(inputs.features, inputs.outputs)\n"
    code += "def loss(outputs, targets):\n    if torch.is_grad_enabled() and len(outputs) > 31:\n"
    code += "        loss.calls = getattr(loss, 'calls', 0) + 1\n        assert loss.calls < 20, 'on purpose'\n"
    code += "    return torch.nn.functional.cross_entropy(outputs, targets)\n"
    Path("own.py").write_text(code)
    done = forge("profile", "--model-type", "own.py:model", "--loss", "own.py:loss", "--threads", "1", *QUICK, status=1)
    assert "cognate_own_1 failed before it was measured: AssertionError: on purpose" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"own.py", "__pycache__"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--", "python", "train.py"), "profile cannot be used with a command of your own"),
        (("--seconds", "0"), "must be more than 0"),
        (("--trace", "nowhere/trace.json"), "there is no directory"),
        (("--dataset", "nowhere.csv"), "nowhere.csv"),
    ],
)
@pytest.mark.usefixtures("_elsewhere")
def test_what_cannot_be_measured_is_refused(given: tuple[str, ...], words: str) -> None:
    assert words in forge("profile", *given, status=2).stderr


def test_the_run_is_the_configured_one_without_an_end(tmp_path: Path) -> None:
    settings = Settings(
        training=TrainingConfig(epochs=3, patience=2),
        run=RunSettings(models=5, on_finish=("mail",), max_seconds=5.0, halving=2),
        sweep={"training.epochs": [1, 2], "training.learning_rate": [0.1, 0.2]},
    )
    found = endless(settings, tmp_path)
    assert (found.training.epochs, found.training.patience) == (1_000_000_000, 1_000_000_000)
    assert found.sweep == {"training.learning_rate": [0.1, 0.2]}
    assert (found.run.models, found.run.on_finish, found.run.max_seconds, found.run.halving) == (5, (), None, None)
    assert endless(Settings(), tmp_path).training.patience == Settings().training.patience


# --- words


def test_the_table_of_a_worker() -> None:
    assert profile_text([WORKER], []).splitlines() == [
        "Worker 1: planner_1, cpu, 1 thread; 500 steps of 32 samples in 1.0 s",
        "PHASE        SHARE  PER STEP  MEASURED",
        "data         10 %   100 µs    1 ms per epoch of 20 steps, every step",
        "forward      40 %   400 µs    every step",
        "backward     40 %   400 µs    every step",
        "checkpoints  10 %   100 µs    20 ms every 10 epochs",
        "a step       100 %  1 ms      1,000 steps/s of this worker",
        "KIND OF OPERATION   SHARE  CALLS  PER STEP  MOST OF IT",
        "matrix product      75 %   12     300 µs    addmm in forward",
        "outside operations  25 %          100 µs    forward",
        "Operations: of 5 steps under torch's profiler, which slows small ones; outside them is Python.",
        "CPUs: 1.0 busy; its steps waited for a CPU 1 % of the time.",
        "Twice the samples: forward and backward take 1.90x as long.",
        "",
        "no hint: nothing stands out in what was measured",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.25e-5, "12.5 µs"), (9.996e-4, "1 ms"), (0.0456, "45.6 ms"), (1.5, "1.5 s")]
)
def test_short_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_a_record_is_read_back() -> None:
    assert WorkerProfile.from_record(json.loads(json.dumps(WORKER.to_record()))) == WORKER


# --- hints


def with_phase(phase: str, seconds: float) -> WorkerProfile:
    return replace(WORKER, phases=(*WORKER.phases, PhaseCost(phase, seconds, "epoch", seconds, 1)))


@pytest.mark.parametrize(
    ("worker", "conditions", "about", "words"),
    [
        (replace(WORKER, cpu_wait=0.4, threads=4), ALONE, "threads", "40 % of the time: try --threads 2 instead of 4"),
        (replace(WORKER, cpu_wait=0.4), Conditions(3, 9, 3, 1), "threads", "try --workers 2 instead of 3"),
        (replace(WORKER, cpu_wait=0.4), Conditions(2, 9, 1, 8), "others", "this run used 1.0 of 8: other programs"),
        (replace(WORKER, threads=8, cpus=1.9), ALONE, "threads", "8 threads kept only 1.9 CPUs busy: try --threads 2"),
        (replace(WORKER, device="cuda", device_busy=0.2), ALONE, "device", "the GPU computed 20 % of the time"),
        (CHEAP, ALONE, "batch size", "take 1.10x as long: try --batch-size 64"),
        (CHEAP, Conditions(1, 6, 2, 1), "batch size", "--fuse 4"),
        (with_phase("data", 1e-3), ALONE, "data", "although the data is in memory"),
        (replace(with_phase("data", 1e-3), data_is_stored=True), ALONE, "data", "each is read from the disk"),
        (with_phase("validation", 1e-3), ALONE, "validation", "validation takes 50 % of the time"),
        (with_phase("checkpoints", 1e-3), ALONE, "checkpoints", "--checkpoint-interval 100 instead of 10"),
        (with_phase("records", 1e-3), ALONE, "records", "an epoch has only 20 steps"),
        (with_phase("records", 1e-3), Conditions(1, 6, 1, 1), "group", "--fuse N"),
        (replace(with_phase("records", 1e-3), is_function=True), ALONE, "records", "report less often"),
        (replace(with_phase("checkpoints", 1e-3), is_function=True), ALONE, "checkpoints", "call it less often"),
        (replace(with_phase("data", 1e-3), is_function=True), ALONE, "data", "DataLoader(num_workers=N)"),
    ],
)  # fmt: skip
def test_a_hint_follows_from_what_was_measured(
    worker: WorkerProfile, conditions: Conditions, about: str, words: str
) -> None:
    (hint,) = [hint for hint in hints([worker], conditions) if hint.about == about]
    assert words in hint.text


def test_what_was_not_measured_gives_no_hint() -> None:
    disturbed = replace(WORKER, doubled=Doubled(32, 1e-3, 5e-4), phases=WORKER.phases[:-1])
    assert hints([disturbed], Conditions(4, 9, 1, 1)) == []
    unknown = replace(WORKER, cpu_wait=None, doubled=None, phases=WORKER.phases[:-1])
    assert hints([unknown], Conditions(4, 9, 1, 1)) == []


# --- the trace


def test_workers_are_on_one_clock_and_apart() -> None:
    torch_events = [
        {"ph": "X", "name": "forge-tui: data", "pid": 77, "tid": 77, "ts": 10.0, "dur": 1.0},
        {"ph": "X", "name": "aten::mm", "pid": 77, "tid": 77, "ts": 12.0, "dur": 1.0},
        {"ph": "M", "name": "process_name", "pid": 77, "tid": 0, "ts": 0, "args": {"name": "python"}},
        {"ph": "X", "name": "PyTorch Profiler (0)", "pid": "Spans", "tid": "Traces", "ts": 9.0, "dur": 9.0},
        {"ph": "i", "name": "Record Window End", "pid": "", "tid": "", "ts": 30.0},
    ]
    trace = {"traceEvents": torch_events}
    first = MeasuredWorker(WORKER, (("data", 5_000_000, 5_004_000),), trace, shift=5_090.0)
    second = MeasuredWorker(WORKER, (("data", 5_050_000, 5_060_000),), trace, shift=5_190.0)
    events = json.loads(trace_json([first, second]))["traceEvents"]
    spans = [(event["pid"], event["name"], event["ts"]) for event in events if event["ph"] == "X"]
    assert spans == [
        (1_000, "data", 0.0), (1_001, "forge-tui: data", 100.0), (1_001, "aten::mm", 102.0),
        (2_000, "data", 50.0), (2_001, "forge-tui: data", 200.0), (2_001, "aten::mm", 202.0),
    ]  # fmt: skip
    labels = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert labels == {
        1_000: "worker 1 (planner_1): phases", 1_001: "worker 1 (planner_1): operations",
        2_000: "worker 2 (planner_1): phases", 2_001: "worker 2 (planner_1): operations",
    }  # fmt: skip
