"""Draws the page's example pictures, with a question for each: `python -m demo.make_examples`.

They are held-out scenes, beyond those that `demo.evaluate` counts. Out: PNGs and `examples.json` in `FOLDER`.
"""

import json
from pathlib import Path
from typing import NamedTuple

from demo.scenes import CAPTION_PROMPT, HELD_OUT_SEED, make_scene

FOLDER = Path(__file__).parent / "examples"


class Example(NamedTuple):
    """A held-out scene and what to ask about it."""

    name: str
    seed: int  # counted from HELD_OUT_SEED
    n_objects: int
    prompt: str


EXAMPLES = (
    Example("star", 1038, 4, CAPTION_PROMPT),
    Example("sun", 1017, 4, CAPTION_PROMPT),
    Example("party", 1011, 4, "What color is the cup?"),
    Example("shore", 1020, 4, "Where is the fish?"),
    Example("heart", 1025, 3, "What is in the center?"),
    Example("hills", 1034, 3, "How many things are there?"),
    Example("row", 1037, 3, "Is there a boat?"),
    Example("boat", 1016, 3, CAPTION_PROMPT),
)


def main() -> None:
    """Draw them."""
    FOLDER.mkdir(exist_ok=True)
    for example in EXAMPLES:
        make_scene(HELD_OUT_SEED + example.seed, example.n_objects).image.save(FOLDER / f"{example.name}.png")
    listed = [{"image": f"{example.name}.png", "prompt": example.prompt} for example in EXAMPLES]
    (FOLDER / "examples.json").write_text(json.dumps(listed, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
