"""docs/notebook.ipynb, executed from its first cell to its last, in a folder that is not the project's."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the notebook's code cells, with what each put out."""
    elsewhere = tmp_path_factory.mktemp("a folder of one's own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # as `pip install -e .` makes the names importable
        patch.setenv("JUPYTER_RUNTIME_DIR", str(elsewhere / "runtime"))
        patch.setenv("IPYTHONDIR", str(elsewhere / "ipython"))
        notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
        NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(elsewhere)}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def html_of(cell: Any) -> str:
    return str("".join(one["data"].get("text/html", "") for one in cell.outputs if "data" in one))


def test_capture_and_maps_show_the_viewer_with_the_picture(cells: list[Any]) -> None:
    frames = [html for html in map(html_of, cells) if html]
    assert len(frames) == 2
    for html in frames:
        assert html.startswith('<iframe srcdoc="')
        assert "data:image/" in html
        assert "A blue heart" in html


def test_it_ends_with_a_picture_and_a_check(cells: list[Any]) -> None:
    *_, picture, check = cells
    assert any("image/png" in one["data"] for one in picture.outputs if "data" in one)
    (said,) = check.outputs
    assert said["text"].startswith("Removing ")
    assert "“heart”" in said["text"]


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    assert all(
        not cell.outputs and cell.execution_count is None
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
