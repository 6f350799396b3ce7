"""What all tests share: private state and configuration directories, and no process left behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from prepared import from_scratch, prepared_runners
from run_directories import RunMaker
from running import processes_of

from forge_tui.settings import site_file

# How long an example takes says nothing on a machine that others use too.
# The same examples every time: `--hypothesis-profile explore` looks for new ones.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("shared", derandomize=True, **_PATIENT)
settings.register_profile("explore", **_PATIENT)
settings.load_profile("shared")


def pytest_xdist_auto_num_workers() -> int:
    """How many processes run tests (`-n auto`): one more than CPUs, because tests wait for the runs they start.

    At most 8: each may have a run of 2 GB beside it.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus + 1, 8)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--deep`: all values of parametrized tests, which takes twice as long (`support/depth.py`)."""
    parser.addoption("--deep", action="store_true", help="also run the tests that are marked deep")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the deep tests out unless they are asked for."""
    if config.getoption("--deep"):
        return
    left_out = [item for item in items if item.get_closest_marker("deep") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("deep") is None]


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """As `private_directories`, for what modules and sessions share: such fixtures are made before a test's own."""
    home = tmp_path_factory.mktemp("home")
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        # One for all test processes: the native kernel is compiled once.
        patch.setenv("XDG_CACHE_HOME", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_CONFIG_DIRS", str(home / "site"))
        yield


@pytest.fixture(scope="session", autouse=True)
def prepared() -> Iterator[None]:
    """Runs need not import torch each time; see `prepared`."""
    with prepared_runners():
        yield


@pytest.fixture(name="from_scratch", scope="module")
def processes_from_scratch() -> Iterator[None]:
    """Processes start as users start them, in all of a file's tests."""
    with from_scratch():
        yield


@pytest.fixture(autouse=True)
def private_directories(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own settings and list of runs out of the tests, and the tests out of them."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(home / "site"))
    for name in [name for name in os.environ if name.startswith("FORGE_TUI_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Trainings in the tests' process use one thread, those that a file shares too: more wait for each other."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def process_as_it_was(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test changes of its process is undone: modules of a temporary directory, and torch's settings.

    Which files share a process depends on how long others take: a test must not see what another file's left behind.
    """
    modules, paths = set(sys.modules), list(sys.path)
    torch = sys.modules.get("torch")
    threads = None if torch is None else torch.get_num_threads()
    yield
    temporary = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(temporary):
            del sys.modules[name]
    sys.path[:] = paths
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)
        if threads is not None:
            torch.set_num_threads(threads)


@pytest.fixture
def site_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the site-wide settings of this process, whose user is taken for the administrator; returns their file."""
    monkeypatch.setattr(site_file, "SYSTEM", tmp_path / "etc")
    monkeypatch.setattr(site_file, "ADMINISTRATOR", os.getuid())
    path = tmp_path / "etc" / "forge-tui" / "settings.toml"

    def write(text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        return path

    return write


@pytest.fixture
def run_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for one run; a process of it that outlives the test is ended, and fails the test."""
    directory = tmp_path / "run"
    yield directory
    deadline = time.monotonic() + 5.0
    while (left := processes_of(directory)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        process.kill()
    assert not left, f"processes of the run were left behind: {left}"


@pytest.fixture(scope="session")
def digits_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's handwritten digits: 1,797 rows, 64 features, column `target`."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    path = tmp_path_factory.mktemp("data") / "digits.csv"
    header = ",".join([*(f"pixel_{number}" for number in range(64)), "target"])
    rows = [
        ",".join([*(f"{value:g}" for value in row), str(label)])
        for row, label in zip(digits.data, digits.target, strict=True)
    ]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[RunMaker]:
    """Makes run directories at a fixed time."""
    made = RunMaker(tmp_path / "runs", now=100_000.0)
    yield made
    made.close()
