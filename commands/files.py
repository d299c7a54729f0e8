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

MAPS, ORIGINAL, ANSWER = "maps.npz", "original.png", "answer.txt"
CLOSER = "closer"  # the folder of a second answer beside the first
DRAWN_NAME = re.compile(
    r"((token|word|prompt_word|(prompt_)?step)_\d+|(prompt_)?overview|layer_\d+_(heatmap|superimposed)"
    r"|layer_grid)\.png|(prompt_)?moving\.(gif|mp4)|boxes\.json"
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
    """Move all files into output, each maps.npz last; remove an earlier run's that are not among them."""
    new = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    gone = earlier_files(output) - set(new) if any(file.name == MAPS for file in new) else set()
    for file in sorted(new, key=lambda file: (file.name == MAPS, file)):
        (output / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).replace(output / file)
    for file in gone:
        (output / file).unlink(missing_ok=True)
    for folder in sorted({folder for file in gone for folder in file.parents if folder.name}, reverse=True):
        with suppress(OSError):  # something else is in it
            (output / folder).rmdir()


def earlier_files(output: Path) -> set[Path]:
    """Return what an earlier run wrote there, of one picture or of several, beside its first answer."""
    found = set()
    for answer in (output, output / CLOSER, *output.glob("turn_*")):
        for folder in (answer, *answer.glob("picture_*"), *answer.glob("clip_*")):
            if names := earlier_pictures(folder / MAPS):
                found |= {(folder / name).relative_to(output) for name in (*names, MAPS, ORIGINAL)}
                found |= {(answer / ANSWER).relative_to(output)} if answer != output else set()
    return found


def earlier_pictures(maps: Path) -> set[str]:
    """Return the names of the pictures written together with this maps.npz, if it is one of ours."""
    unreadable = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
    with suppress(*unreadable), np.load(maps) as arrays:
        files = json.loads(str(arrays["settings"]))["drawing"]["files"]
        return {name for name in files if DRAWN_NAME.fullmatch(name)}
    return set()
