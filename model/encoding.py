"""Pictures and a prompt as the model reads them.

Goes in: a model, its processor, pictures and a prompt. Comes out: an `Encoded`. Knows nothing of files and
answers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor
from torch import bool as bool_

import config
from model.errors import PromptError
from model.families import Processor, model_device
from model.thinking import template_keywords
from records.pictures import ImageError, check_image_size, hashes_of, rgb
from records.visuals import PLACEHOLDER, Visual, check_in_order, only_picture, patch_count, picture_visual
from utils import HALF, is_broken

OF_PICTURES = re.compile("vision|image|video")  # in the names of tokens that stand for them, or around them
# This and those after it stand for texts in a chat template; they are for private use, so that none has them.
MARK = "\ue000"
Pictures = Image.Image | Sequence[Image.Image]
Hash = str | Sequence[str]


class Counts(NamedTuple):
    """How many tokens stand before an answer."""

    visual: int  # of the pictures
    prompt: int  # of the person's text
    length: int  # all of them, those of the template among them


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures and one prompt as the model reads them."""

    inputs: dict[str, Tensor]  # every tensor that the processor returned, on the model's device
    visuals: tuple[Visual, ...]  # the pictures, in the order of the prompt
    image_positions: Tensor  # (patch,) position of each visual token in the sequence, of all visuals
    prompt_positions: Tensor  # (prompt token,) positions of the person's text, template left out
    pictures: tuple[Image.Image, ...]  # RGB, as they were given

    @property
    def input_ids(self) -> Tensor:
        """Token ids of the sequence (S,)."""
        return self.inputs["input_ids"][0]

    @property
    def prompt_length(self) -> int:
        """Number of tokens before the answer, S."""
        return len(self.input_ids)

    @property
    def counts(self) -> Counts:
        """How many tokens stand before the answer."""
        return Counts(len(self.image_positions), len(self.prompt_positions), self.prompt_length)

    @property
    def grid(self) -> tuple[int, int]:
        """The one picture's patches (h, w), merged; ValueError where there are several."""
        _, h, w = only_picture(self.visuals).grid
        return h, w

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


@dataclass(frozen=True)
class Written:
    """A question in the checkpoint's own chat template, one token for each picture."""

    text: str
    starts: tuple[int, ...]  # where each part of the person's text stands in it
    parts: tuple[str, ...]  # these parts; pictures may stand between them


def encode(
    model: Any,
    processor: Processor,
    visuals: Pictures,
    prompt: str,
    known_hash: Hash | None = None,
    *,
    thinking: bool = False,
) -> Encoded:
    """Return a picture, or several, and the prompt as the model reads them, in its own chat template.

    The pictures stand before the prompt, or each where the prompt says `<image>`. `known_hash` is the
    picture's `image_hash`, of several a list, for who has worked it out already. `thinking` is what a
    template that asks whether the model is to think aloud first is told: `chosen_thinking`, or
    `Capture.thinking`.

    Raises:
        ImageError: for no picture, or one outside the bounds of `config`; of several its place is named.
        PromptError: for an empty or over-long prompt, one with tokens that only the template may write, or
            with another number of `<image>` than there are pictures.
    """
    pictures = _pictures(visuals)
    written = _written(processor, prompt, len(pictures), thinking)
    batch = processor(text=[written.text], images=pictures, return_tensors="pt", return_offsets_mapping=True)
    offsets = batch.pop("offset_mapping")[0]  # (token, 2): where its characters start and end
    device = model_device(model)
    inputs = {name: value.to(device) for name, value in batch.items()}
    ids = inputs["input_ids"][0]
    check_length(len(ids), model)
    _check_known(ids, model, processor)
    grids = _grids(inputs["image_grid_thw"], processor.image_processor.merge_size, len(pictures))
    hashes = hashes_of(pictures, known_hash)
    found = _visuals(pictures, grids, hashes)
    in_prompt = _in_prompt(offsets, written, processor.image_token, [one.count for one in found])
    positions = (ids == model.config.image_token_id).nonzero()[:, 0]
    prompt_positions = in_prompt.nonzero()[:, 0].to(ids.device)
    if PLACEHOLDER not in prompt and bool((prompt_positions[:1] < positions[-1:]).any()):
        raise ValueError("expected the prompt after the image; got it before")
    return Encoded(
        inputs=inputs,
        visuals=found,
        image_positions=positions,
        prompt_positions=prompt_positions,
        pictures=tuple(pictures),
    )


def count(
    model: Any,
    processor: Processor,
    size_wh: tuple[int, int] | list[tuple[int, int]],
    prompt: str,
    *,
    thinking: bool = False,
) -> Counts:
    """Return how many tokens `encode` would make of pictures of these (width, height) and the prompt.

    No picture is needed for it; `size_wh` is of one, or a list. Errors are those of `encode`.
    """
    sizes: list[tuple[int, int]] = size_wh if isinstance(size_wh, list) else [size_wh]
    for size in sizes:
        check_image_size(size)
    written = _written(processor, prompt, len(sizes), thinking)
    read = processor.tokenizer(written.text, return_tensors="pt", return_offsets_mapping=True)
    images = processor.image_processor
    patches = sum(images.get_number_of_image_patches(height, width, {}) for width, height in sizes)
    visual = patches // images.merge_size**2
    ids = read["input_ids"][0]
    length = len(ids) - len(sizes) + visual  # one token stands for each picture in the text
    check_length(length, model)
    _check_known(ids, model, processor)
    in_prompt = _in_prompt(read["offset_mapping"][0], written, processor.image_token, [1] * len(sizes))
    return Counts(visual, int(in_prompt.sum()), length)


def _pictures(visuals: Pictures) -> list[Image.Image]:
    """Return the pictures in RGB; ImageError for none, and for one that cannot be used."""
    several = isinstance(visuals, (list, tuple))
    given: list[Any] = list(visuals) if isinstance(visuals, (list, tuple)) else [visuals]
    if not given:
        raise ImageError("At least one image is needed; got an empty list.")
    found = []
    for place, image in enumerate(given, start=1):
        try:
            found.append(_picture(image))
        except ImageError as error:
            raise ImageError(f"Picture {place} of {len(given)}: {error}" if several else str(error)) from None
    return found


def _picture(image: Any) -> Image.Image:
    """Return the image in RGB, or raise for anything but a picture of a usable size."""
    if not isinstance(image, Image.Image):
        raise ImageError(f"One image is needed; got {'none' if image is None else type(image).__name__}.")
    check_image_size(image.size)
    return rgb(image)


def _visuals(
    pictures: Sequence[Image.Image], grids: Sequence[tuple[int, int]], hashes: Sequence[str]
) -> tuple[Visual, ...]:
    """Return the record of each picture, in the order of the prompt."""
    found: list[Visual] = []
    for place, (picture, grid, known) in enumerate(zip(pictures, grids, hashes, strict=True), start=1):
        size = (picture.height, picture.width)
        found.append(picture_visual(grid, size, known, f"picture {place}", patch_count(found)))
    return tuple(found)


def _written(processor: Processor, prompt: str, count: int, thinking: bool) -> Written:
    """Return the question in the chat template; PromptError for a prompt that cannot be read."""
    _check_prompt(prompt)
    content = content_of(prompt, count)
    parts = [part for part in content if part is not None]
    around = template_around(processor, content, thinking)
    for part in parts:
        check_tokens(processor.tokenizer, "".join(around), part)
    text, starts = around[0], []
    for part, after in zip(parts, around[1:], strict=True):
        starts.append(len(text))
        text += part + after
    return Written(text, tuple(starts), tuple(parts))


def content_of(prompt: str, count: int) -> list[str | None]:
    """Return the texts of a question in order, None for each picture: first, or where the prompt says so."""
    places = prompt.count(PLACEHOLDER)
    if not places:
        return [None] * count + [prompt]
    if places != count:
        there = "there is one picture" if count == 1 else f"there are {count} pictures"
        raise PromptError(
            f"The prompt says {PLACEHOLDER} {places} times, once for each picture, and {there}."
            if places > 1
            else f"The prompt says {PLACEHOLDER} once, which stands for a picture, and {there}."
        )
    content: list[str | None] = []
    for number, part in enumerate(prompt.split(PLACEHOLDER)):
        content += [None] * (number > 0)
        content += [part] * bool(part)
    if not any(part is not None and part.strip() for part in content):
        raise PromptError("The prompt is empty.")
    return content


def _in_prompt(offsets: Tensor, written: Written, image_token: str, counts: Sequence[int]) -> Tensor:
    """Return whether each token (token,) has a character of the person's text.

    Offsets count in the text as it was read, where so many tokens stand for each picture's one.
    """
    longer = [0, *accumulate((count - 1) * len(image_token) for count in counts)]
    found = offsets.new_zeros(len(offsets), dtype=bool_)
    for start, part in zip(written.starts, written.parts, strict=True):
        before = written.text.count(image_token, 0, start)  # pictures
        found |= _within(offsets, start + longer[before], len(part))
    return found


def _within(offsets: Tensor, start: int, length: int) -> Tensor:
    """Return whether each token (token,) has a character among so many from `start` on."""
    return (offsets[:, 0] < start + length) & (offsets[:, 1] > start)


def _check_prompt(prompt: str) -> None:
    """Raise PromptError unless the prompt is plain text of a sensible length."""
    check_text(prompt, "prompt")
    if len(prompt) > config.MAX_PROMPT_CHARACTERS:
        raise PromptError(
            f"The prompt has {len(prompt):,} characters; "
            f"at most {config.MAX_PROMPT_CHARACTERS:,} are allowed."
        )


def check_text(text: str, name: str) -> None:
    """Raise PromptError for what is no text, or an empty one; `name` says what it is."""
    if not isinstance(text, str) or not text.strip():
        raise PromptError(f"The {name} is empty.")
    if is_broken(text):
        raise PromptError(f"The {name} {HALF}.")


def check_tokens(
    tokenizer: Any, template: str, text: str, name: str = "prompt", allowed: Collection[str] = ()
) -> None:
    """Raise PromptError for a token that parts turns, texts, pictures or videos: it would change the layout.

    Other added tokens, such as `<tool_call>` and `<|box_start|>`, are read as the tokenizer reads them, and
    so are those that are `allowed`.
    """
    added = tokenizer.added_tokens_decoder
    layout = set(tokenizer(template, add_special_tokens=False)["input_ids"])
    layout |= {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    for token_id in tokenizer(text, add_special_tokens=False)["input_ids"]:
        token = added.get(token_id)
        if token is None or not token.special or token.content in allowed:
            continue
        if token_id in layout or OF_PICTURES.search(token.content):
            raise PromptError(f"The {name} may not contain the control token {token.content}.")


def check_length(tokens: int, model: Any, name: str = "prompt") -> None:
    """Raise PromptError for more tokens than the model reads."""
    limit = model.config.text_config.max_position_embeddings
    if tokens >= limit:
        raise PromptError(
            f"The picture and the {name} are {tokens:,} tokens, and the model reads fewer than {limit:,}; "
            f"lower MAX_PIXELS or shorten the {name}."
        )


def _check_known(ids: Tensor, model: Any, processor: Processor) -> None:
    """Raise PromptError for a token that the tokenizer was given after training, without weights for it."""
    beyond = ids[ids >= model.get_input_embeddings().num_embeddings]
    if len(beyond):
        token = processor.tokenizer.convert_ids_to_tokens(int(beyond[0]))
        raise PromptError(f"The model has no weights for {token}, which is in the prompt; leave it out.")


def template_around(processor: Processor, content: Sequence[str | None], thinking: bool) -> list[str]:
    """Return the chat template's text before, between and after the texts of a question.

    `content` is these texts in order, None for a picture.
    """
    keywords = template_keywords(processor.chat_template, thinking)
    texts = [part for part in content if part is not None]
    marks = [chr(ord(MARK) + number) for number in range(len(texts))]
    around = re.split("|".join(marks), _rendered(processor, content, marks, keywords))
    whole = "".join(part for pair in zip(around, [*texts, ""], strict=True) for part in pair)
    if _rendered(processor, content, texts, keywords) != whole:
        raise PromptError("The checkpoint's chat template changes the prompt; leave out spaces around it.")
    return around


def _rendered(
    processor: Processor, content: Sequence[str | None], texts: Sequence[str], keywords: Mapping[str, Any]
) -> str:
    """Return the question in the template, with these texts for those of its content."""
    rest = iter(texts)
    parts = [{"type": "image"} if part is None else {"type": "text", "text": next(rest)} for part in content]
    turn = {"role": "user", "content": parts}
    return processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True, **keywords)


def _grids(image_grid_thw: Tensor, merge_size: int, count: int) -> list[tuple[int, int]]:
    """Return each picture's (h, w) in merged patches, from (image, 3) in patches: frames, rows, columns."""
    if image_grid_thw.shape != (count, 3) or not bool((image_grid_thw[:, 0] == 1).all()):
        raise ValueError(
            f"expected the grids of {count} pictures of one frame; got {image_grid_thw.tolist()}"
        )
    return [(rows // merge_size, cols // merge_size) for _, rows, cols in image_grid_thw.tolist()]
