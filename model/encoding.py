"""An image and a prompt as the model reads them.

Goes in: a model, its processor, an image and a prompt. Comes out: an `Encoded`. Knows nothing of files and
answers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

import config
from model.errors import PromptError
from model.families import Processor, model_device
from model.thinking import template_keywords
from records.pictures import ImageError, check_image_size, image_hash, rgb
from utils import HALF, is_broken

OF_PICTURES = re.compile("vision|image|video")  # in the names of tokens that stand for them, or around them
MARK = "\ue000"  # stands for the prompt in the chat template; for private use, so that no template writes it


class Counts(NamedTuple):
    """How many tokens stand before an answer."""

    visual: int  # of the picture
    prompt: int  # of the person's text
    length: int  # all of them, those of the template among them


@dataclass(frozen=True, eq=False)
class Encoded:
    """One image and one prompt as the model reads them. Sizes are (h, w)."""

    inputs: dict[str, Tensor]  # every tensor that the processor returned, on the model's device
    grid: tuple[int, int]  # (h, w) in merged patches; patch = row * w + col
    image_positions: Tensor  # (patch,) position of each visual token in the sequence
    prompt_positions: Tensor  # (prompt token,) positions of the person's text, template left out
    picture: Image.Image  # RGB, as it was given
    image_size: tuple[int, int]  # (h, w) of the picture given, in its own pixels
    image_hash: str

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

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        h, w = self.grid
        if len(self.image_positions) != h * w:
            raise ValueError(
                f"the prompt has {len(self.image_positions)} image tokens; grid {h}x{w} needs {h * w}"
            )
        if len(self.prompt_positions) == 0:
            raise ValueError("expected at least one prompt token; got none")
        if int(self.prompt_positions[0]) <= int(self.image_positions[-1]):
            raise ValueError("expected the prompt after the image; got it before")


def encode(
    model: Any,
    processor: Processor,
    image: Image.Image,
    prompt: str,
    known_hash: str | None = None,
    *,
    thinking: bool = False,
) -> Encoded:
    """Return the image and the prompt as the model reads them, in the checkpoint's own chat template.

    `known_hash` is the image's `image_hash`, for who has worked it out already. `thinking` is what a template
    that asks whether the model is to think aloud first is told: `chosen_thinking`, or `Capture.thinking`.

    Raises:
        ImageError: for no image, several, or one outside the bounds of `config`.
        PromptError: for an empty or over-long prompt, or one with tokens that only the template may write.
    """
    picture = _one_picture(image)
    before, after = _around(processor, prompt, thinking)
    batch = processor(
        text=[before + prompt + after], images=[picture], return_tensors="pt", return_offsets_mapping=True
    )
    offsets = batch.pop("offset_mapping")[0]  # (token, 2): where its characters start and end
    device = model_device(model)
    inputs = {name: value.to(device) for name, value in batch.items()}
    ids = inputs["input_ids"][0]
    check_length(len(ids), model)
    _check_known(ids, model, processor)
    grid = _grid(inputs["image_grid_thw"], processor.image_processor.merge_size)
    h, w = grid
    # Offsets count in the text as it was read, where h * w image tokens stand for the one that was written.
    in_prompt = _within(offsets, len(before) + (h * w - 1) * len(processor.image_token), len(prompt))
    return Encoded(
        inputs=inputs,
        grid=grid,
        image_positions=(ids == model.config.image_token_id).nonzero()[:, 0],
        prompt_positions=in_prompt.nonzero()[:, 0].to(ids.device),
        picture=picture,
        image_size=(picture.height, picture.width),
        image_hash=known_hash or image_hash(picture),
    )


def count(
    model: Any, processor: Processor, size_wh: tuple[int, int], prompt: str, *, thinking: bool = False
) -> Counts:
    """Return how many tokens `encode` would make of a picture of this (width, height) and the prompt.

    No picture is needed for it. Errors are those of `encode`.
    """
    check_image_size(size_wh)
    before, after = _around(processor, prompt, thinking)
    read = processor.tokenizer(before + prompt + after, return_tensors="pt", return_offsets_mapping=True)
    width, height = size_wh
    patches = processor.image_processor.get_number_of_image_patches(height, width, {})
    visual = patches // processor.image_processor.merge_size**2
    ids = read["input_ids"][0]
    length = len(ids) - 1 + visual  # one token stands for the picture in the text
    check_length(length, model)
    _check_known(ids, model, processor)
    return Counts(visual, int(_within(read["offset_mapping"][0], len(before), len(prompt)).sum()), length)


def _around(processor: Processor, prompt: str, thinking: bool) -> tuple[str, str]:
    """Return the template's text before and after the prompt; PromptError for one that cannot be read."""
    _check_prompt(prompt)
    before, after = template_around(processor, prompt, thinking)
    check_tokens(processor.tokenizer, before + after, prompt)
    return before, after


def _within(offsets: Tensor, start: int, length: int) -> Tensor:
    """Return whether each token (token,) has a character among so many from `start` on."""
    return (offsets[:, 0] < start + length) & (offsets[:, 1] > start)


def _one_picture(image: Image.Image) -> Image.Image:
    """Return the image in RGB, or raise for anything but one picture of a usable size."""
    if isinstance(image, (list, tuple)):
        raise ImageError(f"One image is needed; got a list of {len(image)}.")
    if not isinstance(image, Image.Image):
        raise ImageError(f"One image is needed; got {'none' if image is None else type(image).__name__}.")
    check_image_size(image.size)
    return rgb(image)


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


def template_around(processor: Processor, prompt: str, thinking: bool) -> tuple[str, str]:
    """Return the chat template's text before and after the prompt, with one image before it."""
    keywords = template_keywords(processor.chat_template, thinking)
    before, after = _rendered(processor, MARK, keywords).split(MARK)
    if _rendered(processor, prompt, keywords) != before + prompt + after:
        raise PromptError("The checkpoint's chat template changes the prompt; leave out spaces around it.")
    return before, after


def _rendered(processor: Processor, prompt: str, keywords: Mapping[str, Any]) -> str:
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
    return processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True, **keywords)


def _grid(image_grid_thw: Tensor, merge_size: int) -> tuple[int, int]:
    """Return (h, w) in merged patches, from (image, 3) in patches: frames, rows, columns."""
    if image_grid_thw.shape != (1, 3) or int(image_grid_thw[0, 0]) != 1:
        raise ValueError(f"expected the grid of one image and one frame; got {image_grid_thw.tolist()}")
    _, rows, cols = image_grid_thw[0].tolist()
    return rows // merge_size, cols // merge_size
