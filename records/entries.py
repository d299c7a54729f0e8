"""One kept answer on disk: a folder with the capture, its pictures, and what was worked out about it.

Goes in: a `Capture`, its pictures and clips. Comes out: files, and the same again. Knows nothing of other
entries.

A clip is kept as the frames that were looked at, one below the other in one PNG, which loses nothing, and as
facts beside those of the capture. The file that they came from is not needed again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from records.additions import Additions, check_format, disk_told, read_additions
from records.capture import Capture
from records.map_check import MapCheck
from records.pictures import image_hash, open_image, rgb
from records.token_maps import TokenMaps
from records.turns import turn_of_json
from records.videos import Video, video_hash
from records.visuals import Visual, picture_visual, visual_of_json
from utils import one_line

# Raised when an entry is written in a way that older code cannot read; 1 knew one picture, 2 pictures alone
# and no earlier turns.
FORMAT, FORMATS = 2, (1, 2, 3)
LATEST = 3  # of an entry that has a clip, or earlier turns
TENSORS, FACTS, PICTURE, THUMBNAIL = "capture.safetensors", "capture.json", "picture.png", "thumbnail.png"
THUMBNAIL_SIDE = 192  # pixels of the longer side
ANSWER_CHARACTERS = 200  # of the answer and of the prompt, in a list


@dataclass(frozen=True, eq=False)
class Kept:
    """A capture that was kept, and what was worked out about it since."""

    id: str
    capture: Capture  # with its pictures
    additions: Additions = field(default_factory=Additions)

    @property
    def image(self) -> Image.Image:
        """The one picture; ValueError where there are several, or a clip."""
        picture = self.capture.picture
        assert picture is not None
        return picture

    @property
    def without(self) -> NDArray[np.float32] | None:
        """Log p of each token (token,) to the same question without the picture; None if not known."""
        return self.additions.without

    @property
    def maps(self) -> Mapping[str, TokenMaps]:
        """Maps by methods that read the answer again, by name; perhaps of some of its tokens only."""
        return self.additions.maps

    @property
    def checks(self) -> tuple[MapCheck, ...]:
        """The maps that were tested."""
        return self.additions.checks


@dataclass(frozen=True)
class Entry:
    """What a list says of a capture that is kept; read without its tensors."""

    id: str
    model: str
    prompt: str  # on one line, cut
    answer: str  # on one line, cut
    tokens: int
    stopped: bool
    turns: int  # of its conversation before it
    parent: str | None  # the id of the answer that it follows or asks again
    saved: float  # seconds since 1970
    bytes: int  # on disk
    thumbnail: Path  # a PNG


def write_entry(folder: Path, capture: Capture, images: Sequence[Image.Image | Video]) -> None:
    """Write all files of an entry; the small copy is of its first picture, of a clip's first frame."""
    write_capture(folder, capture, time.time(), [one for one in images if isinstance(one, Video)])
    for number, image in enumerate(images):
        if isinstance(image, Video):
            whole = Image.fromarray(
                image.frames.reshape(-1, *image.frames.shape[2:])
            )  # (frame row, col, rgb)
        else:
            whole = rgb(image).copy()
            whole.info = {}  # the pixels alone, without what a file said of itself
        whole.save(folder / picture_name(number), format="PNG", compress_level=1)
        if number == 0:
            first = image.picture(0) if isinstance(image, Video) else whole
            first.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            first.save(folder / THUMBNAIL)


def picture_name(number: int) -> str:
    """Return the name of an entry's picture, by its place in the prompt from 0 on."""
    return PICTURE if number == 0 else f"{Path(PICTURE).stem}-{number + 1}{Path(PICTURE).suffix}"


def write_capture(folder: Path, capture: Capture, saved: float, clips: Sequence[Video] = ()) -> None:
    """Write an entry's files but for its pictures; `saved` is when, in seconds since 1970.

    `clips` are those of the capture, in its order; their frames are not written here.
    """
    from safetensors.torch import save_file
    from torch import Tensor

    values = {part.name: getattr(capture, part.name) for part in fields(capture) if part.name != "pictures"}
    for name in ("visuals", "history"):
        values[name] = [asdict(part) for part in values[name]]
    if not capture.history:
        del values["history"]  # which older code does not know
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    with disk_told():
        save_file({name: _whole(tensor) for name, tensor in tensors.items()}, folder / TENSORS)
    facts = {
        "format": LATEST if clips or capture.history else FORMAT,
        "saved": saved,
        "capture": {name: value for name, value in values.items() if name not in tensors},
        **({"clips": [_clip_facts(clip) for clip in clips]} if clips else {}),
    }
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _clip_facts(clip: Video) -> dict[str, Any]:
    """Return all of a clip but its frames, JSON-ready, and how many frames there are."""
    rest = {part.name: getattr(clip, part.name) for part in fields(clip) if part.name != "frames"}
    return {**rest, "count": len(clip.frames)}


def _whole(tensor: Any) -> Any:
    """Return the tensor in memory of its own, as the file needs it; not copied where it is so already."""
    whole = tensor.detach().cpu().contiguous()
    return whole if whole.untyped_storage().nbytes() == whole.nbytes else whole.clone()


def _facts(folder: Path) -> dict[str, Any]:
    facts = json.loads((folder / FACTS).read_text("utf-8"))
    check_format(facts, FORMATS)
    return dict(facts)


def read_entry(folder: Path, picture_file: Path | None = None) -> Kept:
    """Return an entry with what is kept beside it; whatever is wrong with it raises.

    `picture_file` is its first picture where that is not in the folder.
    """
    from safetensors.torch import load_file

    facts = _facts(folder)
    plain = {name: _with_tuples(value) for name, value in facts["capture"].items()}
    visuals, clips = _visuals(plain), iter(facts.get("clips", ()))
    history = tuple(map(turn_of_json, plain.pop("history", ())))
    files = [picture_file or folder / PICTURE]
    files += [folder / picture_name(number) for number in range(1, len(visuals))]
    pictures = tuple(
        open_image(file) if visual.kind == "image" else _clip(file, next(clips, {}))
        for file, visual in zip(files, visuals, strict=True)
    )
    if [_hash(picture) for picture in pictures] != [visual.hash for visual in visuals]:
        raise ValueError("its picture is not the one of its capture")
    parts = {"visuals": visuals, "history": history, "pictures": pictures}
    capture = Capture(**{**plain, **load_file(folder / TENSORS), **parts})
    return Kept(folder.name, capture, read_additions(folder, capture, folder.name[:8]))


def _clip(file: Path, facts: Mapping[str, Any]) -> Video:
    """Return a clip from the file with its frames, one below the other, and what was written of it."""
    told = {name: _with_tuples(value) for name, value in facts.items()}
    count = told.pop("count")
    with Image.open(file, formats=["PNG"]) as whole:
        pixels = np.asarray(whole)
    return Video(**told, frames=pixels.reshape(count, -1, *pixels.shape[1:]))


def _hash(picture: Image.Image | Video) -> str:
    if isinstance(picture, Video):
        return video_hash(picture.frames, picture.times)
    return image_hash(picture)


def _visuals(plain: dict[str, Any]) -> tuple[Visual, ...]:
    """Take the visuals out of a capture's facts; format 1 knew the grid, size and hash of one picture."""
    if "visuals" in plain:
        return tuple(map(visual_of_json, plain.pop("visuals")))
    return (picture_visual(plain.pop("grid"), plain.pop("image_size"), plain.pop("image_hash")),)


def _with_tuples(value: Any) -> Any:
    """Return what JSON wrote as lists as tuples; what is inside a dict stays as JSON has it."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def listed_entry(folder: Path) -> Entry:
    """Return what a list says of an entry; whatever is wrong with it raises."""
    facts = _facts(folder)
    capture = facts["capture"]
    return Entry(
        id=folder.name,
        model=str(capture["model_name"]),
        prompt=one_line(capture["prompt"], ANSWER_CHARACTERS),
        answer=one_line(capture["text"], ANSWER_CHARACTERS),
        tokens=len(capture["token_ids"]),
        stopped=bool(capture["stopped"]),
        turns=len(capture.get("history", ())),
        parent=capture["settings"].get("parent"),
        saved=float(facts["saved"]),
        bytes=size_of(folder),
        thumbnail=folder / THUMBNAIL,
    )


def size_of(folder: Path) -> int:
    """Return the bytes of an entry's files."""
    return sum(file.stat().st_size for file in folder.iterdir())
