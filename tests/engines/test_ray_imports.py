"""Nothing but the bridge imports Ray, and a run with the local engine has nothing of the Ray engine at all."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def imported(code: str) -> set[str]:
    """The modules that a fresh process has after this code."""
    shown = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import forge_tui",
        "import forge_tui.cli, forge_tui.batch.batch_mode, forge_tui.tui.app",
        "import forge_tui.runner.main, forge_tui.runner.supervise, forge_tui.worker.fork_server",
        "from forge_tui.cli import main\ntry: main(['doctor'])\nexcept SystemExit: pass",
    ],
)
def test_without_the_ray_engine_neither_ray_nor_that_engine_is_imported(code: str) -> None:
    found = imported(code)
    assert not {name for name in found if name == "ray" or name.startswith(("ray.", "forge_tui.engines.ray"))}


def test_the_runner_s_part_of_the_engine_and_the_agent_import_no_ray() -> None:
    found = imported("import forge_tui.engines.ray.engine, forge_tui.engines.ray.agent, forge_tui.engines.ray.doctor")
    assert "ray" not in found
    assert "torch" not in found
