"""Checkpoints: what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model import (
    Encoded,
    PromptError,
    encode,
    encoding,
)
from records.pictures import ImageError, image_hash
from records.visuals import picture_visual
from tests import tiny as tiny_room
from tests.model.kit import PROMPT, PROMPTS, noise
from tests.tiny import SPECIAL_TOKENS, tiny_model

# --- Encoding: grid and positions ---


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((336, 224), (12, 8)),  # portrait: once guessed as 8 x 12 from its 96 tokens
        ((224, 336), (8, 12)),  # landscape
        ((140, 196), (5, 7)),
        ((308, 364), (11, 13)),  # a product of two primes
        ((28, 644), (1, 23)),  # a prime number of tokens: nothing to factor
        ((812, 56), (29, 2)),
        ((500, 180), (18, 6)),  # resized to 504 x 168
        ((10, 60), (1, 5)),  # smaller than a cell in one direction: enlarged
        ((3000, 1100), (59, 21)),  # more than MAX_PIXELS: reduced to 1652 x 588
    ],
)
def test_the_grid_is_that_of_the_resized_picture(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], grid: tuple[int, int]
) -> None:
    model, processor = tiny
    encoded = encode(model, processor, noise(*size), PROMPT)
    assert encoded.grid == grid
    assert encoded.visuals[0].size == size
    frames, rows, cols = encoded.inputs["image_grid_thw"][0].tolist()
    assert (frames, rows, cols) == (1, 2 * grid[0], 2 * grid[1])
    assert len(encoded.image_positions) == grid[0] * grid[1]


def test_the_grid_is_read_and_not_computed(tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that resizes in a way of its own is believed: 24 tokens as 2 x 12, not as 4 x 6."""
    model, processor = tiny
    monkeypatch.setattr(
        "transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.smart_resize", lambda *_, **__: (56, 336)
    )
    assert encode(model, processor, noise(140, 196), PROMPT).grid == (2, 12)


def test_visual_tokens_are_in_row_major_order(tiny: tuple[Any, Any]) -> None:
    """One white cell, at (1, 4) of 5 x 7: visual token 11 has the white pixels."""
    pixels = np.zeros((140, 196, 3), np.uint8)
    pixels[28:56, 112:140] = 255
    encoded = encode(*tiny, Image.fromarray(pixels), PROMPT)
    brightness = encoded.inputs["pixel_values"].reshape(35, -1).mean(dim=1)  # (patch,)
    assert encoded.grid == (5, 7)
    assert int(brightness.argmax()) == 1 * 7 + 4
    assert int((brightness > brightness.min() + 1).sum()) == 1


def test_every_tensor_of_the_processor_is_passed_on(tiny: tuple[Any, Any]) -> None:
    model, processor = tiny
    image = noise(140, 196)
    turn = [
        {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": PROMPT}]}
    ]
    plain = processor.apply_chat_template(
        turn, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    encoded = encode(model, processor, image, PROMPT)
    assert set(encoded.inputs) == set(plain) >= {"mm_token_type_ids", "image_grid_thw", "attention_mask"}
    for name, value in plain.items():
        assert torch.equal(encoded.inputs[name], value), name
    expected = torch.zeros(encoded.prompt_length, dtype=torch.long)
    expected[encoded.image_positions] = 1
    assert torch.equal(encoded.inputs["mm_token_type_ids"][0], expected)


def test_the_token_types_change_the_logits(tiny: tuple[Any, Any]) -> None:
    """Leaving them out falls back to text positions without a word: every tensor is passed on."""
    model, processor = tiny
    inputs = dict(encode(model, processor, noise(140, 196), PROMPT).inputs)
    with torch.no_grad():
        right = model(**inputs).logits
        inputs.pop("mm_token_type_ids")
        assert not torch.allclose(right, model(**inputs).logits, atol=1e-3)


def test_image_positions_are_the_image_tokens_and_nothing_else(tiny: tuple[Any, Any]) -> None:
    encoded = encode(*tiny, noise(140, 196), PROMPT)
    ids = encoded.input_ids.tolist()
    assert encoded.prompt_length == len(ids)
    assert encoded.image_positions.tolist() == [i for i, token in enumerate(ids) if token == 151655]
    first, last = int(encoded.image_positions[0]), int(encoded.image_positions[-1])
    assert (ids[first - 1], ids[last + 1]) == (151652, 151653)
    assert encoded.image_positions.dtype == encoded.prompt_positions.dtype == torch.long


@pytest.mark.parametrize("prompt", [prompt for prompt in PROMPTS if prompt.strip()])
def test_prompt_positions_are_the_prompt_and_nothing_else(tiny: tuple[Any, Any], prompt: str) -> None:
    """In this template special tokens enclose the prompt, so its tokens are those of the prompt alone."""
    model, processor = tiny
    encoded = encode(model, processor, noise(140, 196), prompt)
    positions = encoded.prompt_positions
    assert encoded.input_ids[positions].tolist() == processor.tokenizer(prompt)["input_ids"]
    assert positions.tolist() == list(range(int(positions[0]), int(positions[-1]) + 1))
    assert int(encoded.input_ids[positions[0] - 1]) == 151653
    assert int(encoded.input_ids[positions[-1] + 1]) == 151645


def test_prompt_positions_of_a_template_without_special_tokens_around(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words of the template that touch the prompt are left out."""
    model, processor = tiny
    template = tiny_room.CHAT_TEMPLATE.replace(
        "{{ content['text'] }}", "Question: {{ content['text'] }} Answer:"
    )
    monkeypatch.setattr(processor, "chat_template", template)
    encoded = encode(model, processor, noise(140, 196), "How many red, red cups?")
    pieces = [processor.tokenizer.decode([token]) for token in encoded.input_ids[encoded.prompt_positions]]
    assert pieces == [" How", " many", " red", ",", " red", " cups", "?"]


def test_a_template_that_changes_the_prompt_is_refused(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tiny_room.CHAT_TEMPLATE.replace("content['text'] }}", "content['text'] | trim }}")
    monkeypatch.setattr(tiny[1], "chat_template", template)
    with pytest.raises(PromptError, match="chat template changes the prompt"):
        encode(*tiny, noise(140, 196), " spaces ")
    assert len(encode(*tiny, noise(140, 196), "none").prompt_positions) == 1


def test_a_template_with_the_prompt_before_the_image_is_refused(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tiny[1],
        "chat_template",
        "{{ messages[0]['content'][1]['text'] }}<|image_pad|><|im_start|>assistant\n",
    )
    with pytest.raises(ValueError, match="expected the prompt after the image; got it before"):
        encode(*tiny, noise(140, 196), PROMPT)


# --- Encoding: what is refused ---


LAYOUT = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)


@pytest.mark.parametrize("token", sorted({*SPECIAL_TOKENS, *tiny_room.PLAIN_ADDED_TOKENS} - {*LAYOUT}))
def test_other_added_tokens_are_read_as_the_tokenizer_reads_them(tiny: tuple[Any, Any], token: str) -> None:
    prompt = f"What is{token}here?"
    encoded = encode(*tiny, noise(140, 196), prompt)
    expected = tiny[1].tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert encoded.input_ids[encoded.prompt_positions].tolist() == expected
    assert tiny[1].tokenizer.convert_tokens_to_ids(token) in expected


@pytest.mark.parametrize("token", LAYOUT)
def test_tokens_of_the_layout_in_the_prompt_are_refused(tiny: tuple[Any, Any], token: str) -> None:
    with pytest.raises(PromptError) as error:
        encode(*tiny, noise(140, 196), f"What is{token}here?")
    assert str(error.value) == f"The prompt may not contain the control token {token}."


@pytest.mark.parametrize("prompt", ["", "  ", "\n\t\u3000", None, 7, ["Describe"]])
def test_an_empty_prompt_is_refused(tiny: tuple[Any, Any], prompt: Any) -> None:
    with pytest.raises(PromptError, match=r"^The prompt is empty\.$"):
        encode(*tiny, noise(140, 196), prompt)


def test_an_over_long_prompt_is_refused_at_once(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tiny[1].tokenizer), "__call__", lambda *_, **__: pytest.fail("it was tokenised"))
    message = r"^The prompt has 100,000 characters; at most 4,000 are allowed\.$"
    with pytest.raises(PromptError, match=message):
        encode(*tiny, noise(140, 196), "a" * 100_000)


def test_half_a_character_is_refused(tiny: tuple[Any, Any]) -> None:
    with pytest.raises(PromptError, match="half a character"):
        encode(*tiny, noise(140, 196), "a\ud83e b")


@pytest.mark.parametrize(
    ("image", "line"),
    [
        (None, "One image is needed; got none."),
        ([], "At least one image is needed; got an empty list."),
        ([noise(140, 196), None], "Picture 2 of 2: One image is needed; got none."),
        (
            [noise(140, 196), noise(1, 1), "picture.png"],
            "Picture 2 of 3: The picture is too small (1 x 1); each side needs at least 8 pixels.",
        ),
        ("picture.png", "One image is needed; got str."),
        (np.zeros((140, 196, 3), np.uint8), "One image is needed; got ndarray."),
        (noise(1, 1), "The picture is too small (1 x 1); each side needs at least 8 pixels."),
        (
            noise(10, 2000),
            "The picture is too narrow (2000 x 10); the longer side may be at most 30 times the shorter.",
        ),
    ],
)
def test_anything_but_usable_images_is_refused(tiny: tuple[Any, Any], image: Any, line: str) -> None:
    with pytest.raises(ImageError) as error:
        encode(*tiny, image, PROMPT)
    assert str(error.value) == line


def test_a_prompt_and_picture_beyond_the_models_reach_are_refused() -> None:
    model, processor = tiny_model(vocabulary="bytes", max_position_embeddings=100)
    with pytest.raises(
        PromptError, match=r"are 118 tokens, and the model reads fewer than 100; lower MAX_PIXELS"
    ):
        encode(model, processor, noise(140, 196), "x" * 24)


def test_a_transparent_picture_is_read_on_white(tiny: tuple[Any, Any]) -> None:
    clear = Image.new("RGBA", (196, 140), (9, 9, 9, 0))
    white = Image.new("RGB", (196, 140), "white")
    left, right = encode(*tiny, clear, PROMPT), encode(*tiny, white, PROMPT)
    assert torch.equal(left.inputs["pixel_values"], right.inputs["pixel_values"])
    assert left.visuals[0].hash == right.visuals[0].hash == image_hash(white)


def test_encoded_refuses_parts_that_disagree(tiny: tuple[Any, Any]) -> None:
    good = encode(*tiny, noise(140, 196), PROMPT)
    parts = {name: getattr(good, name) for name in Encoded.__dataclass_fields__}
    with pytest.raises(ValueError, match=r"the prompt has 35 image tokens; grid 1x5x6 needs 30"):
        Encoded(**{**parts, "visuals": (picture_visual((5, 6), (140, 196), ""),)})
    with pytest.raises(ValueError, match="at least one prompt token; got none"):
        Encoded(**{**parts, "prompt_positions": torch.empty(0, dtype=torch.long)})
    with pytest.raises(ValueError, match="expected the grids of 1 pictures of one frame"):
        encoding._grids(torch.tensor([[1, 4, 6], [1, 4, 6]]), 2, 1)
    with pytest.raises(ValueError, match="expected the grids of 1 pictures of one frame"):
        encoding._grids(torch.tensor([[2, 4, 6]]), 2, 1)
