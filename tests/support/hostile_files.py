"""Changes to the files of a run that somebody else has made: links, pipes, other content, names that lead elsewhere.

What is declared large is only declared. What stands for harmful code leaves a marker behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile_records import STEERING, Change, in_place_of, json_file, run_record

from forge_tui.settings.user_file import state_directory

DEEP = b"[" * 100_000
GUARD = "../guard/mine"


def _guard(run: Path) -> Path:
    return run.parent / "guard"


def _each_kind(name: str, *, is_directory: bool = False) -> dict[str, Change]:
    """A name of a run's directory that is something else than it was."""
    target = "inner" if is_directory else "mine.txt"
    found: dict[str, Change] = {
        "a link out": lambda run: in_place_of(run / name, link=_guard(run) / target),
        "a dangling link": lambda run: in_place_of(run / name, link=_guard(run) / "nothing"),
        "a link to itself": lambda run: in_place_of(run / name, link=run / name),
        "a pipe": lambda run: in_place_of(run / name, fifo=True),
    }
    if is_directory:
        found["a file"] = lambda run: in_place_of(run / name, b"hostile")
    else:
        found["a directory"] = lambda run: in_place_of(run / name, directory=True)
        found["empty"] = lambda run: in_place_of(run / name, b"")
        found["garbage"] = lambda run: in_place_of(run / name, bytes(range(256)) * 64)
        found["unreadable"] = lambda run: os.chmod(run / name, 0) if (run / name).exists() else None
        found["deep JSON"] = lambda run: in_place_of(run / name, DEEP)
    return {f"{name}: {kind}": change for kind, change in found.items()}


def _model(run: Path) -> Path:
    return next(iter(sorted(run.glob("cognate_*.json"))))


def _checkpoints(run: Path) -> Path:
    return next(iter(sorted((run / "checkpoints").iterdir())))


def _newest(run: Path) -> Path:
    return sorted(_checkpoints(run).iterdir())[-1]


def _header(path: Path, header: bytes, length: int | None = None) -> None:
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header)


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 36)


def _tensor_of(path: Path, size: int) -> None:
    """A file that is as large as it says, and has nothing on the disk but its header."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    _header(path, header)
    with path.open("r+b") as file:
        file.truncate(8 + len(header) + size)


def _steering_tokens(path: Path) -> list[str]:
    return [STEERING + "x" * number for number, _ in enumerate(json.loads(path.read_bytes())["vocabulary"])]


def _of_model(**changes: object) -> Change:
    return lambda run: json_file(_model(run), **changes)


_TENSOR = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
_CHECKPOINT = {"__metadata__": {"forge_tui": json.dumps({"epoch": 10**18, "step": -1, "rollbacks": "x"})}}
DATABASE: dict[str, Change] = {
    **_each_kind("run.db"),
    "run.db: 64 GiB of nothing": lambda run: _sparse(run / "run.db"),
    "run.db-wal: a link out": lambda run: in_place_of(run / "run.db-wal", link=_guard(run) / "mine.txt"),
    "run.db-wal: a pipe": lambda run: in_place_of(run / "run.db-wal", fifo=True),
    "run.db-wal: garbage": lambda run: in_place_of(run / "run.db-wal", bytes(range(256)) * 64),
    "run.db-shm: a link out": lambda run: in_place_of(run / "run.db-shm", link=_guard(run) / "mine.txt"),
    "run.db-journal: a link out": lambda run: in_place_of(run / "run.db-journal", link=_guard(run) / "mine.txt"),
    "run.db-journal: names a file": lambda run: journal_that_names(run, _guard(run) / "nothing"),
}
SETTINGS: dict[str, Change] = {
    **_each_kind("settings.toml"),
    "settings.toml: a function": lambda run: _edit(
        run / "settings.toml", "[training]", '[training]\nloss = "hostile_marker:touch"'
    ),
    "settings.toml: on_finish": lambda run: _edit(
        run / "settings.toml", "[run]", f'[run]\non_finish = ["touch", "{run.parent / "guard" / "marker"}"]'
    ),
    "settings.toml: a dataset of code": lambda run: (run / "settings.toml").write_text(
        '[training]\ndataset = "hostile_marker:touch"\n', encoding="utf-8"
    ),
    "settings.toml: a dataset with a zero": lambda run: _edit(
        run / "settings.toml", "[training]", '[training]\ndataset = "a\\u0000b.csv"'
    ),
    "settings.toml: steering text": lambda run: _edit(
        run / "settings.toml", "[training]", f"[training]\n{json.dumps(STEERING)} = 1"
    ),
    "settings.toml: epochs 10^12": lambda run: (run / "settings.toml").write_text(
        "[training]\nepochs = 1000000000000\n"
    ),
    "settings.toml: output elsewhere": lambda run: _edit(
        run / "settings.toml", "[run]", f'[run]\noutput = "{_guard(run)}"'
    ),
}
MODEL_FILES: dict[str, Change] = {
    "NAME.json: a link out": lambda run: in_place_of(_model(run), link=_guard(run) / "model.json"),
    "NAME.json: a pipe": lambda run: in_place_of(_model(run), fifo=True),
    "NAME.json: deep": lambda run: _model(run).write_bytes(b'{"format":1,"a":' + DEEP),
    "NAME.json: key twice": lambda run: _model(run).write_bytes(b'{"format":1,"format":1}'),
    "NAME.json: NaN": lambda run: _model(run).write_bytes(b'{"format":1,"seed":NaN}'),
    "NAME.json: a function": _of_model(
        config__model_type="hostile_marker:touch", settings__training__model_type="hostile_marker:touch"
    ),
    "NAME.json: model_size 10^15": _of_model(config__model_size=10**15),
    "NAME.json: outputs 10^12": _of_model(outputs=10**12),
    "NAME.json: features": _of_model(features=["x"] * 2_000_000, vocabulary=None),
    "NAME.json: vocabulary": _of_model(vocabulary=[7, None, [STEERING]]),
    "NAME.json: steering vocabulary": lambda run: json_file(_model(run), vocabulary=_steering_tokens(_model(run))),
    "NAME.json: window 10^15": _of_model(sequence_length=10**15),
    "NAME.json: seed 10^30": _of_model(seed=10**30),
    "NAME.json: normalisation": _of_model(normalisation={"feature_mean": [[[1]]], STEERING: 1}),
    "NAME.json: name ../": _of_model(name=GUARD),
    "NAME.json: task": _of_model(task=STEERING),
    "NAME.json: settings": _of_model(settings=[STEERING]),
    "NAME.json: a setting": _of_model(settings={"data": {STEERING: 1}}),
    "NAME.json: code elsewhere": _of_model(code={"../../guard/mine.py": "0" * 64}, code_roots={"..": "/"}),
    "NAME.json: module state": _of_model(module_state={"state": {"dict": 7}, "sha256": "0"}),
    "NAME.safetensors: a link out": lambda run: in_place_of(
        _model(run).with_suffix(".safetensors"), link=_guard(run) / "mine.txt"
    ),
    "NAME.safetensors: a pipe": lambda run: in_place_of(_model(run).with_suffix(".safetensors"), fifo=True),
    "NAME.safetensors: 4 TB declared": lambda run: _header(_model(run).with_suffix(".safetensors"), _TENSOR),
    "NAME.safetensors: header 2^63": lambda run: _header(_model(run).with_suffix(".safetensors"), b"{}", 2**63),
    "NAME.safetensors: a tensor of 64 GiB": lambda run: _tensor_of(_model(run).with_suffix(".safetensors"), 1 << 36),
    "NAME.safetensors: 64 GiB of nothing": lambda run: _sparse(_model(run).with_suffix(".safetensors")),
}
CHECKPOINTS: dict[str, Change] = {
    **_each_kind("checkpoints", is_directory=True),
    "checkpoints/NAME: a link out": lambda run: in_place_of(_checkpoints(run), link=_guard(run) / "inner"),
    "checkpoint: a link out": lambda run: in_place_of(_newest(run), link=_guard(run) / "mine.txt"),
    "checkpoint: a pipe": lambda run: in_place_of(_newest(run), fifo=True),
    "checkpoint: header 2^63": lambda run: _header(_newest(run), b"{}", 2**63),
    "checkpoint: numbers": lambda run: _header(_newest(run), json.dumps(_CHECKPOINT).encode()),
    "checkpoint: deep": lambda run: _header(_newest(run), DEEP),
    "checkpoint: 4 TB declared": lambda run: _header(_newest(run), _TENSOR),
    "checkpoint: a tensor of 64 GiB": lambda run: _tensor_of(_newest(run), 1 << 36),
    "checkpoint: 64 GiB of nothing": lambda run: _sparse(_newest(run)),
    "checkpoint: step 10^30": lambda run: (_checkpoints(run) / f"step-{10**30}.safetensors").write_bytes(b""),
}
OTHERS: dict[str, Change] = {
    **_each_kind("logs", is_directory=True),
    **_each_kind("logs/runner.log"),
    "logs/NAME.log: a link out": lambda run: in_place_of(
        run / "logs" / f"{_model(run).stem}.log", link=_guard(run) / "mine.txt"
    ),
    "logs/NAME.log: steering text": lambda run: (run / "logs" / f"{_model(run).stem}.log").write_text(STEERING),
    "logs/runner.log: steering text": lambda run: (run / "logs" / "runner.log").write_text(STEERING * 1_000),
    **_each_kind("commands", is_directory=True),
    "commands: a link in it": lambda run: in_place_of(run / "commands" / "1-a.json", link=_guard(run) / "mine.txt"),
    "commands: deep": lambda run: in_place_of(run / "commands" / "1-a.json", DEEP),
    **_each_kind("lock"),
    **_each_kind("code", is_directory=True),
    "starting.json: names outside": lambda run: _starting(run, {"../guard/mine.txt": None}),
    "starting.json: previous ../": lambda run: _starting(run, {}, previous="../guard"),
    "starting.json: no run yet": lambda run: (_starting(run, {"settings.toml": None}), (run / "run.db").unlink()),
    "starting.json: a pipe": lambda run: in_place_of(run / "starting.json", fifo=True),
    "starting.json: deep": lambda run: in_place_of(run / "starting.json", DEEP),
    "starting.json: a link out": lambda run: in_place_of(run / "starting.json", link=_guard(run) / "mine.txt"),
    "previous-1: a link out": lambda run: in_place_of(run / "previous-1", link=_guard(run)),
    ".previous.moving: a link out": lambda run: in_place_of(run / ".previous.moving", link=_guard(run)),
    "deletion: a link out": lambda run: in_place_of(run / ".run.db.removed", link=_guard(run) / "mine.txt"),
    "deletion begun": lambda run: (run / "run.db").rename(run / ".run.db.removed"),
}
REGISTRY: dict[str, Change] = {
    "runs.jsonl: steering text": lambda run: _register(
        run, path=str(run), run=STEERING, mode=STEERING, model_type=STEERING, models=1, created=1.0
    ),
    "runs.jsonl: created 1e18": lambda run: _register(run, path=str(run), run="r", created=1e18, models=1),
    "runs.jsonl: models 10^18": lambda run: _register(run, path=str(run), run="r", created=1.0, models=10**18),
    "runs.jsonl: wrong types": lambda run: _register(run, path=[1], run=None, created="x", models="y"),
    "runs.jsonl: path with zero": lambda run: _register(run, path="/a\0b", run="r", created=1.0, models=1),
    "runs.jsonl: path of no name": lambda run: _register(run, path="/a\ud800b", run="r", created=1.0, models=1),
    "runs.jsonl: long path": lambda run: _register(run, path="/" + "a" * 60_000, run="r", created=1.0, models=1),
    "runs.jsonl: long line": lambda run: _register(run, path=str(run), run="x" * 5_000_000, created=1.0, models=1),
    "runs.jsonl: deep": lambda run: _state_file("runs.jsonl", DEEP + b"\n7\nnull\n\xff\n"),
    "ui.json: deep": lambda run: _state_file("ui.json", DEEP),
    "ui.json: wrong types": lambda run: _state_file("ui.json", b'{"theme":7,"form":[1],"panes":"x"}'),
}
FILES = {
    "run.db": DATABASE, "settings.toml": SETTINGS, "NAME": MODEL_FILES, "checkpoints": CHECKPOINTS, "others": OTHERS,
    "state": REGISTRY,
}  # fmt: skip


def _of_code() -> Iterator[tuple[str, Callable[[Path], object]]]:
    yield "as it was copied", lambda run: None
    yield (
        "a copy is edited",
        lambda run: _edit(next((run / "code").rglob("net.py")), "import torch", "import os, torch"),
    )
    yield (
        "a copy is a link",
        lambda run: in_place_of(next((run / "code").rglob("net.py")), link=_guard(run) / "mine.py"),
    )
    yield "a copy is a pipe", lambda run: in_place_of(next((run / "code").rglob("net.py")), fifo=True)
    yield (
        "NAME.json names a system function",
        _of_model(config__model_type="os:system", settings__training__model_type="os:system"),
    )
    yield (
        "NAME.json names another function",
        _of_model(config__model_type="hostile_marker:touch", settings__training__model_type="hostile_marker:touch"),
    )
    yield "record names no code", lambda run: run_record(run, code={}, code_roots={}, code_modules={}, key="")
    yield "record names another key", lambda run: run_record(run, key="../../x\0" + STEERING)


CODE = {"code": dict(_of_code())}
"""Changes of a run of custom code."""


def _starting(run: Path, files: dict[str, None], previous: str | None = None) -> None:
    text = json.dumps({"v": 1, "previous": previous, "directories": ["..", "."], "files": files})
    (run / "starting.json").write_text('{"forge_tui": "start", ' + text[1:] + "\n", encoding="utf-8")


def _register(place: Path, /, **record: object) -> None:
    line = {"v": 1, "time": 1.0, "event": "registered", "has_key": True, **record}
    _state_file("runs.jsonl", json.dumps(line).encode() + b"\n")


def _state_file(name: str, content: bytes) -> None:
    state_directory().mkdir(parents=True, exist_ok=True)
    (state_directory() / name).write_bytes(content)


_JOURNAL_MARK = bytes.fromhex("d9d505f920a163d7")


def journal_that_names(run: Path, other: Path) -> Path:
    """A rollback journal of run.db as a crash leaves it, in a transaction with another database: it names its list.

    SQLite, which finishes what a crash has left, deletes the list when it is done with it.
    """
    database, journal = run / "run.db", run / "run.db-journal"
    content = database.read_bytes()
    page = int.from_bytes(content[16:18], "big") or 65_536
    sector = 512
    header = _JOURNAL_MARK + (0).to_bytes(4, "big") + (0).to_bytes(4, "big")
    header += (len(content) // page).to_bytes(4, "big") + sector.to_bytes(4, "big") + page.to_bytes(4, "big")
    name = os.fsencode(other)
    lock_page = (1 << 30) // page + 1
    tail = lock_page.to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big")
    journal.write_bytes(header.ljust(sector, b"\0") + tail + _JOURNAL_MARK)
    return journal
