"""A project with custom code for tests: a package, modules found by name at run time, and a metric that waits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from running import begin, script, wait_until

NET = '''\
"""The model and data of a test; `metric` of a run waits while `hold` lies beside this file, and fails once for `fail`.

It imports what `bonus.txt` names.
"""
import importlib
import time
from pathlib import Path

import torch
from parts import block
from torch import nn

HERE = Path(__file__).parent


def model(inputs, hidden: int = 6):
    from bodies.deep import scale  # an import inside a function, of a package
    head = importlib.import_module(f"heads.{(HERE / 'head.txt').read_text().strip()}")
    return nn.Sequential(block(inputs.features, hidden, scale()), head.make(hidden, inputs.outputs))


def dataset(seed, samples):
    features = torch.randn(samples, 4, generator=torch.Generator().manual_seed(seed))
    return features, (features[:, 0] > 0).long()


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)


def metric(outputs, targets):
    if (HERE / "hold").exists() and (HERE / "run" / "run.db").exists():  # not when it is tried before the run
        (HERE / "waiting").touch()
        while (HERE / "hold").exists():
            time.sleep(0.01)
        if (HERE / "fail").exists():
            (HERE / "fail").unlink()
            raise RuntimeError("failed once")
    bonus = 0.0
    if (HERE / "bonus.txt").exists():
        bonus = importlib.import_module((HERE / "bonus.txt").read_text().strip()).VALUE
    return (outputs.argmax(dim=1) == targets).float().mean() + bonus
'''
PARTS = """\
from torch import nn


def block(wide, hidden, scale):
    made = nn.Linear(wide, hidden)
    made.weight.data.mul_(scale)
    return nn.Sequential(made, nn.ReLU())
"""
FILES = {
    "net.py": NET,
    "parts.py": PARTS,
    "bodies/__init__.py": "from .constants import SCALE\n",
    "bodies/constants.py": "SCALE = 1.5\n",
    "bodies/deep.py": "from . import SCALE\nfrom .inner import more\n\ndef scale(): return SCALE * more.FACTOR\n",
    "bodies/inner/more.py": "FACTOR = 1.0\n",
    "heads/narrow.py": "from torch import nn\n\n\ndef make(hidden, outputs):\n    return nn.Linear(hidden, outputs)\n",
    "head.txt": "narrow\n",
}
CODE = sorted(name for name in FILES if name.endswith(".py"))
EDITED = ("net.py", "parts.py", "bodies/inner/more.py", "heads/narrow.py")
"""What `edit` changes."""
NAMES = ("--model-type", "net.py", "--dataset", "net.py", "--loss", "net.py", "--metric", "net.py")
RUN = (
    "--no-ui", *NAMES, "--policy", "dedicated", "--threads", "1", "--fuse", "1", "--set", "data.samples=100",
    "--checkpoint-interval", "1", "--models", "2", "--epochs", "4",
)  # fmt: skip


def write_project(place: Path) -> Path:
    """The files of the project, below `place`."""
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    return place


def edit(place: Path, *, shapes: bool = True) -> None:
    """Change what every model computes, and with `shapes` what it is made of: the named file and what that imports."""
    change(place / "net.py", "block(inputs.features, hidden, scale())", "block(inputs.features, hidden, 7 * scale())")
    change(place / "parts.py", "mul_(scale)", "mul_(3 * scale)")
    change(place / "bodies" / "inner" / "more.py", "1.0", "5.0")
    after = "hidden, outputs, bias=False)\n" if shapes else "hidden, outputs)  # another text\n"
    change(place / "heads" / "narrow.py", "hidden, outputs)\n", after)


def change(path: Path, before: str, after: str) -> None:
    """Replace a part of a file, as an editor does: by another file."""
    text = path.read_text(encoding="utf-8")
    assert before in text
    new = path.with_suffix(".new")
    new.write_text(text.replace(before, after), encoding="utf-8")
    new.replace(path)


class Held:
    """A run that stands still in the first validation until `release`; to be used in a `with` block."""

    def __init__(self, project: Path, *arguments: str | Path) -> None:
        self.project = project
        (project / "waiting").unlink(missing_ok=True)
        (project / "hold").touch()
        self.process: subprocess.Popen[str] = begin(*arguments, cwd=project)

    def __enter__(self) -> Self:
        try:
            self.wait("the first validation", lambda: (self.project / "waiting").exists())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        (self.project / "hold").unlink(missing_ok=True)
        if self.process.poll() is None:
            self.process.communicate()

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """Wait for it, but no longer than the run lives."""

        def found() -> Any:
            value = condition()
            if not value and self.process.poll() is not None:
                raise AssertionError(f"{what} is not there, and the run has ended: {self.process.communicate()}")
            return value

        return wait_until(found, what, 60.0)

    def release(self, status: int = 0) -> str:
        """Let it train to its end; what it wrote to stdout."""
        (self.project / "hold").unlink(missing_ok=True)
        out, err = self.process.communicate()
        assert self.process.returncode == status, err
        return out


def records(run: Path, event: str, **fields: Any) -> list[dict[str, Any]]:
    """The recorded events of a kind whose fields have these values."""
    from forge_tui.client.run import Run

    with Run(run) as attached:
        found = [record for _, record in attached.events() if record["event"] == event]
    return [record for record in found if all(record.get(name) == value for name, value in fields.items())]


def described(run: Path, model: int, kind: str = "net") -> dict[str, Any]:
    """NAME.json of a model."""
    found: dict[str, Any] = json.loads((run / f"cognate_{kind}_{model}.json").read_bytes())
    return found


def outputs(stem: Path, *arguments: str) -> list[list[float]]:
    """What a model gives for ones, loaded in a process of its own as a user's script does, from another directory."""
    code = (
        "import json, torch, forge_tui; "
        f"model = forge_tui.load_model(sys.argv[1]{''.join(f', {one}' for one in arguments)}); "
        "print(json.dumps(model(torch.ones(2, 4)).tolist()))"
    )
    done = script(code, stem)
    assert done.returncode == 0, done.stderr
    found: list[list[float]] = json.loads(done.stdout)
    return found
