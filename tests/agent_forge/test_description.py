"""Every Python block of the description that uses the interface runs, and its listings of definitions hold."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import prepared
import pytest
from faulty import at_same_priority

_IMPORTS = "from agent_forge.phases.cognate_pretrain import *\nfrom agent_forge.utils import *\n"
_TEXT = Path(__file__).with_name("description_blocks.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"```python\n(.*?)```", _TEXT, re.DOTALL)
_LISTINGS = [block for block in _BLOCKS if re.search(r"^(@dataclass|def |MEMORY_PER_WORKER)", block, re.MULTILINE)]
_USES = [block for block in _BLOCKS if block not in _LISTINGS]


def test_the_blocks_are_all_there() -> None:
    assert (len(_BLOCKS), len(_LISTINGS)) == (20, 4)


@pytest.mark.parametrize("number", range(len(_USES)))
def test_block_runs_as_a_plain_script(number: int, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(_IMPORTS + _USES[number], encoding="utf-8")
    done = prepared.run([sys.executable, str(script)], cwd=tmp_path, env=at_same_priority())
    assert done.returncode == 0, done.stderr
    if "create_three_models(" in _USES[number]:
        assert len(list(tmp_path.glob("*models/cognate_planner_?.safetensors"))) == 3


def test_listed_configuration_holds() -> None:
    from agent_forge import TrainingConfig

    listed = [block for block in _LISTINGS if "class TrainingConfig" in block]
    assert len(listed) == 2
    names = list(TrainingConfig.__dataclass_fields__)
    complete = re.findall(r"^    (\w+): (\w+) = (\S+)", listed[1], re.MULTILINE)
    assert [name for name, _, _ in complete] == names[:12]
    for listing in listed:
        for name, kind, default in re.findall(r"^    (\w+): (\w+) = (\S+)", listing, re.MULTILINE):
            value = getattr(TrainingConfig(), name)
            assert (type(value).__name__, value) == (kind, ast.literal_eval(default)), name


def test_listed_thresholds_hold() -> None:
    from forge_tui.settings.schema import ResourceSettings

    listing = next(block for block in _LISTINGS if "MEMORY_PER_WORKER" in block)
    listed = {name: float(value) for name, value in re.findall(r"^(\w+) = ([\d.]+)", listing, re.MULTILINE)}
    settings = ResourceSettings()
    assert listed == {
        "MEMORY_PER_WORKER": settings.memory_per_worker_gb,
        "MAX_CPU_UTILIZATION": settings.max_cpu_utilization,
        "HIGH_CPU_THRESHOLD": settings.high_cpu_threshold,
        "MIN_AVAILABLE_MEMORY": settings.min_available_memory_gb,
    }


def test_listed_signature_holds() -> None:
    import inspect

    from agent_forge import ResourceManager

    assert list(inspect.signature(ResourceManager.validate_worker_count).parameters) == ["self", "requested"]
    count, reason = ResourceManager().validate_worker_count(4)
    assert isinstance(count, int)
    assert isinstance(reason, str)
