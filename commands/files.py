"""Files in a folder, all or none."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from commands.pictures import check_folder
from commands.terminal import UsageError, stop_on_interrupt
from utils import remove_abandoned, unfinished_folder

DRAWN_NAME = re.compile(
    r"((token|word|prompt_word)_\d+|overview|layer_\d+_(heatmap|superimposed)|layer_grid)\.png|boxes\.json"
)


@contextmanager
def finished_folder(output: Path) -> Iterator[Path]:
    """Yield an empty folder; its files move to `output` if the block ends well, else nothing is left.

    Files of the same names are replaced. Pictures that an earlier run wrote there (its maps.npz lists them)
    and this one did not are removed: what is left belongs together.
    """
    beside = check_folder(output)
    remove_abandoned(beside)
    with ExitStack() as held:
        try:
            folder = held.enter_context(unfinished_folder(beside))
        except OSError as error:
            raise UsageError(f"cannot write into {output}: {error.strerror}") from error
        yield folder
        with stop_on_interrupt():  # these few moves are not interrupted half-way
            move_all(folder, output)


def move_all(folder: Path, output: Path) -> None:
    """Move all files into output, maps.npz last; remove an earlier run's pictures that are not among them."""
    output.mkdir(parents=True, exist_ok=True)
    earlier = earlier_pictures(output / "maps.npz") if (folder / "maps.npz").exists() else set()
    new = sorted(folder.iterdir(), key=lambda file: (file.name == "maps.npz", file.name))
    for file in new:
        file.replace(output / file.name)
    for name in earlier - {file.name for file in new}:
        (output / name).unlink(missing_ok=True)


def earlier_pictures(maps: Path) -> set[str]:
    """Return the names of the pictures written together with this maps.npz, if it is one of ours."""
    unreadable = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
    with suppress(*unreadable), np.load(maps) as arrays:
        files = json.loads(str(arrays["settings"]))["drawing"]["files"]
        return {name for name in files if DRAWN_NAME.fullmatch(name)}
    return set()
