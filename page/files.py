"""Files for a while: what visitors upload, and what is drawn and written for them.

Goes in: files in Gradio's folder, and whose they are. Comes out: the same, bounded: where a person or all
together have too much, whoever has most loses their own oldest. Knows nothing of what is in them.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gradio.processing_utils import save_file_to_cache, save_pil_to_cache
from gradio.utils import get_upload_folder
from PIL.Image import Image

import config
from page.people import People
from records.shares import Held, leaving


class Files:
    """The files that are there, in the order of last use."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[Path, str], int] = OrderedDict()  # bytes, of a file and whose it is

    def hold(self, person: str, paths: Iterable[Path]) -> None:
        """Take in a person's files; what is too much then is removed."""
        with self._lock:
            now = {(path.resolve(), person) for path in paths}
            for key in now:
                with suppress(OSError):  # removed meanwhile
                    self._held[key] = key[0].stat().st_size
                    self._held.move_to_end(key)
            held = [Held(key, key[1], size, key in now) for key, size in self._held.items()]
            for one in leaving(held, config.MAX_FILES_BYTES, config.MAX_VISITOR_BYTES):
                self._let_go(*one.item)

    def drawn(self, visitor: str, picture: Image) -> str:
        """Return the path of a picture that is written for a visitor, as PNG, where Gradio would have it."""
        path = save_pil_to_cache(picture, get_upload_folder(), format="png")
        self.hold(self._people.of(visitor), [Path(path)])
        return path

    def placed(self, visitor: str, path: Path) -> str:
        """Return the path of a visitor's file once it is where Gradio would have it, and nowhere else."""
        placed = save_file_to_cache(path, get_upload_folder())
        if Path(placed).resolve() != path.resolve():
            remove(path)
        self.hold(self._people.of(visitor), [Path(placed)])
        return placed

    def _let_go(self, path: Path, person: str) -> None:
        """Have a file no longer held by a person; one that nobody holds is removed."""
        del self._held[path, person]
        if not any(other == path for other, _ in self._held):
            remove(path)


def new_folder() -> Path:
    """Return a new folder for files, which nobody can guess."""
    folder = Path(get_upload_folder()) / secrets.token_hex(20)
    folder.mkdir(parents=True)
    return folder


def remove(path: Path) -> None:
    """Remove a file, and its folder if nothing else is in it."""
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()
