"""The screen of one model: what it shows, how it scrolls, and every action on it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from run_directories import MESSAGE, RunMaker, write_checkpoint
from textual.pilot import Pilot
from tui_host import Host, screen_text, until

from forge_tui import client
from forge_tui.protocol.metrics import MetricTable
from forge_tui.protocol.model_state import ModelState
from forge_tui.protocol.phases import RunState, TrainingPhase
from forge_tui.resources.gpu_users import GpuUser, SeenGpu
from forge_tui.resources.gpus import Gpu
from forge_tui.runs.checkpoint_files import checkpoint_files
from forge_tui.runs.layout import RunDirectory
from forge_tui.tui.dialogs.questions import Question
from forge_tui.tui.screens import model_text
from forge_tui.tui.screens.model import ModelScreen
from forge_tui.tui.screens.model_files import ModelFiles, read_files
from forge_tui.tui.screens.model_output import LOG_BYTES, LOG_LINES
from forge_tui.tui.screens.watch import WatchScreen
from forge_tui.tui.widgets.document import Document, Paragraph, wrapped
from forge_tui.tui.widgets.glyphs import UNICODE


@pytest.fixture
def run_path(maker: RunMaker) -> Path:
    """A live run: completed, failed, training, queued, and one that failed before its first epoch."""
    models = [
        maker.model(1),
        maker.failed(2),
        maker.model(3, TrainingPhase.TRAINING, epoch=61),
        maker.model(4, TrainingPhase.QUEUED, config={}, started=None),
        hostile(maker.failed(5, epoch=0, name="cognate_planner_" + "long" * 40)),
    ]
    path = maker.make("run", RunState.RUNNING, models)
    (path / "logs" / "cognate_planner_2.log").write_text("".join(f"line {number}\n" for number in range(1, 101)))
    directory = path / "checkpoints" / "cognate_planner_2"
    write_checkpoint(directory / "step-000000000600.safetensors", {"epoch": 30, "step": 600})
    write_checkpoint(directory / "step-000000000640.safetensors", {"epoch": 32, "step": 640})
    return path


def hostile(model: ModelState) -> ModelState:
    """Its newest error says what would be markup, and what would steer a terminal."""
    *earlier, newest = model.failures
    return replace(model, failures=(*earlier, replace(newest, message=f"[/b]\x1b[31m{newest.message}")))


def host(path: Path) -> Host:
    return Host(WatchScreen, run=client.attach(path))


async def opened(app: Host, pilot: Pilot[int], name: str) -> ModelScreen:
    """The screen of a model, with everything read."""
    await until(pilot, lambda: app.controller.snapshot is not None)
    app.navigation.open_model(name)
    await until(pilot, lambda: isinstance(app.screen, ModelScreen))
    screen = app.screen
    assert isinstance(screen, ModelScreen)
    await until(pilot, lambda: any("OUTPUT" in document.text for document in screen.query(Document)))
    return screen


async def test_a_model_in_training_shows_its_curve_and_its_numbers(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "cognate_planner_3")
        await until(pilot, lambda: screen.chart.series)
        points = screen.chart.series[0].points
        assert (points[0][0], points[-1][0]) == (1.0, 61.0)
        assert [series.kind for series in screen.chart.series] == ["train", "validation"]
        text = screen_text(app)
        assert "cognate_planner_3  ● train  model 3 of 5" in text
        assert "epoch 61/100" in text
        assert "val 97.2%" in text
        document = screen.document.text
        assert "lowest loss    0.2140" in document
        assert "parameters     100,213" in document
        assert "grokfast_enabled  yes" in document
        assert "64, 64" in document
        assert "none yet" in document
        assert "nothing was printed" in document


async def test_a_failed_model_begins_with_why_and_shows_every_traceback(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "cognate_planner_2")
        text = screen_text(app)
        assert "cognate_planner_2  ✗ failed  attempt 2  model 2 of 5" in text
        assert "out_of_memory: OutOfMemoryError: CUDA out of memory" in text
        document = screen.document.text
        assert document.startswith("ATTEMPTS  2 failed\n  attempt 2, epoch 33, ")
        assert document.count("Traceback (most recent call last):") == 2
        assert '      File "/home/ada/project/models/planner.py", line 77, in forward' in document
        assert document.index("attempt 2, epoch 33") < document.index("attempt 1, epoch 33")


async def test_checkpoints_are_listed_with_epoch_step_and_size(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot, "cognate_planner_2")
        lines = [line for line in screen.document.text.splitlines() if "step-0000" in line]
        assert "step-000000000640.safetensors  epoch 32, step 640, 4.1 KiB" in lines[0]
        assert "step-000000000600.safetensors  epoch 30, step 600, 4.1 KiB" in lines[1]


async def test_keys_scroll_the_text(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "cognate_planner_2")
        document = screen.document
        lines = document.text.count("\n") + 1
        await pilot.press("j", "down", "k")
        assert document.scroll_offset.y == 1
        await pilot.press("pagedown")
        assert document.scroll_offset.y == document.size.height
        await pilot.press("pageup", "up")
        assert document.scroll_offset.y == 0
        await pilot.press("G")
        assert document.scroll_offset.y == lines - document.size.height
        assert "line 100" in screen_text(app)
        await pilot.press("g")
        assert document.scroll_offset.y == 0
        await pilot.press("end", "home")
        assert document.scroll_offset.y == 0


async def test_tab_goes_through_the_sections_and_l_to_the_output(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "cognate_planner_2")
        assert screen.document.anchors == ("attempts", "metrics", "config", "checkpoints", "output")

        def top() -> str:
            return screen.document.text.splitlines()[screen.document.scroll_offset.y].split()[0]

        tops = []
        for _ in range(5):
            await pilot.press("tab")
            tops.append(top())
        assert tops == ["METRICS", "CONFIG", "CHECKPOINTS", "OUTPUT", "ATTEMPTS"]
        await pilot.press("g", "l")
        assert top() == "OUTPUT"


async def test_the_output_follows_its_end_while_it_is_in_view(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forge_tui.tui.screens.model.READ_SECONDS", 0.05)
    log = run_path / "logs" / "cognate_planner_3.log"
    log.write_text("".join(f"line {number}\n" for number in range(1, 101)))
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, "cognate_planner_3")
        await pilot.press("G")
        with log.open("a") as file:
            file.write("a new line\n")
        await until(pilot, lambda: "a new line" in screen_text(app))


async def test_backspace_goes_back(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, "cognate_planner_1")
        await pilot.press("backspace")
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))


async def test_enter_in_watch_opens_the_model(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "cognate_planner_3" in screen_text(app))
        await pilot.press("j", "enter")
        await until(pilot, lambda: isinstance(app.screen, ModelScreen))
        assert isinstance(app.screen, ModelScreen)
        assert app.screen.model_name == "cognate_planner_2"


async def test_keys_of_the_curve(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "cognate_planner_1")
        chart = screen.chart
        await until(pilot, lambda: chart.series)
        assert chart.window == (1.0, 100.0)
        await pilot.press("plus")
        assert chart.window == (50.5, 100.0)
        await pilot.press("left")
        assert chart.window[1] < 100.0
        await pilot.press("right")
        assert chart.window == (50.5, 100.0)
        await pilot.press("plus", "minus")
        assert chart.window == (50.5, 100.0)
        await pilot.press("0")
        assert not chart.is_zoomed
        assert chart.log_y
        await pilot.press("y", "v")
        assert not chart.log_y
        assert chart.kinds == {"train"}


async def test_a_closer_look_fetches_more_buckets(maker: RunMaker) -> None:
    model = maker.model(1, TrainingPhase.TRAINING, epoch=2000, epochs=2000)
    app = host(maker.make("long", RunState.RUNNING, [model]))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, model.name)
        await until(pilot, lambda: screen.chart.series)
        before = len(screen.chart.series[0].points)
        assert before <= 160
        await pilot.press("plus", "plus")
        await until(pilot, lambda: len(screen.chart.series[0].points) > 3 * before)


async def test_c_and_z_give_the_room_to_the_text_or_to_the_curve(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "cognate_planner_1")
        body = screen.chart.size.height + screen.document.size.height

        def shown() -> tuple[bool, bool]:
            return screen.chart.display, screen.document.display

        assert shown() == (True, True)
        await pilot.press("z")
        assert shown() == (False, True)
        await until(pilot, lambda: screen.document.size.height == body)
        await pilot.press("z")
        assert shown() == (True, False)
        await pilot.press("z")
        assert shown() == (True, True)
        await pilot.press("c")
        assert shown() == (False, True)
        await pilot.press("c")
        assert shown() == (True, True)


async def test_before_the_first_epoch_a_sentence_stands_for_the_curve(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "cognate_planner_4")
        assert not screen.chart.display
        assert "epoch 0/100  waiting for a worker" in screen_text(app)
        assert "Known when the model starts." in screen.document.text


async def test_export_writes_a_report_of_the_run(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, "cognate_planner_1")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("t")
        await until(pilot, lambda: app.status.plain == f"report: {tmp_path / 'run-report.txt'}")
    assert MESSAGE in (tmp_path / "run-report.txt").read_text()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_names_and_errors_from_outside_neither_style_nor_steer_the_terminal(
    run_path: Path, size: tuple[int, int]
) -> None:
    app = host(run_path)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        assert app.controller.snapshot is not None
        await opened(app, pilot, app.controller.snapshot.models[4].name)
        text = screen_text(app)
        assert "\x1b" not in text
        assert "cognate_planner_longlong"[: size[0] // 8] in text
        assert "[/b]" in text
        assert "✗ failed  attempt 2  model 5 of 5" in text
        assert all(cell_len(line) <= size[0] for line in text.splitlines())


async def test_a_model_that_is_not_in_the_run_is_told(run_path: Path) -> None:
    app = host(run_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.controller.snapshot is not None)
        app.navigation.open_model("nobody")
        await until(pilot, lambda: "This run has no model nobody: Esc goes back." in screen_text(app))


# --- files


def test_checkpoint_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    assert checkpoint_files(tmp_path / "nowhere") == []
    write_checkpoint(tmp_path / "step-000000000040.safetensors", {"epoch": 2, "step": 40})
    (tmp_path / "step-000000000060.safetensors").write_bytes(b"\xff" * 20)
    (tmp_path / "step-000000000080.safetensors").write_bytes((10).to_bytes(8, "little") + b"not json at all")
    write_checkpoint(tmp_path / "step-000000000100.safetensors", {"epoch": "many"})
    (tmp_path / ".step-000000000120.safetensors.1234.tmp").write_bytes(b"")
    found = checkpoint_files(tmp_path)
    assert [(file.epoch, file.step, bool(file.problem)) for file in found] == [
        (None, None, True), (None, None, True), (None, None, True), (2, 40, False),
    ]  # fmt: skip


def test_a_checkpoint_of_the_trainer_is_understood(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from forge_tui.training.checkpoint import save_checkpoint

    path = save_checkpoint(
        tmp_path / "m", 640, {"model/weight": torch.zeros(100)}, {"epoch": 32, "step": 640, "model": "m"}
    )
    (file,) = checkpoint_files(tmp_path / "m")
    assert (file.path, file.epoch, file.step, file.bytes, file.problem) == (path, 32, 640, path.stat().st_size, "")


def test_the_output_is_cut_to_its_last_lines_and_progress_bars_to_what_they_drew_last(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.create()
    log = directory.log("m")
    log.write_bytes(b"10%\r50%\r100%\r\n" + b"a\tb\n" + b"\xff\n")
    assert read_files(directory, "m") == ModelFiles(log=("100%", "a       b", "\ufffd"))
    log.write_text("".join(f"{number}\n" for number in range(2 * LOG_LINES)))
    files = read_files(directory, "m")
    assert (files.log[0], files.log[-1], files.log_is_cut) == (str(LOG_LINES), str(2 * LOG_LINES - 1), True)
    log.write_text("x" * (3 * LOG_BYTES))
    assert len(read_files(directory, "m").log[0]) == LOG_BYTES


def test_files_that_may_not_be_read_are_told(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.create()
    os.mkdir(directory.log("m"))
    assert read_files(directory, "m").problem == f"{directory.log('m')} cannot be read: Is a directory"


# --- text


@pytest.mark.parametrize("width", [30, 58, 80, 88, 120, 166])
def test_every_line_fits_the_width(maker: RunMaker, width: int) -> None:
    model = maker.failed(1, name="日本語" * 50, config={"nested": {"key": "x" * 300}, "long_name_" * 9: 1, "empty": []})
    files = ModelFiles(log=("日本語" * 100, "word " * 100, ""), problem="a problem " * 20)
    paragraphs = model_text.model_document(model, MetricTable(), files, "", width, UNICODE, time.time(), 7.0)
    lines = ["".join(text for text, _ in line) for paragraph in paragraphs for line in wrapped(paragraph, width)]
    assert max(cell_len(line) for line in lines) <= width
    assert "nested.key" in "\n".join(lines)


def test_the_gpu_of_a_model_is_told_while_a_worker_trains_on_it(maker: RunMaker) -> None:
    uuid = "GPU-5f2a6c1e-0000"
    gpu = Gpu(3, "NVIDIA H100", 80 << 30, 41 << 30, 63.0, uuid, 54.0)
    seen = (SeenGpu(Gpu(0, "NVIDIA T4", 16 << 30, 0, uuid="GPU-other")), SeenGpu(gpu, (GpuUser(9, None, "bob"),)))
    place = {"host": "server", "device": uuid}

    def text(phase: TrainingPhase) -> str:
        model = maker.model(1, phase, epoch=5, device="cuda", place=place)
        paragraphs = model_text.model_document(model, MetricTable(), None, "", 300, UNICODE, 0.0, 7.0, seen)
        return "\n".join("".join(text for text, _ in paragraph.pieces) for paragraph in paragraphs)

    training = text(TrainingPhase.TRAINING)
    assert "cuda (GPU-5f2a6c1e)" in training
    assert "H100, 41.0 of 80.0 GiB in use, 63 % busy, 54 °C; on it: bob: 1 process" in training
    assert "GPU 3" in training
    assert "T4" not in training
    assert "H100" not in text(TrainingPhase.COMPLETED)


def test_wrapping_breaks_at_blanks_and_loses_nothing() -> None:
    lines = wrapped(Paragraph((("label ", "label"), ("one two three four", "text")), hang=2), 12)
    assert ["".join(text for text, _ in line).rstrip() for line in lines] == ["label one", "  two three", "  four"]
    assert ["".join(text for text, _ in line) for line in wrapped(Paragraph((("abcdefghij", "text"),)), 4)] == [
        "abcd", "efgh", "ij",
    ]  # fmt: skip
    assert wrapped(Paragraph(), 10) == [[]]


async def test_a_document_keeps_its_place_when_its_text_changes() -> None:
    from textual.app import App, ComposeResult

    class Reader(App[None]):
        def compose(self) -> ComposeResult:
            yield Document(id="document")

    def lines(count: int) -> list[Paragraph]:
        return [Paragraph(((f"line {number}", "text"),)) for number in range(count)]

    app = Reader()
    async with app.run_test(size=(40, 10)) as pilot:
        document = app.query_one(Document)
        document.show(lambda _: lines(50))
        document.page(1)
        document.show(lambda _: lines(60))
        assert document.scroll_offset.y == 9
        document.move_to("last")
        document.show(lambda _: lines(70))
        await until(pilot, lambda: document.scroll_offset.y == 60)
        document.show(lambda _: lines(5))
        await until(pilot, lambda: document.scroll_offset.y == 0)
