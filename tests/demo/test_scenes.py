"""The scenes: what is said of them is true of their pixels, and training reads them as the model would."""

import re
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from demo.architecture import SPECIAL_TOKENS, make_image_processor, make_model
from demo.data import IGNORED, Packer, draw, patches
from demo.samples import KINDS, WRONG, chosen_questions, held_out_scenes, judged
from demo.scenes import (
    CAPTION_PROMPT,
    COLORS,
    HELD_OUT_SEED,
    NUMBERS,
    PLACES,
    SIDES,
    THINGS,
    Question,
    Scene,
    SceneObject,
    is_framed,
    located,
    make_scene,
)
from records.capture import Capture

SCENES = [make_scene(HELD_OUT_SEED + seed) for seed in range(60)]
HUES = {"red": 358, "orange": 27, "yellow": 52, "green": 128, "blue": 218, "purple": 275, "pink": 330}


def third(thing: SceneObject, shape: tuple[int, int]) -> str:
    """The place of an object, from its mask alone."""
    rows, cols = np.nonzero(thing.mask)
    row, col = int(3 * rows.mean() / shape[0]), int(3 * cols.mean() / shape[1])
    return PLACES[3 * row + col]


def test_a_seed_gives_the_same_scene_and_another_seed_another() -> None:
    first, again, other = make_scene(3), make_scene(3), make_scene(4)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.caption == again.caption
    assert first.questions == again.questions
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(first.objects, again.objects, strict=True))
    assert first.image.size != other.image.size or first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_a_scene_has_as_many_objects_as_asked_for(count: int) -> None:
    scene = make_scene(7, n_objects=count, size=(196, 308))
    assert len(scene.objects) == count
    assert scene.image.size == (308, 196)  # Pillow's (w, h)
    assert scene.image.mode == "RGB"


def test_scenes_are_varied() -> None:
    sizes = {scene.image.size for scene in SCENES}
    assert {len(scene.objects) for scene in SCENES} == {1, 2, 3, 4}
    assert any(w > h for w, h in sizes)
    assert any(w < h for w, h in sizes)
    assert {side for size in sizes for side in size} == set(SIDES)
    assert {o.name for scene in SCENES for o in scene.objects} == set(THINGS)
    assert {o.color for scene in SCENES for o in scene.objects} == set(COLORS)
    assert len(THINGS) >= 12
    assert len(COLORS) == 8


@pytest.mark.parametrize("scene", SCENES[:30], ids=lambda s: str(s.seed))
def test_masks_boxes_and_places_agree(scene: Scene) -> None:
    shape = (scene.image.height, scene.image.width)
    covered = np.zeros(shape, int)
    for thing in scene.objects:
        assert thing.mask.shape == shape
        assert thing.mask.dtype == bool
        x0, y0, x1, y1 = thing.box
        inside = np.zeros(shape, bool)
        inside[y0:y1, x0:x1] = True
        assert not (thing.mask & ~inside).any()
        assert thing.mask[y0:y1, x0].any()
        assert thing.mask[y0:y1, x1 - 1].any()
        assert thing.mask[y0, x0:x1].any()
        assert thing.mask[y1 - 1, x0:x1].any()
        assert third(thing, shape) == thing.place
        covered += thing.mask
    assert covered.max() <= 1, "two objects overlap"


def test_the_pixels_under_a_mask_have_the_objects_colour() -> None:
    checked = 0
    for scene in SCENES:
        hsv = np.asarray(scene.image.convert("HSV")).astype(float)
        for thing in scene.objects:
            hue, saturation, value = (np.median(hsv[thing.mask][:, c]) for c in range(3))
            if thing.color == "black":
                assert value < 90
                continue
            difference = abs(hue / 255 * 360 - HUES[thing.color])
            assert min(difference, 360 - difference) < 12, (scene.seed, thing.name, thing.color)
            assert saturation > 60
            checked += 1
    assert checked > 80


def test_a_caption_names_every_object_in_reading_order() -> None:
    for scene in SCENES:
        named = re.findall(
            r"an? (\w+) (\w+) (?:at|in) the ([a-z ]+?)(?:,| and|\.)",
            scene.caption[0].lower() + scene.caption[1:],
        )
        assert named == [(o.color, o.name, o.place) for o in scene.objects]
        order = [PLACES.index(o.place) for o in scene.objects]
        assert order == sorted(order)
        assert scene.caption[0] == "A"
        assert " a orange" not in scene.caption.lower()
        assert not scene.caption.startswith("A orange")


@pytest.mark.parametrize("scene", SCENES[:30], ids=lambda s: str(s.seed))
def test_every_answer_is_true(scene: Scene) -> None:
    by_name = {o.name: o for o in scene.objects}
    by_place = {located(o.place): o for o in scene.objects}
    seen = set()
    for question, answer in scene.questions:
        subject = question.rstrip("?")
        if match := re.fullmatch(r"What color is the (\w+)", subject):
            assert answer == f"It is {by_name[match[1]].color}."
        elif match := re.fullmatch(r"Where is the (\w+)", subject):
            assert answer == f"It is {located(by_name[match[1]].place)}."
        elif match := re.fullmatch(r"What is ((?:at|in) the .+)", subject):
            thing = by_place[match[1]]
            assert answer in (f"It is a {thing.color} {thing.name}.", f"It is an {thing.color} {thing.name}.")
        elif match := re.fullmatch(r"Is there a (\w+)", subject):
            wanted = f"Yes, {located(by_name[match[1]].place)}." if match[1] in by_name else "No."
            assert answer == wanted
        else:
            assert subject == "How many things are there"
            assert f" {NUMBERS[len(scene.objects)]}." in answer
        seen.add(next(kind for kind, start in KINDS.items() if question.startswith(start)))
    assert seen == set(KINDS)


@pytest.mark.parametrize(
    "arguments", [{"n_objects": 0}, {"n_objects": 10}, {"size": (168, 170)}, {"size": (140, 168)}]
)
def test_impossible_scenes_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        make_scene(0, **arguments)


def test_labels_name_the_object_that_covers_a_token() -> None:
    scene, drawn = make_scene(11), draw(11)
    h, w = drawn.labels.shape[1:]
    assert (28 * h, 28 * w) == (scene.image.height, scene.image.width)
    for row in range(h):
        for col in range(w):
            cell = np.s_[28 * row : 28 * row + 28, 28 * col : 28 * col + 28]
            shares = [thing.mask[cell].mean() for thing in scene.objects]
            best = int(np.argmax(shares))
            if shares[best] >= 0.25:
                thing = scene.objects[best]
                assert drawn.labels[0, row, col] == 1 + list(THINGS).index(thing.name)
                assert drawn.labels[1, row, col] == 1 + list(COLORS).index(thing.color)
                assert drawn.labels[2, row, col] == PLACES.index(thing.place)
            elif shares[best] > 0.04:
                assert (drawn.labels[:, row, col] == IGNORED).all()
            else:
                assert tuple(drawn.labels[:2, row, col]) == (0, 0)


def test_patches_are_the_image_processors() -> None:
    scene = make_scene(5, size=(196, 280))
    wanted = make_image_processor()(images=[scene.image], return_tensors="pt")
    assert wanted["image_grid_thw"].tolist() == [[1, 14, 20]]
    got = patches(np.array(scene.image)[None])
    torch.testing.assert_close(got, wanted["pixel_values"], atol=1e-6, rtol=0)


def test_packed_turns_give_the_logits_of_each_turn_alone() -> None:
    model, tokenizer = make_model(seed=1)
    model.eval()
    scenes = [make_scene(seed, size=(168, 224)) for seed in (1, 2)]
    pixels = patches(np.stack([np.array(s.image) for s in scenes]))
    turns = [
        [Question(CAPTION_PROMPT, s.caption), Question("Is there a cup?", "No."), s.questions[0]]
        for s in scenes
    ]
    packed = Packer(tokenizer).pack(turns, (6, 8))
    grid = torch.tensor([[1, 12, 16]])
    with torch.no_grad():
        tokens = model.model.visual(pixels, grid_thw=grid.repeat(2, 1)).pooler_output
        language = model.model.language_model
        embeds = language.embed_tokens(packed.input_ids)
        embeds[:, packed.image_start : packed.image_start + 48] = tokens.view(2, 48, -1)
        hidden = language(
            inputs_embeds=embeds,
            position_ids=packed.position_ids,
            attention_mask={"full_attention": packed.mask},
            use_cache=False,
        ).last_hidden_state
        got = model.lm_head(hidden[packed.targets != IGNORED])
        alone = []
        for picture, asked in zip(pixels.chunk(2), turns, strict=True):
            for turn in asked:
                message = [
                    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": turn.question}]}
                ]
                text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
                text = text.replace("<|image_pad|>", "<|image_pad|>" * 48) + turn.answer + "<|im_end|>"
                ids = tokenizer(text, return_tensors="pt").input_ids
                answer = len(tokenizer(turn.answer).input_ids) + 1
                logits = model(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    pixel_values=picture,
                    image_grid_thw=grid,
                    mm_token_type_ids=(ids == model.config.image_token_id).int(),
                ).logits[0]
                alone.append(logits[-answer - 1 : -1])
                assert packed.targets[packed.targets != IGNORED].tolist()  # what is learnt is never empty
    torch.testing.assert_close(got, torch.cat(alone), atol=1e-5, rtol=0)
    wanted = [
        t
        for asked in turns
        for turn in asked
        for t in [*tokenizer(turn.answer).input_ids, model.config.eos_token_id]
    ]
    assert packed.targets[packed.targets != IGNORED].tolist() == wanted


def test_the_scenes_words_are_single_tokens_and_any_text_survives() -> None:
    _, tokenizer = make_model()
    for word in (*COLORS, *THINGS):
        assert len(tokenizer(f" {word}").input_ids) == 1
    for text in ("Wo ist das Boot? 日本語 🙂", "a\nb  c", "naïve…"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len({tokenizer.convert_tokens_to_ids(t) for t in SPECIAL_TOKENS}) == len(SPECIAL_TOKENS)


def test_measuring_uses_only_held_out_scenes_and_every_kind_of_question() -> None:
    scenes = list(held_out_scenes(10))
    assert [len(s.objects) for s in scenes] == [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]
    assert all(s.seed >= HELD_OUT_SEED for s in scenes)
    asked = [kind for i, s in enumerate(scenes) for kind, q in chosen_questions(s, i, 2) if q in s.questions]
    assert sorted(asked) == sorted(list(KINDS) * 4)


def test_the_words_of_a_right_answer_are_judged_by_their_objects_and_those_of_a_wrong_one_left_out() -> None:
    scene = make_scene(7, n_objects=2, size=(168, 252))
    words = scene.caption.rstrip(".").split()
    one, other = scene.objects
    asked = Question(CAPTION_PROMPT, scene.caption)
    found = judged(scene, asked, said(scene.caption))
    masks = {(words.index(thing.color), "colour"): thing.mask for thing in (one, other)}
    masks |= {(words.index(thing.name), "object"): thing.mask for thing in (one, other)}
    assert one.color != other.color
    assert {(word.tokens[0], word.kind) for word in found.words} == set(masks)
    assert all(word.mask is masks[word.tokens[0], word.kind] for word in found.words)
    functions = {place for place, word in enumerate(words) if word.lower() in {"a", "an", "the", "and"}}
    assert {token for word in found.functions for token in word} == functions
    assert not found.skipped
    wrong = judged(scene, asked, said(scene.caption.replace(" at ", " in ", 1)))
    assert (wrong.words, wrong.functions, wrong.skipped) == ((), (), {WRONG: 4})


def said(text: str) -> Capture:
    """Return a stand-in for an answer whose tokens are its words."""
    starts = [match.span() for match in re.finditer(r"\w+|[.,]", text)]
    tokens = tuple(text[start:end] for start, end in starts)
    return cast("Capture", SimpleNamespace(text=text, token_spans=tuple(starts), tokens=tokens))


def test_scenes_have_their_frame_and_other_pictures_have_none() -> None:
    assert all(is_framed(make_scene(HELD_OUT_SEED + seed).image) for seed in range(6))
    for other in (Image.new("RGB", (60, 40), "white"), Image.new("L", (60, 40), 117)):
        assert is_framed(other) == (other.mode == "L")  # a grey picture has the frame's colour all over
    cropped = make_scene(HELD_OUT_SEED).image.crop((8, 8, 150, 120))
    assert not is_framed(cropped)
