"""Every family: a conversation of several turns, against ids put together by hand and eager attention."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attention_extractor import AttentionExtractor
from evaluation.removal import check_map
from evaluation.without_picture import logprobs_without, without_image
from methods import covering, token_maps
from methods.grad_cam import smooth_grad_cam
from methods.question import Question
from model import Checkpoint, PromptError, answer_key, encode
from model.standard import standard_of
from records import entries
from records.capture import Capture
from records.conversation import conversation_of
from records.pictures import ImageError, hashes_of, image_hash
from records.store import Store
from records.turns import Turn
from tests.families.kit import attended, forced, picture, plain
from tests.families.moving import clip, leave_frames_small
from tests.numerics import assert_same
from tests.tiny import CHAT_TEMPLATE
from tests.tiny_families import LAYERS, tiny_family

pytestmark = pytest.mark.numeric

SYSTEM, TOKENS, TOKEN = "Answer as a <b>poet</b>.", 5, 3
QUESTIONS = ("Is red here?", "Is <image> in <video>?", "And what else?")
NEUTRAL = {"do_sample": False, "repetition_penalty": 1.0, "temperature": 1.0, "top_k": 0}


@pytest.fixture(autouse=True)
def _small(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_frames_small(kind, monkeypatch)


def shown(kind: str, turn: int) -> list[Any]:
    """Return what each question brings."""
    each: list[list[Any]] = [[picture(kind)], [picture(kind, 1), clip(kind)], []]
    return each[turn]


def extractor_of(kind: str) -> AttentionExtractor:
    return AttentionExtractor(*tiny_family(kind), store_on_cpu=True, float16=False)


@lru_cache
def answers(kind: str) -> tuple[Capture, ...]:
    """Return the answer to each question, each asked after those before it."""
    said: list[Capture] = []
    for turn, question in enumerate(QUESTIONS):
        how: dict[str, Any] = {"history": said[-1:], "system": None if turn else SYSTEM}
        said.append(
            extractor_of(kind).generate(shown(kind, turn), question, TOKENS, 2.0, seed=turn + 1, **how)
        )
    return tuple(said)


@lru_cache
def by_hand(kind: str, turns: int = 3) -> dict[str, torch.Tensor]:
    """Return the inputs of so many questions and the answers between them, joined from the ids of each."""
    (model, processor), ids = tiny_family(kind), []
    seen: dict[str, list[torch.Tensor]] = {}
    for turn in range(turns):
        asked = f"<|im_start|>user\n{QUESTIONS[turn]}<|im_end|>\n<|im_start|>assistant\n"
        alone = processor.tokenizer(asked)["input_ids"]
        if shown(kind, turn):
            system = None if turn else SYSTEM
            read = dict(encode(model, processor, shown(kind, turn), QUESTIONS[turn], system=system).inputs)
            alone = read.pop("input_ids")[0].tolist()
            for name in set(read) - {"attention_mask", "mm_token_type_ids"}:
                seen.setdefault(name, []).append(read[name])
        if turn:
            start = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
            starts = [place for place, token in enumerate(alone) if token == start]
            alone = alone[starts[-2] :]  # from the question on, without a system turn
            ids += [*answers(kind)[turn - 1].token_ids, *processor.tokenizer("<|im_end|>\n")["input_ids"]]
        ids += alone
    whole = torch.tensor([ids])
    is_picture, is_clip = whole == model.config.image_token_id, whole == model.config.video_token_id
    kinds = is_picture.long() + 2 * is_clip.long()
    pixels = {name: torch.cat(each) for name, each in seen.items()}
    return {"input_ids": whole, "attention_mask": torch.ones_like(whole), "mm_token_type_ids": kinds} | pixels


@lru_cache
def eager(kind: str) -> torch.Tensor:
    """Return eager attention (attention layer, head, query, key) to all turns and the last answer."""
    with torch.no_grad():
        inputs = forced(by_hand(kind), answers(kind)[-1])
        return torch.cat(plain(kind)(**inputs, output_attentions=True).attentions)


def visual_places(kind: str) -> list[int]:
    return by_hand(kind)["mm_token_type_ids"][0].nonzero()[:, 0].tolist()


def test_earlier_answers_are_read_by_their_ids(kind: str) -> None:
    capture, (model, processor) = answers(kind)[-1], tiny_family(kind)
    chat: Any = {"system": SYSTEM, "history": capture.history}
    encoded = encode(model, processor, capture.pictures, QUESTIONS[-1], **chat)
    assert set(encoded.inputs) == set(by_hand(kind))
    for name, value in by_hand(kind).items():
        assert torch.equal(encoded.inputs[name], value), name
    assert processor.tokenizer.decode(encoded.input_ids[encoded.prompt_positions]) == QUESTIONS[-1]
    again = [processor.tokenizer(turn.text)["input_ids"] for turn in capture.history]
    assert again != [list(turn.token_ids) for turn in capture.history]  # text would not do
    first, second = answers(kind)[:2]
    assert capture.history == (
        Turn(QUESTIONS[0], ("image",), first.token_ids, first.text),
        Turn(QUESTIONS[1], ("image", "video"), second.token_ids, second.text),
    )
    assert (capture.system, capture.prompt) == (SYSTEM, QUESTIONS[-1])


def test_the_answer_is_that_of_plain_generation(family: tuple[Any, Any], kind: str) -> None:
    found = AttentionExtractor(*family).generate(
        [], QUESTIONS[-1], TOKENS, generation="greedy", history=[answers(kind)[1]]
    )
    expected = family[0].generate(**by_hand(kind), max_new_tokens=TOKENS, **NEUTRAL)
    assert found.token_ids == tuple(expected[0, by_hand(kind)["input_ids"].shape[1] :].tolist())


def test_rows_are_those_of_eager_attention(kind: str) -> None:
    capture, truth, at = answers(kind)[-1], eager(kind), visual_places(kind)
    length = by_hand(kind)["input_ids"].shape[1]
    rows = truth[:, :, length - 1 : length - 1 + TOKENS].permute(2, 0, 1, 3)  # (token, layer, head, key)
    assert_same(capture.attention, rows[..., at], terms=1)
    rest = [place for place in range(length) if place not in set(at)]
    assert_same(capture.text_attention[..., : len(rest)], rows.mean(2)[..., rest], terms=1)
    said = rows[..., length:].sum(-1)
    expected = torch.stack([rows[..., at].sum(-1), rows[..., rest].sum(-1), said], -1)
    assert_same(capture.shares, expected, terms=len(at))
    asked = [rest[place] for place in capture.prompt_places]
    own = truth[:, :, asked].permute(2, 0, 1, 3)
    assert_same(capture.prompt_attention, own[..., at], terms=1)
    assert capture.prompt_length == length
    assert [one.hash for one in capture.visuals] == hashes_of([*shown(kind, 0), *shown(kind, 1)])


@pytest.mark.parametrize("turn", [0, 1])
def test_an_earlier_answers_rows_are_the_same_when_seen_again(kind: str, turn: int) -> None:
    """So its own record shows it, within the conversation too."""
    capture, truth = answers(kind)[turn], eager(kind)
    start = by_hand(kind, turn + 1)["input_ids"].shape[1] - 1
    rows = truth[:, :, start : start + TOKENS].permute(2, 0, 1, 3)
    at = visual_places(kind)[: capture.patch_count]
    assert_same(capture.attention, rows[..., at], terms=1)


def test_read_again_and_planned(family: tuple[Any, Any], kind: str) -> None:
    extractor, (first, second, third) = extractor_of(kind), answers(kind)
    plans: list[Any] = []
    again = extractor.read([], QUESTIONS[-1], third.token_ids, history=[second])
    assert (again.history, again.visuals, again.system) == (third.history, third.visuals, SYSTEM)
    assert_same(again.attention, third.attention, terms=1)
    assert_same(again.logprobs, third.logprobs, terms=10)
    for turn, history in ((1, [first]), (2, [second]), (2, [first, second])):
        sizes = [one if one is clip(kind) else one.size for one in shown(kind, turn)]
        found = extractor.generate(
            shown(kind, turn), QUESTIONS[turn], 1, history=history, on_plan=plans.append
        )
        assert plans.pop() == extractor.plan(sizes, QUESTIONS[turn], 1, history=history)
        assert found.history == answers(kind)[turn].history
    known = extractor.generate(
        shown(kind, 1), QUESTIONS[1], 1, history=[first], known_hash=["e" * 64, "f" * 64]
    )
    assert [one.hash for one in known.visuals] == [image_hash(picture(kind)), "e" * 64, "f" * 64]
    both = extractor.generate([], QUESTIONS[2], 1, history=[first, first])  # two conversations, joined
    assert both.history == first.conversation * 2
    assert len(both.visuals) == 2


def test_gradient_attention_equals_autograd(family: tuple[Any, Any], kind: str) -> None:
    capture = answers(kind)[-1]
    read_by: Any = {"model": family[0], "processor": family[1], "image": capture.pictures}
    found = token_maps("gradient-attention", capture, **read_by, tokens=[TOKEN], layers=[1, 3])
    inputs = forced(by_hand(kind), capture)
    outputs, size = plain(kind)(**inputs, output_attentions=True), inputs["input_ids"].shape[1]
    row, flow = capture.prompt_length + TOKEN - 1, torch.eye(size, dtype=torch.float64)
    score = outputs.logits[0, row, capture.token_ids[TOKEN]]
    slopes = torch.autograd.grad(score, outputs.attentions)
    for layer in (1, 3):
        place = attended(kind).index(layer)
        weighted = (slopes[place] * outputs.attentions[place]).clamp(min=0)[0].detach().double()
        flow = flow + weighted.mean(0) @ flow
    assert_same(found.maps[0], flow[row, visual_places(kind)], steps=8192)
    by_cam = token_maps("grad-cam", capture, **read_by, tokens=[TOKEN], layers=[1]).maps[0]
    cam = smooth_grad_cam(
        *family, capture.pictures, QUESTIONS[-1], [1], TOKEN, 1, noise_std=0.0, answer=capture
    )
    assert_same(cam.maps[0], by_cam)
    assert cam.maps.any()


def test_a_check_hides_a_picture_of_an_earlier_turn(family: tuple[Any, Any], kind: str) -> None:
    capture = answers(kind)[-1]
    heat = token_maps("attention", capture).token_map(TOKEN, visual=0)
    check = check_map(*family, capture.pictures, capture, TOKEN, heat, patches=[1, heat.size], repeats=1)
    inputs = forced(by_hand(kind), capture)
    question = Question(capture, (TOKEN,), *family, capture.pictures)
    own = len(encode(*family, picture(kind), "?").pixels)
    inputs["pixel_values"] = inputs["pixel_values"].clone()
    inputs["pixel_values"][:own] = covering(question.forced, "blur")[:own]
    with torch.no_grad():
        logits = plain(kind)(**inputs).logits[0, capture.prompt_length + TOKEN - 1]
    expected = float(torch.softmax(logits, -1)[capture.token_ids[TOKEN]])
    assert check.hottest[-1] == pytest.approx(expected, rel=1e-3)
    assert check.hottest[0] == pytest.approx(float(capture.logprobs[TOKEN].exp()), rel=1e-3)


def test_without_pictures_the_conversation_is_text_and_the_same_ids(
    family: tuple[Any, Any], kind: str
) -> None:
    capture, tokenizer, ids = answers(kind)[-1], family[1].tokenizer, []
    texts = [f"<|im_start|>system\n{SYSTEM}<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n"]
    for before, question, said in zip(
        texts, (QUESTIONS[0], "Is  in ?", QUESTIONS[2]), answers(kind), strict=True
    ):
        asked = f"{before}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        ids += [*tokenizer(asked)["input_ids"], *said.token_ids]
    whole = torch.tensor([ids])
    with torch.no_grad():
        logits = plain(kind)(input_ids=whole, mm_token_type_ids=torch.zeros_like(whole)).logits[0]
    expected = torch.log_softmax(logits[-TOKENS - 1 : -1], -1)[range(TOKENS), list(capture.token_ids)]
    assert_same(logprobs_without(*family, capture), expected, terms=10)
    assert_same(without_image(*family, capture.pictures, capture).without, expected, terms=10)
    with pytest.raises(ValueError, match=r"shows 3 pictures and clips before this question: .*; got 1\."):
        without_image(*family, picture(kind), capture)


def test_it_is_kept_with_its_conversation(kind: str, tmp_path: Path) -> None:
    first = answers(kind)[0]
    capture = extractor_of(kind).generate([picture(kind, 1)], "Is <image> too?", 2, history=[first])
    store = Store(tmp_path)
    entry = store.save(capture, capture.pictures)
    assert entry is not None
    kept = store.open(entry).capture
    assert (kept.history, kept.conversation) == (capture.history, capture.conversation)
    assert (kept.visuals, kept.system) == (capture.visuals, SYSTEM)
    store.add(entry, kept, without=np.zeros(2, np.float32))
    assert store.open(entry).without is not None
    again = extractor_of(kind).generate([], QUESTIONS[-1], 1, history=[kept])
    assert again.history == capture.conversation
    file = tmp_path / entry / entries.FACTS
    facts = json.loads(file.read_text("utf-8"))
    other = json.loads(json.dumps(facts))
    other["capture"]["history"][0]["token_ids"][0] += 1
    file.write_text(json.dumps(other))
    assert store.open(entry).without is None  # it was worked out after another answer
    del facts["capture"]["history"]
    file.write_text(json.dumps(facts | {"format": 2}))
    assert store.open(entry).capture.history == ()


def test_its_key_is_of_the_whole_chat(kind: str) -> None:
    source = Checkpoint("tiny", "folder", (), LAYERS, attended(kind))
    first, second, third = answers(kind)
    hashes = [image_hash(picture(kind)), image_hash(picture(kind, 1))]
    others = [
        replace(first, token_ids=(*first.token_ids[:-1], first.token_ids[-1] ^ 1)),
        replace(first, prompt="Was red here?"),
        replace(first, visuals=(replace(first.visuals[0], hash=hashes[1]),)),
        replace(first, settings={**first.settings, "system": "Be brief."}),
        second,
        third,
    ]
    asked = [{}, {"history": [first]}, *({"history": [one]} for one in others), {"system": SYSTEM}]
    keys = {answer_key(source, [], QUESTIONS[-1], **how) for how in asked}  # type: ignore[arg-type]
    assert len(keys) == len(asked)
    ways = ([second], [first, second], (first, second))
    assert len({answer_key(source, [], QUESTIONS[-1], history=way) for way in ways}) == 1
    assert answer_key(source, hashes[0], "a") == answer_key(source, hashes[0], "a", history=())


def test_a_stopped_answer_is_closed_by_the_template(kind: str) -> None:
    first = replace(answers(kind)[0], stopped=True)
    found = extractor_of(kind).read([], QUESTIONS[-1], [65], history=[first])
    whole = extractor_of(kind).read([], QUESTIONS[-1], [65], history=[answers(kind)[0]])
    assert found.context_tokens == whole.context_tokens
    assert_same(found.attention, whole.attention, terms=1)


def test_what_cannot_be_is_one_line(kind: str) -> None:
    extractor, first = extractor_of(kind), answers(kind)[0]
    image = tiny_family(kind)[0].config.image_token_id
    empty = extractor.read(picture(kind), "Is it?", [65])
    parts = ("attention", "shares", "logprobs", "text_attention")
    none: dict[str, Any] = {name: getattr(empty, name)[:0] for name in parts}
    none["text_attention"] = none["text_attention"][..., :-1]
    empty = replace(empty, token_ids=(), tokens=(), text="", token_spans=(), **none)
    long_ = replace(first, history=(Turn("?", (), (65,) * 2048, "A"),))
    refused: list[tuple[Any, str]] = [
        (first, "history is a list of captures, the answers given before; got"),
        (["Red."], "history is a list of captures, the answers given before; got"),
        ([empty], "an earlier answer is empty: leave it out of the history"),
        ([replace(first, pictures=())], "the pictures of an earlier answer are not at hand; open it"),
        ([replace(first, model_name="other")], f"an earlier answer was given by other, not by tiny {kind}"),
        ([replace(first, token_ids=(image, *first.token_ids[1:]))], "answer has the control token"),
        ([replace(first, token_ids=(9999, *first.token_ids[1:]))], "answer has the token id 9999; the model"),
        ([first, replace(first, settings={})], "had different system prompts; say which one counts"),
        ([long_], r"The picture and the conversation are 2,\d{3} tokens, and the model reads fewer than"),
    ]
    for history, line in refused:
        for ask in (
            lambda history=history: extractor.generate([], "And?", 1, history=history),
            lambda history=history: extractor.read([], "And?", "Yes.", history=history),
            lambda history=history: extractor.plan([], "And?", 1, history=history),
        ):
            with pytest.raises(ValueError, match=line) as caught:
                ask()
            assert "\n" not in str(caught.value)
    with pytest.raises(PromptError, match="says <image> and brings none: it stands for new ones only"):
        extractor.generate([], "Is <image> red?", history=[first])
    assert extractor.plan([], "Is <video> a tag?", 1, history=[first]).prompt
    with pytest.raises(PromptError, match="says <image> twice and is about one picture"):
        extractor.generate(picture(kind, 1), "<image> or <image>?", history=[first])
    with pytest.raises(ImageError, match="At least one image is needed"):
        extractor.generate([], "And?", 1)
    own = conversation_of([first, replace(first, settings={})], system="")
    assert own.system == ""


THOUGHT = "Hm, red.\n</think>\n\nA cat."
CONTENT = "{{ content['text'] }}"
STRIPS = (
    "{% if message['role'] == 'assistant' %}{{ content['text'].split('</think>')[-1].lstrip('\\n') }}"
    "{% else %}" + CONTENT + "{% endif %}"
)
REWRITES = CONTENT.replace("'] }}", "'].replace('</think>', '(thought)') }}")


@pytest.mark.parametrize("kind", ["qwen3_5"])
@pytest.mark.parametrize(
    ("template", "kept"),
    [
        (CHAT_TEMPLATE.replace(CONTENT, STRIPS), "A cat."),
        (CHAT_TEMPLATE, THOUGHT),
        (standard_of("qwen3_5").template, "A cat."),
    ],
    ids=["stripped", "as it was said", "the family's own"],
)
def test_a_thought_is_left_out_where_the_template_leaves_it_out(
    kind: str, template: str, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny_family(kind)
    monkeypatch.setattr(processor, "chat_template", template)
    extractor = AttentionExtractor(model, processor, float16=False)
    first = extractor.read(picture(kind), QUESTIONS[0], THOUGHT)
    found = extractor.read([], QUESTIONS[-1], "No.", history=[first])
    assert found.history[0].token_ids == first.token_ids
    turns: list[Any] = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTIONS[0]}]},
        {"role": "assistant", "content": [{"type": "text", "text": THOUGHT}]},
        {"role": "user", "content": [{"type": "text", "text": QUESTIONS[-1]}]},
    ]
    text = processor.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert f"assistant\n{kept}<|im_end|>" in text
    expected = processor(text=[text], images=[picture(kind)], return_tensors="pt")["input_ids"][0]
    encoded = encode(model, processor, found.pictures, QUESTIONS[-1], history=found.history)
    assert encoded.input_ids.tolist() == expected.tolist()


@pytest.mark.parametrize("kind", ["qwen3_5"])
@pytest.mark.parametrize(
    ("template", "line"),
    [
        (REWRITES, "rewrites the thoughts of an earlier answer: they cannot be read as they were said"),
        ("{{ raise_exception('One question only.') }}", "refuses the conversation: One question only"),
        ("{% if message['role'] == 'user' %}" + CONTENT + "{% endif %}", "no place for earlier turns"),
        (CONTENT.replace(" }}", " * 2 }}"), "no place for earlier turns"),
    ],
)
def test_a_template_that_cannot_say_it_is_told(
    kind: str, template: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny_family(kind)
    first = AttentionExtractor(model, processor, float16=False).read(picture(kind), QUESTIONS[0], THOUGHT)
    monkeypatch.setattr(processor, "chat_template", processor.chat_template.replace(CONTENT, template))
    with pytest.raises(PromptError, match=line):
        encode(model, processor, picture(kind), QUESTIONS[-1], history=first.conversation)
