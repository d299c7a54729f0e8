"""Checkpoints that think aloud before they answer."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import config
from attention_extractor import AttentionExtractor
from evaluation.without_picture import logprobs_without
from gradcam import smooth_grad_cam
from methods import token_maps
from model import chosen_thinking, end_ids, thinking_of
from records.selection import parsed_selection, parsed_tokens
from records.thoughts import said, thoughts
from tests.families.kit import PROMPT, picture
from tests.numerics import assert_same
from tests.tiny_families import tiny_family

pytestmark = pytest.mark.numeric

KIND = "qwen3_5"
BEGUN, CLOSED = "<think>\n", "<think>\n\n</think>\n\n"
ASKS = "{% if enable_thinking %}" + BEGUN + "{% else %}" + CLOSED + "{% endif %}"
ANSWER = "Hm, red.\n</think>\n\nA red cat."


def thinker(more: str = ASKS) -> tuple[Any, Any]:
    """Return a model with a chat template that ends in what it says of thinking."""
    model, processor = tiny_family(KIND)
    one = copy.copy(processor)
    one.chat_template = processor.chat_template + more
    return model, one


def inputs_of(processor: Any, image: Image.Image | None, **keywords: Any) -> dict[str, torch.Tensor]:
    """Return what the processor itself makes of the question."""
    content = [{"type": "text", "text": PROMPT}]
    if image is not None:
        content.insert(0, {"type": "image"})
    turn = {"role": "user", "content": content}
    text = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True, **keywords)
    if image is None:
        ids = processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return {"input_ids": ids, "mm_token_type_ids": torch.zeros_like(ids)}
    return dict(processor(text=[text], images=[image], return_tensors="pt"))


@pytest.mark.parametrize("thinking", [True, False])
def test_the_answer_is_that_of_generate_by_the_same_template(thinking: bool) -> None:
    model, processor = thinker()
    capture = AttentionExtractor(model, processor).generate(
        picture(KIND), PROMPT, 6, generation="checkpoint", seed=3, thinking=thinking
    )
    inputs = inputs_of(processor, picture(KIND), enable_thinking=thinking)
    torch.manual_seed(3)
    ids = model.generate(**inputs, max_new_tokens=6)[0, inputs["input_ids"].shape[1] :].tolist()
    assert list(capture.token_ids) == [
        token for token in ids if token not in end_ids(model.generation_config)
    ]
    assert capture.prompt_length == inputs["input_ids"].shape[1]
    assert capture.settings["thinking"] is thinking
    assert "".join(capture.context_tokens).endswith(BEGUN if thinking else CLOSED)
    assert (len(thoughts(capture)) == len(capture.token_ids)) is thinking


def test_what_reads_the_answer_again_has_the_same_template() -> None:
    model, processor = thinker()
    extractor = AttentionExtractor(model, processor, float16=False)
    capture = extractor.read(picture(KIND), PROMPT, ANSWER, thinking=True)
    assert capture.thinking
    inputs = inputs_of(processor, picture(KIND), enable_thinking=True)
    told = torch.tensor([capture.token_ids])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], told], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(told)], 1)
    with torch.no_grad():
        logits = model(**inputs).logits[0, capture.prompt_length - 1 : -1]
    expected = torch.log_softmax(logits, -1).gather(1, told.T)[:, 0]
    assert_same(capture.logprobs, expected)
    for method in ("gradient-attention", "occlusion"):
        maps = token_maps(method, capture, tokens=[3], model=model, processor=processor, image=picture(KIND))
        assert np.isfinite(maps.maps).all()
    cam = smooth_grad_cam(
        model, processor, picture(KIND), PROMPT, target=2, num_samples=1, noise_std=0, answer=capture
    )
    assert np.isfinite(cam.maps).all()
    other = replace(capture, settings={**capture.settings, "thinking": False})
    with pytest.raises(ValueError, match="another chat template"):
        token_maps("gradient-attention", other, model=model, processor=processor, image=picture(KIND))


def test_without_the_picture_it_thinks_too() -> None:
    model, processor = thinker()
    capture = AttentionExtractor(model, processor).read(picture(KIND), PROMPT, ANSWER, thinking=True)
    inputs = inputs_of(processor, None, enable_thinking=True)
    asked, told = inputs["input_ids"].shape[1], torch.tensor([capture.token_ids])
    ids = torch.cat([inputs["input_ids"], told], 1)
    with torch.no_grad():
        logits = model(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids)).logits[0, asked - 1 : -1]
    expected = torch.log_softmax(logits, -1).gather(1, told.T)[:, 0]
    assert_same(torch.from_numpy(logprobs_without(model, processor, capture)), expected)


def test_the_answer_can_be_had_without_its_thoughts() -> None:
    extractor = AttentionExtractor(*thinker())
    capture = extractor.read(picture(KIND), PROMPT, ANSWER, thinking=True)
    assert capture.text == ANSWER
    assert "".join(capture.tokens[token] for token in said(capture)) == "A red cat."
    assert parsed_tokens(capture, "answer") == (said(capture), False)
    assert parsed_selection(capture, "answer").tokens == said(capture)
    ended = extractor.read(picture(KIND), PROMPT, "Hm, red", thinking=True)
    with pytest.raises(ValueError, match="ended in its thoughts"):
        parsed_tokens(ended, "answer")
    plain = extractor.read(picture(KIND), PROMPT, "A red cat.", thinking=False)
    assert parsed_tokens(plain, "answer") == parsed_tokens(plain, "all")


@pytest.mark.parametrize(
    ("more", "kind", "thinks"), [(ASKS, "asked", False), (BEGUN, "always", True), ("", "never", False)]
)
def test_the_template_decides_what_can_be_chosen(
    more: str, kind: str, thinks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, processor = thinker(more)
    assert thinking_of(processor) == kind
    assert chosen_thinking(processor, None) is thinks
    for given, wanted in ((True, True), (False, False)):
        if kind == "asked" or given is thinks:
            assert chosen_thinking(processor, given) is wanted
        else:
            with pytest.raises(ValueError, match=r"enable_thinking"):
                chosen_thinking(processor, given)
    monkeypatch.setattr(config, "THINKING", True)
    if kind == "never":
        with pytest.raises(ValueError, match="leave THINKING at False"):
            chosen_thinking(processor, None)
    else:
        assert chosen_thinking(processor, None)
