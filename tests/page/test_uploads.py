"""Uploads are in a folder of the process's own, so that a page that ends takes nothing from another."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ASKED = "import page, os, pathlib; p = os.environ['GRADIO_TEMP_DIR']; print(p, pathlib.Path(p).is_dir())"


def folder_of_a_process(**env: str) -> tuple[Path, bool]:
    settings = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"} | env
    done = subprocess.run(
        [sys.executable, "-c", ASKED], cwd=ROOT, env=settings, capture_output=True, text=True, check=True
    )
    folder, there = done.stdout.split()
    return Path(folder), there == "True"


def test_each_process_has_its_own_and_removes_it_at_its_end() -> None:
    (one, there), (other, _) = folder_of_a_process(), folder_of_a_process()
    assert there
    assert one != other
    assert not one.exists()


def test_the_folder_that_a_person_names_is_used_and_stays(tmp_path: Path) -> None:
    folder, there = folder_of_a_process(GRADIO_TEMP_DIR=str(tmp_path))
    assert (folder, there) == (tmp_path, True)
    assert tmp_path.is_dir()
