"""Pictures and a prompt as the model reads them.

Goes in: a model, its processor, pictures and a prompt. Comes out: an `Encoded`. Knows nothing of files and
answers.
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
    check_known,
    check_length,
    in_prompt,
    token_of,
    visual_tokens,
    written_question,
)
from model.videos import clip_text, video_inputs
from records.pictures import ImageError, check_image_size, hashes_of, rgb
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
    visuals: tuple[Visual, ...]  # the pictures, in the order of the prompt
    image_positions: Tensor  # (patch,) position of each visual token in the sequence, of all visuals
    prompt_positions: Tensor  # (prompt token,) positions of the person's text, template left out
    pictures: tuple[Image.Image | Video, ...]  # RGB, as they were given

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
) -> Encoded:
    """Return a picture, or several, and the prompt as the model reads them, in its own chat template.

    The pictures stand before the prompt, or each where the prompt says `<image>`. `known_hash` is the
    picture's `image_hash`, of several a list, for who has worked it out already. `thinking` is what a
    template that asks whether the model is to think aloud first is told: `chosen_thinking`, or
    `Capture.thinking`. `system` is the text of a system turn before the question; None leaves it to the
    template, which may write one of its own.

    Raises:
        ImageError: for no picture, or one outside the bounds of `config`; of several its place is named.
        PromptError: for an empty or over-long prompt, one with tokens that only the template may write, or
            with another number of `<image>` than there are pictures.
    """
    shown = _shown(visuals)
    written = written_question(processor, prompt, kinds_of(shown), thinking, system)
    inputs, offsets, read = _read(processor, written.text, shown)
    device = model_device(model)
    inputs = {name: value.to(device) for name, value in inputs.items()}
    ids = inputs["input_ids"][0]
    check_length(len(ids), model)
    check_known(ids, model, processor)
    hashes = hashes_of(shown, known_hash)
    found: list[Visual] = []
    for place, (one, of_one, known) in enumerate(zip(shown, read, hashes, strict=True), start=1):
        found.append(_visual(one, of_one, known, place, patch_count(found)))
    asked = in_prompt(offsets, written, processor, [of_one.characters for of_one in read])
    config_ = model.config
    positions = ((ids == config_.image_token_id) | (ids == config_.video_token_id)).nonzero()[:, 0]
    prompt_positions = asked.nonzero()[:, 0].to(ids.device)
    is_before = bool((prompt_positions[:1] < positions[-1:]).any())
    if is_before and not placeholders(kinds_of(shown)).search(prompt):
        raise ValueError("expected the prompt after the image; got it before")
    return Encoded(
        inputs=inputs,
        visuals=tuple(found),
        image_positions=positions,
        prompt_positions=prompt_positions,
        pictures=tuple(shown),
    )


def count(
    model: Any,
    processor: Processor,
    size_wh: Size | list[Size],
    prompt: str,
    *,
    thinking: bool = False,
    system: str | None = None,
) -> Counts:
    """Return how many tokens `encode` would make of pictures of these (width, height) and the prompt.

    No picture is needed for it; `size_wh` is of one, or a list, and of a clip the `Video` itself. Errors are
    those of `encode`.
    """
    sizes: list[Size] = size_wh if isinstance(size_wh, list) else [size_wh]
    for size in sizes:
        if not isinstance(size, Video):
            check_image_size(size)
    kinds = kinds_of(sizes)
    written = written_question(processor, prompt, kinds, thinking, system)
    clips = [clip_text(processor, size) if isinstance(size, Video) else None for size in sizes]
    tokens = [
        token_of(processor, kind) if clip is None else clip for kind, clip in zip(kinds, clips, strict=True)
    ]
    text = _expanded(processor, written.text, tokens)
    read = processor.tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    images = processor.image_processor
    patches = [
        images.get_number_of_image_patches(size[1], size[0], {}) // images.merge_size**2
        for size in sizes
        if not isinstance(size, Video)
    ]
    ids = read["input_ids"][0]
    visual = sum(patches) + int((ids == model.config.video_token_id).sum())
    length = len(ids) - len(patches) + sum(patches)  # one token stands for each picture in the text
    check_length(length, model)
    check_known(ids, model, processor)
    asked = in_prompt(read["offset_mapping"][0], written, processor, [len(token) for token in tokens])
    return Counts(visual, int(asked.sum()), length)


def kinds_of(shown: Sequence[Image.Image | Size]) -> list[Kind]:
    """Return what each of some visuals, or of their sizes, is."""
    return ["video" if isinstance(one, Video) else "image" for one in shown]


def _shown(visuals: Pictures) -> list[Image.Image | Video]:
    """Return the pictures in RGB, and the clips; ImageError for none, and for one that cannot be used."""
    is_one = isinstance(visuals, Video) or not isinstance(visuals, (list, tuple))
    given: list[Any] = [visuals] if is_one else list(visuals)  # type: ignore[arg-type]
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
) -> tuple[dict[str, Tensor], Tensor, list[_Read]]:
    """Return the model's inputs, where each token's characters start and end (token, 2), and each visual.

    Pictures alone are read by the processor; with clips among them what it does is done here, since its own
    reading of clips needs torchvision.
    """
    images = [one for one in shown if not isinstance(one, Video)]
    batch: Any
    if len(images) == len(shown):
        batch = processor(text=[text], images=images, return_tensors="pt", return_offsets_mapping=True)
        grids = _grids(batch["image_grid_thw"], processor.image_processor.merge_size, len(images))
        width = len(processor.image_token)
        read = [_Read((1, h, w), (), h * w * width) for h, w in grids]
        return (
            {name: batch[name] for name in batch if name != "offset_mapping"},
            batch["offset_mapping"][0],
            read,
        )
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
    batch = processor.tokenizer(
        [_expanded(processor, text, texts)], return_tensors="pt", return_offsets_mapping=True
    )
    ids, ids_of = batch["input_ids"], processor.tokenizer.convert_tokens_to_ids
    kinds = torch.zeros_like(ids)
    for kind, number in (("image", 1), ("video", 2)):
        kinds[ids == ids_of(token_of(processor, kind))] = number  # type: ignore[arg-type]
    words = {"input_ids": ids, "attention_mask": batch["attention_mask"], "mm_token_type_ids": kinds}
    return {**words, **tensors}, batch["offset_mapping"][0], read


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
