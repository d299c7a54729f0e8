"""Nothing is written but in cache/, outputs/ and temporary folders: every file that is opened says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Serves a page in a process that notes each file that is opened to be written, each folder that is made, and
# each move; a visitor sends a picture, asks, looks at a map and takes files away.
WATCHED = """
import json, os, sys, tempfile
written = set()
def heard(event, given):
    if event == "open" and isinstance(given[0], (str, bytes)) and isinstance(given[2], int):
        if given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.add(os.fsdecode(given[0]))
    elif event == "os.mkdir" and given[2] == -1:
        written.add(os.fspath(given[0]))
    elif event in ("os.rename", "os.link", "os.symlink"):
        written.add(os.fspath(given[1]))
sys.addaudithook(heard)
import config
config.CACHE_DIR, config.METHOD = sys.argv[1], "attention"
from tests.page.security.kit import Visitor, picture, result_of
from tests.page.telling import request
from tests.choosing import wanted
from tests.serving import served
LOOK = {"colormap": "magma", "opacity": 1, "contrast": 0, "view": "overlay", "cells": "cells", "scale": "own"}
with served("demo") as (page, url):
    visitor = Visitor(url, "10.0.0.1")
    result_of(visitor.asks(visitor.sends(picture(1)), "me"))
    result_of(visitor.sees("me"))
    ((_, run_id),) = page.sessions._runs
    for kind in ("png", "html"):
        list(page.share.on_make(request("me"), run_id, kind, "word", "0", LOOK, wanted()))
print(json.dumps(sorted(map(str, written))))
"""


def test_everything_that_is_written_lies_where_it_is_promised(tmp_path: Path) -> None:
    temporary, cache = tmp_path / "temporary", tmp_path / "cache"
    temporary.mkdir()
    settings = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    settings |= {"TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WATCHED, str(cache)],
        cwd=ROOT,
        env={**settings, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    written = {Path(path).resolve() for path in json.loads(done.stdout.splitlines()[-1])}
    fonts = [Path.home() / place / "matplotlib" for place in (".config", ".cache")]  # a library's own list
    allowed = (cache, temporary, *fonts, Path("/dev"), Path("/proc"))
    assert {path for path in written if not any(path.is_relative_to(place) for place in allowed)} == set()
    assert any(path.is_relative_to(cache) for path in written)
    assert [path.name for path in temporary.iterdir() if path.name.startswith("word-lens-")] == []
