"""Draws the page's example pictures and has them answered: `python -m demo.make_examples`.

They are held-out scenes, beyond those that `demo.evaluate` counts. Out: PNGs and `examples.json` in `FOLDER`,
and for each a folder with what the bundled model answers, as the store keeps answers: the capture, what the
picture was needed for, the recommended maps; of the first also two tests.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

import config
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from demo.bundled import FIRST, FOLDER
from demo.scenes import CAPTION_PROMPT, HELD_OUT_SEED, make_scene
from evaluation.removal import check_map
from evaluation.without_picture import logprobs_without
from methods import TokenMaps, token_maps
from model import DEMO, load_model
from records.additions import write_check, write_maps, write_without
from records.entries import write_capture

BEST, WORD = config.METHOD, "heart"  # the maps that are kept, and the word whose maps are tested
DRAWN = 0.0  # when they were kept: the same each time, so that the files are too


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
    """Draw them, and have them answered."""
    FOLDER.mkdir(exist_ok=True)
    loaded = load_model(DEMO)
    for example in EXAMPLES:
        image = make_scene(HELD_OUT_SEED + example.seed, example.n_objects).image
        image.save(FOLDER / f"{example.name}.png")
        folder = FOLDER / example.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_answer(folder, loaded, image, example)
    listed = [{"image": f"{example.name}.png", "prompt": example.prompt} for example in EXAMPLES]
    (FOLDER / "examples.json").write_text(json.dumps(listed, indent=2) + "\n", "utf-8")


def write_answer(folder: Path, loaded: tuple[Any, Any], image: Image.Image, example: Example) -> None:
    """Write what the model answers, as config has it, and what is worked out about the answer."""
    model, processor = loaded
    capture = AttentionExtractor(model, processor, keep="all").generate(image, example.prompt)
    maps = timeless(token_maps(BEST, capture, model=model, processor=processor, image=image))
    write_capture(folder, capture, DRAWN)
    write_without(folder, capture, logprobs_without(model, processor, capture))
    write_maps(folder, capture, maps)
    if example.name != FIRST:
        return
    (tokens,) = (word.tokens for word in AttentionProcessor(capture).words() if word.text == WORD)
    for one in (maps, token_maps("attention", capture)):
        check = check_map(model, processor, image, capture, tokens, one.token_map(tokens))
        write_check(folder, capture, replace(check, map_key=one.key))


def timeless(maps: TokenMaps) -> TokenMaps:
    """Return the maps without the seconds that they took, which are others each time."""
    return replace(maps, cost=replace(maps.cost, seconds=0.0))


if __name__ == "__main__":
    main()
