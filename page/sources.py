"""The pictures to choose from: a person's own, and the bundled examples.

Goes in: what was chosen in the browser, which may be anything. Comes out: the component, and the picture that
is meant, safe to use. An example is named by its number; a picture of one's own by the path of its upload.
"""

import base64
import io
import json
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

import config
from demo.bundled import FOLDER
from page.files import new_folder
from page.inputs import RefusedError, refusal
from page.parts import LATEST, new_number, text_of
from records.opening import open_visual
from records.pictures import ImageError, image_hash, open_image
from records.videos import Video, open_video
from visualization import fitted

SIDE, QUALITY = 640, 88  # of a picture as it is shown among those to choose: pixels of its longer side
LONGEST_PATH = 4096
MOST = 64  # pictures of one question; how many fit into an answer the model's length says
Found = TypeVar("Found")
ROOT = "document.querySelector('#image .sources')"
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}


class Sources:
    """The component: a field for a file, and a small picture for each that can be chosen."""

    def __init__(self) -> None:
        """Add it to the blocks that are being built."""
        shown = [{"src": _address(path), "name": path.name, "prompt": prompt} for path, prompt in examples()]
        self.image = gr.HTML(
            None,
            html_template=text_of("sources.html"),
            js_on_load=text_of("sources.js"),
            apply_default_css=False,
            examples=shown,
            most=bytes_of(config.MAX_UPLOAD),
            checked=None,
            elem_id="image",
        )

    def wire(self) -> None:
        """Have every file looked at as it comes."""
        sent = f"() => [JSON.parse({ROOT}.dataset.sent)]"
        self.image.check(self.on_check, [self.image], [self.image], js=sent, **LATEST)

    def on_check(self, sent: Any) -> dict[Any, Any]:
        """Show why uploads cannot be asked about, or else their pictures as any browser can draw them."""
        paths = [one.get("path") for one in sent if isinstance(one, dict)] if isinstance(sent, list) else []
        found = [{"path": path, **_checked(path), "said": new_number()} for path in paths[:MOST]]
        return {self.image: gr.HTML(checked=found)}

    def of(self, picture: Image.Image | Video, name: str = "your picture") -> dict[str, Any]:
        """Return a picture as one that was chosen: an example, or written as an upload in its own folder.

        A clip of an answer from before is only shown: its file is not at hand, to be asked about again.
        """
        if isinstance(picture, Video):
            poster = _jpeg(picture.picture(0))
            return {"path": None, "url": poster, "orig_name": picture.name, "kind": "video"}
        number = _known().get(image_hash(picture))
        if number is not None:
            return {"example": number, "orig_name": examples()[number][0].name}
        path = new_folder() / "picture.png"
        picture.save(path)
        return {"path": str(path), "url": _address(path), "orig_name": name}


def examples() -> list[tuple[Path, str]]:
    """Return (picture, prompt) of each bundled example that is there."""
    listed = FOLDER / "examples.json"
    if not listed.is_file():
        return []
    entries = json.loads(listed.read_text(encoding="utf-8"))
    return [(FOLDER / entry["image"], entry["prompt"]) for entry in entries]


@cache
def _known() -> dict[str, int]:
    """Return the number of each example, by its picture's hash."""
    return {image_hash(open_image(path)): number for number, (path, _) in enumerate(examples())}


def opened(chosen: Any) -> tuple[Image.Image | Video, ...]:
    """Return what is chosen, one or a list: an example by its number, or an upload by its path.

    Raises:
        RefusedError: if none is chosen, or what is named is neither an example nor an upload.
        ValueError: one line, for a file that cannot be used; of several it says which.
    """
    return tuple(_each(chosen, _opened))


def sizes_of(chosen: Any) -> list[tuple[int, int] | Video]:
    """Return the (width, height) of each picture that is chosen, as it is used, a clip itself.

    Errors are those of `opened`.
    """
    return _each(chosen, _size)


def _each(chosen: Any, read: Callable[[Path], Found]) -> list[Found]:
    """Return what is read of each that is chosen; an error names its place."""
    several = chosen if isinstance(chosen, list) and chosen else [chosen]
    if len(several) > MOST:
        raise RefusedError(f"At most {MOST} pictures can be asked about at once; {len(several)} are chosen.")
    found = []
    for number, one in enumerate(several):
        try:
            found.append(read(_file(one)))
        except (RefusedError, ImageError) as error:
            if len(several) == 1:
                raise
            raise type(error)(f"Picture {number + 1} of {len(several)}: {error}") from None
    return found


@lru_cache(maxsize=256)
def _size_of_picture(path: Path) -> tuple[int, int] | None:
    """Return a picture's size, None of a clip: worked out once, for what was sent is never written again."""
    shown = open_visual(path, _clip)
    return None if isinstance(shown, Video) else shown.size


@lru_cache(maxsize=2)
def _clip(path: Path) -> Video:
    """Return a clip: decoded once, though only the latest few stay in memory."""
    return open_video(path)


def _size(path: Path) -> tuple[int, int] | Video:
    return _size_of_picture(path) or _clip(path)


def _opened(path: Path) -> Image.Image | Video:
    return _clip(path) if _size_of_picture(path) is None else open_image(path)


def _file(chosen: Any) -> Path:
    if not isinstance(chosen, dict):
        raise RefusedError("Choose a picture first.")
    number, known = chosen.get("example"), examples()
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(known):
        return known[number][0]
    return uploaded(chosen.get("path"))


def uploaded(path: Any) -> Path:
    """Return the path of an upload; RefusedError for what is none, whatever else it may be."""
    if not isinstance(path, str) or not path or len(path) > LONGEST_PATH or "\0" in path:
        raise RefusedError("Choose a picture first.")
    try:
        folder, real = Path(get_upload_folder()).resolve(), Path(path).resolve()
        there = real.is_relative_to(folder) and real.is_file()
    except (OSError, UnicodeError, RuntimeError):  # too long a name, no name at all, a circle of links
        there = False
    if not there:
        raise RefusedError("This picture is no longer here: choose it again.")
    return real


def _checked(path: Any) -> dict[str, Any]:
    """Return an upload as a browser can draw it, and what is to be said of it; or why it cannot be used."""
    try:
        file = uploaded(path)
        clip = _size(file)
        if not isinstance(clip, Video):
            return {"url": _address(file), "kind": "image"}
        note = f"{clip.duration:.1f} s, {len(clip.frames)} frames read"
        return {"url": _jpeg(clip.picture(0)), "kind": "video", "note": note}
    except Exception as error:
        return {"reason": refusal(error)}


def _address(path: Path) -> str:
    """Return a picture as an address that holds it, small enough for a page."""
    return _jpeg(open_image(path))


def _jpeg(picture: Image.Image) -> str:
    file = io.BytesIO()
    fitted(picture, max_side=SIDE).convert("RGB").save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def bytes_of(size: str) -> int:
    """Return a size such as "20mb" in bytes."""
    number = size.lower().rstrip("bkmg ")
    return int(float(number) * _UNITS[size.lower()[len(number) :].strip()])
