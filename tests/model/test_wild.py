"""Checkpoints as people's folders hold them: mended, which is said, or refused when they are loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from model import PromptError, encode, load_model, loading_notes
from model.families import image_only
from tests.model.kit import AGAIN, PROMPT, noise, said
from tests.published import PREPROCESSOR, TEXT_ONLY_TEMPLATE, published
from tests.tiny import CHAT_TEMPLATE, tiny_model, tiny_tokenizer

PICTURE = noise(250, 370)
CONFIG, IMAGES, TOKENS = "config.json", "preprocessor_config.json", "tokenizer_config.json"
NO_BOUNDS = {"min_pixels": None, "max_pixels": None}
STANDARD = "the standard one of Qwen2.5-VL is used"
BOTH_TEMPLATES = ("chat_template.json", TOKENS)


def everywhere(fault: str) -> list[str]:
    return [f"the chat template in {place} {fault}: {STANDARD}" for place in BOTH_TEMPLATES]


def nested(**changes: Any) -> str:
    """Return a processor_config.json as transformers 5 saves it."""
    bounds = {"size": {"shortest_edge": 3136, "longest_edge": 50_000}}
    kept = {key: value for key, value in PREPROCESSOR.items() if key not in NO_BOUNDS}
    settings = {**kept, **bounds, **changes}
    return json.dumps({"image_processor": settings, "processor_class": "Qwen2_5_VLProcessor"})


CUT = CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "")
TWICE = CHAT_TEMPLATE.replace("<|image_pad|>", "<|image_pad|><|image_pad|>")
SHOUTS = CHAT_TEMPLATE.replace("content['text'] }}", "content['text'] | upper }}")
ESCAPES = CHAT_TEMPLATE.replace("content['text'] }}", "content['text'] | e }}")
LAST = CHAT_TEMPLATE.replace("in message['content'] %}", "in message['content'] | reverse %}")
ODD_TYPE = "Qwen2_5_VLImageProcessor"
READ_AS = (
    f"image_processor_type {ODD_TYPE} is read as Qwen2VLImageProcessor, the only one that this family has"
)
WIDE, SMALL = (
    (3136, 12_845_056),
    (3136, 50_000),
)  # bounds: the published ones, and some that shrink the picture
# A folder's oddities, what is said of them, and the bounds of a picture if they are not the published ones.
MENDED: dict[str, tuple[dict[str, Any], list[str], tuple[int, int]]] = {
    "as published": ({}, [], WIDE),
    "text-only template": (
        {"template": TEXT_ONLY_TEMPLATE},
        everywhere('takes no picture (can only concatenate str (not "list") to str)'),
        WIDE,
    ),
    "text-only template beside the right one": (
        {"changes": {"chat_template.json": {"chat_template": TEXT_ONLY_TEMPLATE}}},
        [
            "the chat template in chat_template.json takes no picture "
            f'(can only concatenate str (not "list") to str): that of {TOKENS} is used'
        ],
        WIDE,
    ),
    "template in tokenizer_config.json only": ({"without": ["chat_template.json"]}, [], WIDE),
    "template in chat_template.json only": (
        {"changes": {TOKENS: {"chat_template": None}}},
        [],
        WIDE,
    ),
    "templates by name": (
        {
            "changes": {TOKENS: {"chat_template": [{"name": "default", "template": CHAT_TEMPLATE}]}},
            "without": ["chat_template.json"],
        },
        [],
        WIDE,
    ),
    "no template": ({"template": None}, [f"it has no chat template: {STANDARD}"], WIDE),
    "a template that raises": (
        {"template": "{{ raise_exception('a system turn\nis needed') }}"},
        everywhere("takes no picture (a system turn is needed)"),
        WIDE,
    ),
    "a template that is no template": (
        {"template": "{% if %}"},
        everywhere("takes no picture (Expected an expression, got 'end of statement block')"),
        WIDE,
    ),
    "a template without the picture": (
        {"template": CUT},
        everywhere("leaves out the picture"),
        WIDE,
    ),
    "a template with two": (
        {"template": TWICE},
        everywhere("writes the picture 2 times"),
        WIDE,
    ),
    "a template that shouts": ({"template": SHOUTS}, everywhere("changes the question"), WIDE),
    "a template that escapes": (
        {"template": ESCAPES},
        everywhere("changes the question"),
        WIDE,
    ),
    "the picture last": (
        {"template": LAST},
        everywhere("puts the question before the picture"),
        WIDE,
    ),
    "sizes by other names": (
        {"changes": {IMAGES: {**NO_BOUNDS, "size": {"min_pixels": 3136, "max_pixels": 50_000}}}},
        [],
        SMALL,
    ),
    "sizes as text": ({"changes": {IMAGES: {"min_pixels": "3136", "max_pixels": "50000"}}}, [], SMALL),
    "half a size": (
        {"changes": {IMAGES: {**NO_BOUNDS, "size": {"longest_edge": 50_000}}}},
        [
            "its image processor bounds pictures only in part (size {'longest_edge': 50000}): "
            "at least 3,136 pixels, as published, are used"
        ],
        SMALL,
    ),
    "a processor that never was": (
        {"changes": {IMAGES: {"image_processor_type": ODD_TYPE, "max_pixels": 50_000}}},
        [READ_AS],
        SMALL,
    ),
    "do_resize false": (
        {"changes": {IMAGES: {"do_resize": False}}},
        ["do_resize false is set aside: sides must be multiples of 28 pixels"],
        WIDE,
    ),
    "no image processor": (
        {"without": [IMAGES]},
        [
            "it has no image processor: Qwen2VLImageProcessor with the published settings "
            "(3,136 to 12,845,056 pixels) is used"
        ],
        WIDE,
    ),
    "nested, as transformers 5 saves it": (
        {"without": [IMAGES], "files": {"processor_config.json": nested()}},
        [],
        SMALL,
    ),
    "nested and odd": (
        {"without": [IMAGES], "files": {"processor_config.json": nested(image_processor_type=ODD_TYPE)}},
        [READ_AS],
        SMALL,
    ),
    "for videos too": (
        {"changes": {"video_preprocessor_config.json": {"video_processor_type": "Qwen2VLVideoProcessor"}}},
        [],
        WIDE,
    ),
    "vocab.json and merges.txt": ({"without": ["tokenizer.json"]}, [], WIDE),
    "tokenizer.json": ({"without": ["vocab.json", "merges.txt", TOKENS]}, [], WIDE),
    "lm_head stored though tied": ({"lm_head": True}, [], WIDE),
    "tied by default": (
        {"changes": {CONFIG: {"tie_word_embeddings": None}}},
        [
            "its files hold no lm_head.weight, and config.json says nothing of tie_word_embeddings: "
            "the embedding is used for it"
        ],
        WIDE,
    ),
    "a generation config that is none": (
        {"files": {"generation_config.json": "{"}},
        ["its generation_config.json cannot be read as JSON and is left out: answers are greedy"],
        WIDE,
    ),
    "code of its own": (
        {
            "changes": {
                TOKENS: {"auto_map": {"AutoTokenizer": ["own.Own", None]}},
                CONFIG: {"auto_map": {"x": "y"}},
            }
        },
        [],
        WIDE,
    ),
}


@pytest.fixture(scope="module")
def plain() -> Any:
    return tiny_model(layers=2, vocabulary="bytes")[0]


@pytest.mark.parametrize("oddity", MENDED)
def test_what_is_odd_is_mended_and_said(oddity: str, plain: Any, tmp_path: Path) -> None:
    """The answer is the one that the library gives by itself, on inputs that were never odd."""
    settings, notes, bounds = MENDED[oddity]
    model, processor = load_model(published(tmp_path / "m", **settings))
    assert list(loading_notes(model)) == notes
    right = image_only(Qwen2_5_VLProcessor)(
        Qwen2VLImageProcessorPil(min_pixels=bounds[0], max_pixels=min(bounds[1], 1_003_520)),
        tiny_tokenizer("bytes"),
        CHAT_TEMPLATE,
    )
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}
    text = right.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    expected = right(text=[text], images=[PICTURE], return_tensors="pt")
    inputs = encode(model, processor, PICTURE, PROMPT).inputs
    assert inputs.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(inputs[name], value), name
    greedy = {"max_new_tokens": 4, "do_sample": False}
    assert torch.equal(model.generate(**inputs, **greedy), plain.generate(**expected, **greedy))


def with_a_mark(folder: Path) -> None:
    """Put a byte order mark before each JSON file that we read, as some editors do."""
    for name in (CONFIG, IMAGES, TOKENS, "chat_template.json"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    folder = published(tmp_path / "m", files={})
    with_a_mark(folder)
    assert loading_notes(load_model(folder)[0]) == ()


def changed_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    file = folder / "model-00002-of-00002.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def test_a_head_that_is_not_the_embedding_is_used_and_said(tmp_path: Path) -> None:
    folder = published(tmp_path / "m", lm_head=True)
    changed_weights(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["lm_head.weight"] * 2}))
    model, _ = load_model(folder)
    assert torch.equal(model.lm_head.weight, model.get_input_embeddings().weight * 2)
    assert loading_notes(model) == (
        "lm_head.weight in its files is not the embedding, though config.json ties them: it is used as it is",
    )


def test_weights_that_are_not_the_models_are_said(tmp_path: Path) -> None:
    folder = published(tmp_path / "m")
    changed_weights(folder, lambda tensors: tensors.update({"extra.weight": torch.zeros(3)}))
    model, _ = load_model(folder)
    assert loading_notes(model) == ("1 weights in its files are not the model's: extra.weight, …",)


SAME = "take config.json and the tokenizer's files from one and the same checkpoint."
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "lm_head missing though untied": (
        {"tied": False, "lm_head": False},
        "NAME is not complete: its files lack lm_head.weight; fetch them again, or, if the embedding was "
        "trained in its place, set tie_word_embeddings to true in its config.json.",
    ),
    "another number for the picture": (
        {"changes": {CONFIG: {"image_token_id": 200}}},
        "NAME does not fit itself: <|image_pad|> is 268 in its tokenizer and 200 in its config.json "
        f"(image_token_id); {SAME}",
    ),
    "another number before the picture": (
        {"changes": {CONFIG: {"vision_start_token_id": 7}}},
        "NAME does not fit itself: <|vision_start|> is 265 in its tokenizer and 7 in its config.json "
        f"(vision_start_token_id); {SAME}",
    ),
    "a tokenizer of texts": (
        {"without": ["tokenizer.json", TOKENS]},
        f"NAME has a tokenizer without <|image_pad|>: it is not a picture's; {SAME}",
    ),
    "no vocabulary": (
        {"without": ["tokenizer.json", "merges.txt"]},
        "NAME has no tokenizer: tokenizer.json is missing; copy it, with tokenizer_config.json, from the "
        "checkpoint that this one was made from.",
    ),
    "a template file that is none": (
        {"files": {"chat_template.json": "{"}},
        f"NAME: chat_template.json cannot be read as JSON; {AGAIN}.",
    ),
    "a list for the image processor": (
        {"files": {IMAGES: "[]"}},
        f"NAME: preprocessor_config.json holds no settings; {AGAIN}.",
    ),
    "a tokenizer config that is none": (
        {"files": {TOKENS: "{'a': 1}"}},
        f"NAME: tokenizer_config.json cannot be read as JSON; {AGAIN}.",
    ),
}


@pytest.mark.parametrize("oddity", REFUSED)
def test_what_cannot_be_mended_is_refused_when_it_is_loaded(oddity: str, tmp_path: Path) -> None:
    settings, line = REFUSED[oddity]
    assert said(published(tmp_path / "m", **settings)) == line


def test_weights_with_an_adapter_among_them_are_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "m")
    key = "model.layers.0.self_attn.q_proj.lora_A.weight"
    changed_weights(folder, lambda tensors: tensors.update({key: torch.zeros(3, 64)}))
    assert said(folder).startswith("NAME was saved with an adapter in its files (")
    assert said(folder).endswith(
        "merge it with PEFT (merge_and_unload) and save that, or save base and adapter apart."
    )


def test_a_long_reason_is_cut_before_what_to_do(tmp_path: Path) -> None:
    folder = published(tmp_path / "m", changes={CONFIG: {"hidden_act": "x" * 900}})
    line = said(folder)
    assert line.startswith("NAME cannot be loaded: ")
    assert line.endswith("…; fetch all of its files again, or choose another checkpoint.")


def test_the_small_files_for_a_while_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "while").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "while"))
    load_model(published(tmp_path / "m"))
    said(published(tmp_path / "n", changes={CONFIG: {"image_token_id": 200}}))
    assert list((tmp_path / "while").iterdir()) == []


def test_a_token_without_weights_is_refused_in_a_question(tmp_path: Path) -> None:
    """A fine-tune's tokenizer was given a token, its embedding was not."""
    folder = published(tmp_path / "m")
    tokens = json.loads((folder / TOKENS).read_text())
    tokens["added_tokens_decoder"]["278"] = {"content": "<answer>", "special": False}
    (folder / TOKENS).write_text(json.dumps(tokens))
    model, processor = load_model(folder)
    assert encode(model, processor, PICTURE, PROMPT).prompt_length > 100
    with pytest.raises(PromptError, match="model has no weights for <answer>, which is in the prompt; leave"):
        encode(model, processor, PICTURE, "<answer>")


def test_a_generation_config_of_no_use_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = published(tmp_path / "m", changes={"generation_config.json": {"temperature": -1.0}})
    assert said(folder).startswith("NAME: `temperature` (=-1.0) has to be")
    assert said(folder).endswith(
        '; mend its generation_config.json, or set GENERATION = "greedy" in config.py.'
    )
