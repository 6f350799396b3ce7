"""The notebook of the documentation, executed in a kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; .ci/run-peers installs it")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel", reason="ipykernel is not installed; .ci/run-peers installs it")

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory, private_home: None) -> list[Any]:
    """The code cells, executed one after another."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    place = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    ).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: Any, kind: str = "text/html") -> str:
    """What the cell shows as HTML or text; nothing was printed."""
    assert {output.output_type for output in cell.outputs} <= {"display_data", "execute_result"}
    (output,) = cell.outputs
    found = output.data[kind]
    return found if isinstance(found, str) else "".join(found)


def test_progress_is_one_output_that_ends_with_the_result(cells: list[Any]) -> None:
    html = shown(cells[0])
    assert html.startswith("<div><div><b>Run models</b>: completed, 3 of 3 models completed, accuracy ")
    assert "<progress" not in html
    assert html.count("<td>5/5</td>") == 3


def test_a_run_shows_itself(cells: list[Any]) -> None:
    html = shown(cells[1])
    assert "<b>Run rates</b>: completed, 4 of 4 models completed" in html
    assert html.count("<td>learning_rate 0.01</td>") == 2
    assert shown(cells[1], "text/plain").startswith("<Run 'rates' at '")


def test_frames_are_shown_as_polars_shows_them(cells: list[Any]) -> None:
    assert "<small>shape: (4, 5)</small>" in shown(cells[2])
    assert "<small>shape: (8, 4)</small>" in shown(cells[3])


def test_the_best_model_is_loaded(cells: list[Any]) -> None:
    assert "Linear" in shown(cells[4], "text/plain")
    assert cells[5].outputs == []
