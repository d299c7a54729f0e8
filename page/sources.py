"""The pictures to choose from: a person's own, and the bundled examples.

Goes in: what was chosen in the browser, which may be anything. Comes out: the component, and the picture that
is meant, safe to use. An example is named by its number; a picture of one's own by the path of its upload.
"""

import base64
import io
import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

import config
from demo.bundled import FOLDER
from page.files import new_folder
from page.inputs import RefusedError, refusal
from page.parts import LATEST, new_number, text_of
from records.pictures import image_hash, open_image
from visualization import fitted

SIDE, QUALITY = 640, 88  # of a picture as it is shown among those to choose: pixels of its longer side
LONGEST_PATH = 4096
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
        sent = f"() => JSON.parse({ROOT}.dataset.sent)"
        self.image.check(self.on_check, [self.image], [self.image], js=sent, **LATEST)

    def on_check(self, sent: Any) -> dict[Any, Any]:
        """Show why an upload cannot be asked about, or else its picture as any browser can draw it."""
        path = sent.get("path") if isinstance(sent, dict) else None
        try:
            found = {"url": _address(uploaded(path))}
        except Exception as error:
            found = {"reason": refusal(error)}
        return {self.image: gr.HTML(checked={"path": path, **found, "said": new_number()})}

    def of(self, picture: Image.Image, name: str = "your picture") -> dict[str, Any]:
        """Return a picture as one that was chosen: an example, or written as an upload in its own folder."""
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


def opened(chosen: Any) -> Image.Image:
    """Return the picture that is chosen: an example by its number, or an upload by its path.

    Raises:
        RefusedError: if none is chosen, or what is named is neither an example nor an upload.
        ValueError: one line, for a file that is no picture or cannot be used.
    """
    return open_image(_file(chosen))


def size_of(chosen: Any) -> tuple[int, int]:
    """Return the (width, height) of the picture that is chosen, as it is used; errors as of `opened`."""
    return _size(_file(chosen))


def _file(chosen: Any) -> Path:
    if not isinstance(chosen, dict):
        raise RefusedError("Choose a picture first.")
    number, known = chosen.get("example"), examples()
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(known):
        return known[number][0]
    return uploaded(chosen.get("path"))


@lru_cache(maxsize=256)
def _size(path: Path) -> tuple[int, int]:
    """Return a picture's size: worked out once, for a file that was sent is never written again."""
    return open_image(path).size


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


def _address(path: Path) -> str:
    """Return a picture as an address that holds it, small enough for a page."""
    file = io.BytesIO()
    fitted(open_image(path), max_side=SIDE).convert("RGB").save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def bytes_of(size: str) -> int:
    """Return a size such as "20mb" in bytes."""
    number = size.lower().rstrip("bkmg ")
    return int(float(number) * _UNITS[size.lower()[len(number) :].strip()])
