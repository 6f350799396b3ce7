"""Makes the runs that are kept under `tests/fixtures/`: one set for each version that wrote another format.

python tests/support/make_runs.py tests/fixtures/runs-0.1.0 [--only NAME …] [--place /tmp/forge-tui-runs]

Run it with the code of the version whose runs are to be kept: that is the `forge_tui` that this interpreter imports
(`PYTHONPATH=DIRECTORY` names another). Every case trains below `PLACE/NAME`, which becomes `NAME.tar.gz`:

    project/        the files that the run was started with, and where it was started
    project/run/    the run directory
    state/          the state directory of its user: the list of known runs

and an entry of `manifest.json`: how it was made, where, by what, how it stands, what its finished models give, and the
SHA-256 of each NAME.safetensors that an undisturbed run with the same arguments gives. `older_runs.py` unpacks them. A
later version adds a directory of its own and leaves the older ones as they are: nobody can make them again. Linux.

`format-1` was written by commit ef92c1c~5, which had the version 0.1.0 already and run.db of format 1:
    git archive ef92c1c~5 | tar -x -C DIRECTORY
    PYTHONPATH=DIRECTORY python tests/support/make_runs.py tests/fixtures/runs-0.1.0 --only format-1
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FAULTS = Path(__file__).resolve().parent / "faults"
SMALL = ("--model-size", "1000", "--policy", "dedicated", "--threads", "1")
QUICK = ("--samples", "200", "--features", "8", "--classes", "3", "--checkpoint-interval", "2")
PACE = {"do": "pace", "seconds": 0.1, "epoch": 1}
_SECONDS = 120.0

NET = '''\
"""A network and data of its own; what it is made of lies beside it."""

import torch
from parts import block
from torch import nn


def model(inputs, hidden: int = 12):
    return nn.Sequential(block(inputs.features, hidden), nn.Linear(hidden, inputs.outputs))


def dataset(seed, samples):
    features = torch.randn(samples, 6, generator=torch.Generator().manual_seed(seed))
    return features, (features[:, 0] * features[:, 1] > 0).long()


def loss(outputs, targets, smoothing: float = 0.05):
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=smoothing)


def metric(outputs, targets):
    return (outputs.argmax(dim=1) == targets).float().mean()
'''
PARTS = '''\
"""Imported by net.py."""

from torch import nn


def block(wide, hidden):
    return nn.Sequential(nn.Linear(wide, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
'''


def table(rows: int = 160) -> str:
    """A regression as CSV: three features, `target`."""
    chosen = random.Random(11)
    lines = ["a,b,c,target"]
    for _ in range(rows):
        a, b, c = (chosen.uniform(-1, 1) for _ in range(3))
        lines.append(f"{a:.4f},{b:.4f},{c:.4f},{50 + 10 * a - 4 * b * c + chosen.gauss(0, 0.3):.4f}")
    return "\n".join(lines) + "\n"


def prose(words: int = 900) -> str:
    """Text for a language model."""
    chosen = random.Random(12)
    return " ".join(chosen.choice(["to", "be", "or", "not", "that", "is", "the", "question"]) for _ in range(words))


class Making:
    """One case while it is made: its place, its commands, and what to wait for."""

    def __init__(self, place: Path, case: Case) -> None:
        self.place, self.case = place, case
        self.project, self.run = place / "project", place / "project" / "run"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FORGE_TUI_")},
            "XDG_STATE_HOME": str(place / "state"),
            "XDG_CONFIG_HOME": str(place / "config"),
        }

    def forge(self, *arguments: str | Path, faults: bool = True, statuses: tuple[int, ...] = (0,)) -> None:
        """Run `forge-tui ARGUMENTS` in the project to its end."""
        environment = dict(self.environment)
        if faults and self.case.faults:
            ours = [str(FAULTS), *filter(None, [environment.get("PYTHONPATH")])]
            environment |= {"PYTHONPATH": os.pathsep.join(ours), "WORKER_FAULTS": json.dumps(self.case.faults)}
        done = subprocess.run(
            [sys.executable, "-m", "forge_tui", *map(str, arguments)],
            cwd=self.project, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode not in statuses:
            raise SystemExit(f"{self.case.name}: {arguments} ended with {done.returncode}\n{done.stdout}{done.stderr}")

    def start(self, *more: str) -> None:
        """Start the run and return."""
        self.forge("--no-ui", "--detach", *self.case.arguments, *more, "--output", "run")

    def train(self, *more: str, statuses: tuple[int, ...] = (0,)) -> None:
        """Start the run and wait for its end."""
        self.forge("--no-ui", *self.case.arguments, *more, "--output", "run", statuses=statuses)

    def models(self) -> dict[int, dict[str, Any]]:
        """The records of the models as they stand now, by index; read without this package."""
        with contextlib.closing(sqlite3.connect(f"file:{self.run}/run.db?mode=ro", uri=True)) as database:
            return {
                index: json.loads(text) for index, text in database.execute("SELECT model_index, record FROM models")
            }

    def state(self) -> str:
        """The state that the run has recorded."""
        with contextlib.closing(sqlite3.connect(f"file:{self.run}/run.db?mode=ro", uri=True)) as database:
            return str(json.loads(database.execute("SELECT record FROM run").fetchone()[0])["state"])

    def wait_for_epoch(self, index: int, epoch: int) -> None:
        """Until that model has come so far."""
        self.wait(lambda: self.models()[index]["epoch"] >= epoch, f"epoch {epoch} of model {index}")

    def wait_for_end(self) -> None:
        """Until nobody trains any more."""
        self.wait(lambda: self.state() in ("completed", "failed", "stopped", "killed"), "the end")
        self.wait(lambda: not self.holders(), "the last process")

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Poll a condition; give up after two minutes."""
        deadline = time.monotonic() + _SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.case.name}: waited {_SECONDS:g} s in vain for {what}")
            time.sleep(0.02)

    def holders(self) -> list[int]:
        """The processes that have the run's lock open."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if any(os.readlink(entry.path) == f"{self.run}/lock" for entry in os.scandir(f"/proc/{name}/fd")):
                    found.append(int(name))
        return found

    def kill_at_once(self) -> None:
        """`kill -9` of the runner, its fork server and all workers, none of which does anything meanwhile."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in self.holders():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.wait(lambda: not self.holders(), "the end of the killed processes")


@dataclass(frozen=True, slots=True)
class Case:
    """A run to keep. `compare`: the bytes of an undisturbed run are recorded beside it."""

    name: str
    about: str
    arguments: tuple[str, ...]
    make: Callable[[Making], None]
    files: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, Any] = field(default_factory=dict)
    compare: bool = False


def _whole(making: Making) -> None:
    making.train()


def _stopped_at(index: int, epoch: int) -> Callable[[Making], None]:
    def make(making: Making) -> None:
        making.start()
        making.wait_for_epoch(index, epoch)
        making.forge("stop", "run")
        making.wait_for_end()

    return make


def _killed_at(index: int, epoch: int) -> Callable[[Making], None]:
    def make(making: Making) -> None:
        making.start()
        making.wait_for_epoch(index, epoch)
        making.kill_at_once()

    return make


def _failed_and_cancelled(making: Making) -> None:
    making.start()
    making.wait_for_epoch(3, 2)
    making.forge("cancel", "run", "3")
    making.wait_for_end()


def _overwritten(making: Making) -> None:
    making.train()
    making.train("--overwrite", "--seed", "5")


def _paced(word: str, count: int) -> dict[str, Any]:
    return {f"cognate_{word}_{index}": PACE for index in range(1, count + 1)}


_ONE = ("--fuse", "1")
_PLANNERS = (*SMALL, *_ONE, *QUICK, "--models", "3", "--epochs", "6")
CASES = (
    Case("completed", "three planners, one after another, with checkpoints", _PLANNERS, _whole, compare=True),
    Case(
        "stopped", "stopped while model 2 of 3 was trained", (*_PLANNERS, "--epochs", "12"), _stopped_at(2, 5),
        faults=_paced("planner", 3), compare=True,
    ),
    Case(
        "format-1", "the same, by code that wrote run.db of format 1", (*_PLANNERS, "--epochs", "12"),
        _stopped_at(2, 5), faults=_paced("planner", 3), compare=True,
    ),
    Case(
        "died", "a regression from a CSV; all its processes were killed, the WAL lies as they left it",
        (*SMALL, *_ONE, "--dataset", "data.csv", "--checkpoint-interval", "2", "--models", "3", "--epochs", "12",
         "--mode", "parallel", "--workers", "2"),
        _killed_at(1, 5), files={"data.csv": table()}, faults=_paced("planner", 3), compare=True,
    ),
    Case(
        "failed", "model 2 failed twice, model 3 was cancelled, 1 and 4 are complete",
        (*SMALL, *_ONE, *QUICK, "--models", "4", "--epochs", "6", "--max-retries", "1"), _failed_and_cancelled,
        faults={**_paced("planner", 4), "cognate_planner_2": {"do": "raise", "epoch": 4}},
    ),
    Case(
        "sweep", "two seeds of three learning rates, in groups of up to three models",
        (*SMALL, *QUICK, "--fuse", "3", "--mode", "parallel", "--workers", "2", "--models", "2", "--epochs", "6",
         "--sweep", "learning_rate=0.001,0.003,0.01"), _whole,
    ),
    Case(
        "groups", "two groups of two models, stopped",
        (*SMALL, *QUICK, "--fuse", "2", "--mode", "parallel", "--workers", "2", "--models", "4", "--epochs", "12"),
        _stopped_at(1, 5), faults=_paced("planner", 4), compare=True,
    ),
    Case(
        "custom", "model, dataset, loss and metric of net.py, which imports parts.py; stopped in model 2; on_finish",
        ("--model-type", "net.py", "--dataset", "net.py", "--loss", "net.py", "--metric", "net.py", "--policy",
         "dedicated", "--threads", "1", *_ONE, "--samples", "200", "--checkpoint-interval", "2", "--models", "3",
         "--epochs", "12", "--set", "model.hidden=16", "--on-finish", '["touch", "finished-{state}"]'),
        _stopped_at(2, 5), files={"net.py": NET, "parts.py": PARTS}, faults=_paced("net", 3), compare=True,
    ),
    Case(
        "early-stopping", "models that stopped before their last epoch, with the weights of their best",
        (*SMALL, *_ONE, *QUICK, "--models", "2", "--epochs", "60", "--patience", "3", "--learning-rate", "0.03"),
        _whole,
    ),
    Case(
        "halving", "eight models with successive halving, stopped between two rungs",
        (*SMALL, *_ONE, *QUICK, "--models", "8", "--epochs", "16", "--mode", "parallel", "--workers", "2",
         "--halving", "2", "--halving-first", "2"), _stopped_at(4, 3), faults=_paced("planner", 8),
    ),
    Case(
        "architectures", "a planner, a reasoner and a memory network of table data",
        (*SMALL, *_ONE, *QUICK, "--models", "1", "--epochs", "4", "--sweep", "model_type=planner,reasoner,memory"),
        _whole,
    ),
    Case(
        "text", "language models of a text: token input, several outputs a sample",
        ("--model-size", "3000", *SMALL[2:], *_ONE, "--dataset", "prose.txt", "--checkpoint-interval", "2", "--models",
         "1", "--epochs", "4", "--sweep", "model_type=reasoner,memory"), _whole, files={"prose.txt": prose()},
    ),
    Case(
        "modular", "modular arithmetic: token input, one output a sample",
        (*SMALL, *_ONE, "--dataset", "modular", "--prime", "11", "--checkpoint-interval", "2", "--models", "1",
         "--epochs", "4", "--sweep", "model_type=planner,reasoner,memory"), _whole,
    ),
    Case(
        "overwritten", "a run in the place of an earlier one, which lies in previous-1",
        (*SMALL, *_ONE, *QUICK, "--models", "2", "--epochs", "4"), _overwritten,
    ),
)  # fmt: skip


def main() -> int:
    """Make the runs and pack them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixtures", type=Path, help="where the packed runs are kept")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="make these alone, and keep the other ones")
    parser.add_argument("--place", type=Path, default=Path("/tmp/forge-tui-runs"), help="where they are trained")
    given = parser.parse_args()
    unknown = set(given.only or ()) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    given.fixtures.mkdir(parents=True, exist_ok=True)
    manifest = given.fixtures / "manifest.json"
    entries = json.loads(manifest.read_bytes()) if manifest.exists() else {}
    for case in CASES:
        if case.name not in given.only if given.only else case.name == "format-1":
            continue
        place = given.place.absolute() / case.name
        shutil.rmtree(place, ignore_errors=True)
        entries[case.name] = make(case, place)
        size = pack(place, given.fixtures / f"{case.name}.tar.gz")
        print(f"{case.name}: {size / 1024:.0f} KiB", flush=True)
        manifest.write_text(json.dumps(dict(sorted(entries.items())), indent=1) + "\n", encoding="utf-8")
    return 0


def make(case: Case, place: Path) -> dict[str, Any]:
    """Train it at `place`; the manifest's entry."""
    making = Making(place, case)
    making.project.mkdir(parents=True)
    for name, text in case.files.items():
        (making.project / name).write_text(text, encoding="utf-8")
    undisturbed: dict[str, str] = {}
    if case.compare:
        making.forge("--no-ui", *case.arguments, "--output", "undisturbed", faults=False)
        for path in sorted((making.project / "undisturbed").glob("*.safetensors")):
            undisturbed[path.stem] = hashlib.sha256(path.read_bytes()).hexdigest()
        making.forge("rm", "--yes", "undisturbed")
        for left in making.project.glob("finished-*"):
            left.unlink()
    case.make(making)
    for left in (making.project / "__pycache__", place / "config"):
        shutil.rmtree(left, ignore_errors=True)
    return {
        "about": case.about,
        "arguments": list(case.arguments),
        "place": str(place),
        "environment": environment(making.run),
        "undisturbed": undisturbed,
        **described(making),
    }


def described(making: Making) -> dict[str, Any]:
    """What later versions must find in the run: how it stands, and what its finished models give."""
    models = making.models().values()
    return {
        "state": making.state(),
        "models": {model["name"]: {key: model[key] for key in ("phase", "epoch", "loss")} for model in models},
        "outputs": {path.stem: outputs(path.with_suffix("")) for path in sorted(making.run.glob("*.safetensors"))},
    }


def outputs(stem: Path) -> list[float]:
    """The first numbers that the model gives for inputs that follow from its metadata alone."""
    import torch

    from forge_tui import load_model

    record = json.loads(stem.with_suffix(".json").read_bytes())
    if record["vocabulary"] is None:
        features = len(record["features"])
        inputs = torch.linspace(-1.0, 1.0, 2 * features).reshape(2, features)
    else:
        inputs = (torch.arange(2 * record["sequence_length"]) % len(record["vocabulary"])).reshape(2, -1)
    torch.set_num_threads(1)
    given: list[float] = load_model(stem)(inputs).reshape(-1)[:12].tolist()
    return given


def environment(run: Path) -> dict[str, Any]:
    """What a checkpoint says of the conditions that its bytes come from."""
    path = min(run.glob("checkpoints/*/step-*.safetensors"))
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found: dict[str, Any] = json.loads(header["__metadata__"]["forge_tui"])["environment"]
    return found


def pack(place: Path, archive: Path) -> int:
    """Put what lies at `place` into `archive`, without the names of its owner; its size in bytes."""

    def ours(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name in ("project", "state"):
            tar.add(place / name, name, filter=ours)
    return archive.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
