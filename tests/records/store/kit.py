"""What several tests here share."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from model import Checkpoint, answer_key, checkpoint
from records import entries, store
from records.capture import Capture
from records.pictures import image_hash
from records.store import Store
from records.turns import Turn
from tests.attention_processor.kit import made_capture

KEYS = [f"{number:032x}" for number in range(12)]
ROOT = Path(store.__file__).parent.parent


def picture(seed: int = 0) -> Image.Image:
    """Return a picture of 196 x 140 pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (140, 196, 3), dtype=np.uint8))


def capture_of(image: Image.Image, **changed: Any) -> Capture:
    """Return a capture in which no part has its default value, so that none can be left out unseen."""
    whole = made_capture()
    parts: dict[str, Any] = {
        "image_hash": image_hash(image),
        "pictures": (image,),
        "settings": {"temperature": 0.0, "layers": [0, 2], "more": {"deep": [[1], None]}, "dtype": "float32"},
        "stopped": True,
        "attention": whole.attention.half(),
        "history": (Turn("“Wo” ist es?", ("image",), (7, 3, 7), "da \ud83d"),),
        "model_name": "../../Modell “mit” \ud83d 模型",
    }
    return made_capture(**parts | changed)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)
    if isinstance(left, Image.Image) and isinstance(right, Image.Image):
        return left.mode == right.mode and left.size == right.size and left.tobytes() == right.tobytes()
    return type(left) is type(right) and left == right


def left(kept: Store) -> set[str]:
    return {path.name for path in kept.folder.iterdir()} if kept.folder.exists() else set()


def age(kept: Store, entry_id: str, seconds: float) -> None:
    """Make an entry look as if it was used so long ago."""
    then = (kept.folder / entry_id).stat().st_mtime - seconds
    os.utime(kept.folder / entry_id, (then, then))


def spoilt_files(folder: Path) -> dict[str, Any]:
    facts = json.loads((folder / entries.FACTS).read_text("utf-8"))
    short = facts["capture"] | {"tokens": facts["capture"]["tokens"][:-1]}
    return {
        "no list": lambda: (folder / entries.FACTS).unlink(),
        "cut list": lambda: (folder / entries.FACTS).write_text('{"format": 1, "capt'),
        "list of another kind": lambda: (folder / entries.FACTS).write_text("[1]"),
        "another format": lambda: (folder / entries.FACTS).write_text(json.dumps(facts | {"format": 99})),
        "parts disagree": lambda: (folder / entries.FACTS).write_text(json.dumps(facts | {"capture": short})),
        "unknown part": lambda: (folder / entries.FACTS).write_text(
            json.dumps(facts | {"capture": facts["capture"] | {"mood": 1}})
        ),
        "no tensors": lambda: (folder / entries.TENSORS).unlink(),
        "cut tensors": lambda: (folder / entries.TENSORS).write_bytes(
            (folder / entries.TENSORS).read_bytes()[:-9]
        ),
        "pickled tensors": lambda: torch.save({"attention": torch.ones(1)}, folder / entries.TENSORS),
        "no picture": lambda: (folder / entries.PICTURE).unlink(),
        "another picture": lambda: picture(9).save(folder / entries.PICTURE),
        "cut picture": lambda: (folder / entries.PICTURE).write_bytes(
            (folder / entries.PICTURE).read_bytes()[:400]
        ),
    }


def source(folder: Path) -> Checkpoint:
    found = checkpoint(str(folder))
    assert found is not None
    return found


def asked(folder: Path, **changed: Any) -> str:
    return answer_key(source(folder), **{"image": "a" * 64, "prompt": "What?", **changed})
