"""Pictures and a prompt as the model reads them, after a conversation or not.

Goes in: a model, its processor, pictures, a prompt and earlier turns. Comes out: an `Encoded`. Knows nothing
of files and of the answer to come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from model.families import Processor, model_device
from model.questions import (
    check_answers,
    check_known,
    check_length,
    in_prompt,
    token_of,
    visual_tokens,
    with_answers,
    written_question,
)
from model.videos import clip_text, video_inputs
from records.pictures import ImageError, check_image_size, hashes_of, rgb
from records.turns import Turn, kinds_of_turns
from records.videos import Video
from records.visuals import (
    Kind,
    OfVisuals,
    Visual,
    check_in_order,
    patch_count,
    picture_visual,
    placeholders,
)
from utils import as_list

Pictures = Image.Image | Video | Sequence[Image.Image | Video]
Size = tuple[int, int] | Video  # (width, height) of a picture; a clip itself, whose frames count too
PIXELS: Mapping[Kind, str] = {
    "image": "pixel_values",
    "video": "pixel_values_videos",
}  # as the model takes them
Hash = str | Sequence[str]


class Counts(NamedTuple):
    """How many tokens stand before an answer."""

    visual: int  # of the pictures
    prompt: int  # of the person's text
    length: int  # all of them, those of the template among them


@dataclass(frozen=True, eq=False)
class Encoded(OfVisuals):
    """Pictures and one prompt as the model reads them."""

    inputs: dict[str, Tensor]  # every tensor that the processor returned, on the model's device
    visuals: tuple[Visual, ...]  # the pictures, in the order of the prompt; those of earlier turns too
    image_positions: Tensor  # (patch,) position of each visual token in the sequence, of all visuals
    prompt_positions: Tensor  # (prompt token,) positions of the person's text, template left out
    pictures: tuple[Image.Image | Video, ...]  # RGB, as they were given
    history: tuple[Turn, ...] = ()  # the turns before the question

    @property
    def earlier(self) -> int:
        """How many of the visuals are those of earlier turns; they are the first."""
        return len(kinds_of_turns(self.history))

    @property
    def input_ids(self) -> Tensor:
        """Token ids of the sequence (S,)."""
        return self.inputs["input_ids"][0]

    @property
    def prompt_length(self) -> int:
        """Number of tokens before the answer, S."""
        return len(self.input_ids)

    @property
    def pixels(self) -> Tensor:
        """What the model sees (patch, value), of all visuals in the order of the prompt; patches unmerged."""
        left = {name: value for name, value in self.inputs.items() if name in PIXELS.values()}
        if len(left) == 1:
            return next(iter(left.values()))
        found, per_cell = [], sum(map(len, left.values())) // patch_count(self.visuals)
        for visual in self.visuals:
            name, size = PIXELS[visual.kind], visual.count * per_cell
            found.append(left[name][:size])
            left[name] = left[name][size:]
        return torch.cat(found)

    def apart(self, pixels: Tensor) -> list[Tensor]:
        """Return `pixels` visual by visual."""
        per_cell = len(pixels) // patch_count(self.visuals)
        return list(pixels.split([visual.count * per_cell for visual in self.visuals]))

    @property
    def counts(self) -> Counts:
        """How many tokens stand before the answer."""
        return Counts(len(self.image_positions), len(self.prompt_positions), self.prompt_length)

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        check_in_order(self.visuals)
        if len(self.image_positions) != (needed := patch_count(self.visuals)):
            grids = ", ".join("x".join(map(str, visual.grid)) for visual in self.visuals)
            raise ValueError(
                f"the prompt has {len(self.image_positions)} image tokens; grid {grids} needs {needed}"
            )
        for visual in self.visuals:
            steps = self.image_positions[visual.patches].reshape(visual.grid[0], -1)
            if bool((steps.diff(dim=1) != 1).any()):
                raise ValueError(f"expected the tokens of {visual.name} side by side")
        if len(self.prompt_positions) == 0:
            raise ValueError("expected at least one prompt token; got none")


def encode(
    model: Any,
    processor: Processor,
    visuals: Pictures,
    prompt: str,
    known_hash: Hash | None = None,
    *,
    thinking: bool = False,
    system: str | None = None,
    history: Sequence[Turn] = (),
) -> Encoded:
    """Return a picture, or several, and the prompt as the model reads them, in its own chat template.

    The pictures stand before the prompt, or each where the prompt says `<image>`. With earlier turns, their
    `history`, `visuals` are those of the whole conversation in its order, and the prompt is its last
    question; earlier answers are read by their ids, less the thoughts that the template leaves out.
    `known_hash` is the picture's `image_hash`, of several a list, for who has worked it out already.
    `thinking` is what a template that asks whether the model is to think aloud first is told:
    `chosen_thinking`, or `Capture.thinking`. `system` is the text of a system turn before the question; None
    leaves it to the template, which may write one of its own.

    Raises:
        ImageError: for no picture, or one outside the bounds of `config`; of several its place is named.
        PromptError: for an empty or over-long prompt, one with tokens that only the template may write, or
            with another number of `<image>` than there are pictures; for a conversation that the template
            or the model cannot read.
    """
    shown = _shown(visuals)
    kinds = new_kinds(shown, history)
    written = written_question(processor, prompt, kinds, thinking, system, history)
    inputs, read = _read(processor, written.text, shown)
    characters = [of_one.characters for of_one in read]
    inputs = with_answers(inputs, written, processor, characters)
    offsets = inputs.pop("offset_mapping")[0]
    device = model_device(model)
    inputs = {name: value.to(device) for name, value in inputs.items()}
    ids = inputs["input_ids"][0]
    check_answers(history, model, processor)
    check_length(len(ids), model, "conversation" if history else "prompt")
    check_known(ids, model, processor)
    hashes = hashes_of(shown, known_hash)
    found: list[Visual] = []
    for place, (one, of_one, known) in enumerate(zip(shown, read, hashes, strict=True), start=1):
        found.append(_visual(one, of_one, known, place, patch_count(found)))
    asked = in_prompt(offsets, written, processor, characters)
    config_ = model.config
    positions = ((ids == config_.image_token_id) | (ids == config_.video_token_id)).nonzero()[:, 0]
    prompt_positions = asked.nonzero()[:, 0].to(ids.device)
    is_before = bool((prompt_positions[:1] < positions[-1:]).any())
    if is_before and not (kinds and placeholders(kinds).search(prompt)):
        raise ValueError("expected the prompt after the image; got it before")
    return Encoded(
        inputs=inputs,
        visuals=tuple(found),
        image_positions=positions,
        prompt_positions=prompt_positions,
        pictures=tuple(shown),
        history=tuple(history),
    )


def count(
    model: Any,
    processor: Processor,
    size_wh: Size | list[Size],
    prompt: str,
    *,
    thinking: bool = False,
    system: str | None = None,
    history: Sequence[Turn] = (),
) -> Counts:
    """Return how many tokens `encode` would make of pictures of these (width, height) and the prompt.

    No picture is needed for it; `size_wh` is of one, or a list, and of a clip the `Video` itself; with
    `history` of all in the conversation. Errors are those of `encode`.
    """
    sizes: list[Size] = size_wh if isinstance(size_wh, list) else [size_wh]
    for size in sizes:
        if not isinstance(size, Video):
            check_image_size(size)
    kinds = kinds_of(sizes)
    written = written_question(processor, prompt, new_kinds(sizes, history), thinking, system, history)
    clips = [clip_text(processor, size) if isinstance(size, Video) else None for size in sizes]
    tokens = [
        token_of(processor, kind) if clip is None else clip for kind, clip in zip(kinds, clips, strict=True)
    ]
    characters = [len(token) for token in tokens]
    read = with_answers(_read_text(processor, written.text, tokens), written, processor, characters)
    images = processor.image_processor
    patches = [
        images.get_number_of_image_patches(size[1], size[0], {}) // images.merge_size**2
        for size in sizes
        if not isinstance(size, Video)
    ]
    ids = read["input_ids"][0]
    visual = sum(patches) + int((ids == model.config.video_token_id).sum())
    length = len(ids) - len(patches) + sum(patches)  # one token stands for each picture in the text
    check_answers(history, model, processor)
    check_length(length, model, "conversation" if history else "prompt")
    check_known(ids, model, processor)
    asked = in_prompt(read["offset_mapping"][0], written, processor, characters)
    return Counts(visual, int(asked.sum()), length)


def new_kinds(shown: Sequence[Image.Image | Size], history: Sequence[Turn]) -> list[Kind]:
    """Return what the visuals that the question brings are; ImageError unless those before are the history's.

    `shown` are those of the whole conversation, or their sizes.
    """
    kinds, earlier = kinds_of(shown), kinds_of_turns(history)
    if kinds[: len(earlier)] != earlier:
        raise ImageError(
            f"The conversation shows {len(earlier)} pictures and clips before this question: all are needed, "
            f"in their order (Capture.pictures); got {len(kinds)}."
        )
    return kinds[len(earlier) :]


def kinds_of(shown: Sequence[Image.Image | Size]) -> list[Kind]:
    """Return what each of some visuals, or of their sizes, is."""
    return ["video" if isinstance(one, Video) else "image" for one in shown]


def _shown(visuals: Pictures) -> list[Image.Image | Video]:
    """Return the pictures in RGB, and the clips; ImageError for none, and for one that cannot be used."""
    is_one = not isinstance(visuals, (list, tuple))
    given = as_list(visuals)
    if not given:
        raise ImageError("At least one image is needed; got an empty list.")
    found: list[Image.Image | Video] = []
    for place, one in enumerate(given, start=1):
        try:
            found.append(one if isinstance(one, Video) else _picture(one))
        except ImageError as error:
            raise ImageError(str(error) if is_one else f"Picture {place} of {len(given)}: {error}") from None
    return found


def _picture(image: Any) -> Image.Image:
    """Return the image in RGB, or raise for anything but a picture of a usable size."""
    if not isinstance(image, Image.Image):
        raise ImageError(f"One image is needed; got {'none' if image is None else type(image).__name__}.")
    check_image_size(image.size)
    return rgb(image)


class _Read(NamedTuple):
    """How the model reads one visual."""

    grid: tuple[int, int, int]  # (t, h, w) in merged patches
    times: tuple[float, ...]  # of a clip's steps
    characters: int  # of the text that stands for it


def _read(
    processor: Processor, text: str, shown: Sequence[Image.Image | Video]
) -> tuple[dict[str, Tensor], list[_Read]]:
    """Return the model's inputs, each token's first and last character (`offset_mapping`), and each visual.

    Pictures alone are read by the processor; with clips among them what it does is done here, since its own
    reading of clips needs torchvision.
    """
    images = [one for one in shown if not isinstance(one, Video)]
    if len(images) == len(shown):
        batch: Any = processor(text=[text], images=images, return_tensors="pt", return_offsets_mapping=True)
        grids = _grids(batch["image_grid_thw"], processor.image_processor.merge_size, len(images))
        width = len(processor.image_token)
        return dict(batch), [_Read((1, h, w), (), h * w * width) for h, w in grids]
    tensors: dict[str, Tensor] = (
        dict(processor.image_processor(images=images, return_tensors="pt")) if images else {}
    )
    merge = processor.image_processor.merge_size
    grids = _grids(tensors["image_grid_thw"], merge, len(images)) if images else []
    clips = [video_inputs(processor, one) for one in shown if isinstance(one, Video)]
    for name in clips[0].tensors:
        tensors[name] = torch.cat([clip.tensors[name] for clip in clips])
    left, of_clips, texts, read = iter(grids), iter(clips), [], []
    for one in shown:
        if isinstance(one, Video):
            clip = next(of_clips)
            texts.append(clip.placeholder)
            read.append(_Read(clip.grid, clip.times, len(clip.placeholder)))
        else:
            h, w = next(left)
            texts.append(processor.image_token * (h * w))
            read.append(_Read((1, h, w), (), len(texts[-1])))
    return {**_read_text(processor, text, texts), **tensors}, read


def _read_text(processor: Processor, text: str, texts: Sequence[str]) -> dict[str, Tensor]:
    """Return what the processor makes of a text with what stands for each visual in it, pixels left out."""
    batch = processor.tokenizer(
        [_expanded(processor, text, texts)], return_tensors="pt", return_offsets_mapping=True
    )
    ids, ids_of = batch["input_ids"], processor.tokenizer.convert_tokens_to_ids
    kinds = torch.zeros_like(ids)
    for kind, number in (("image", 1), ("video", 2)):
        kinds[ids == ids_of(token_of(processor, kind))] = number  # type: ignore[arg-type]
    rest = {name: batch[name] for name in ("attention_mask", "offset_mapping")}
    return {"input_ids": ids, "mm_token_type_ids": kinds, **rest}


def _expanded(processor: Processor, text: str, texts: Sequence[str]) -> str:
    """Return the text with what stands for each visual in the place of the template's one token."""
    rest = iter(texts)
    return visual_tokens(processor).sub(lambda _: next(rest), text)


def _visual(one: Image.Image | Video, read: _Read, known: str, place: int, first: int) -> Visual:
    """Return the record of one picture or clip."""
    if isinstance(one, Video):
        return Visual(one.name, "video", read.grid, first, one.size, known, read.times)
    return picture_visual(read.grid[1:], (one.height, one.width), known, f"picture {place}", first)


def _grids(image_grid_thw: Tensor, merge_size: int, count: int) -> list[tuple[int, int]]:
    """Return each picture's (h, w) in merged patches, from (image, 3) in patches: frames, rows, columns."""
    if image_grid_thw.shape != (count, 3) or not bool((image_grid_thw[:, 0] == 1).all()):
        raise ValueError(
            f"expected the grids of {count} pictures of one frame; got {image_grid_thw.tolist()}"
        )
    return [(rows // merge_size, cols // merge_size) for _, rows, cols in image_grid_thw.tolist()]
