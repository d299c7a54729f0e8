"""The bundled model: an ordinary checkpoint, small, that answers rightly about scenes it has never seen."""

import json
import sys

import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from demo import evaluate
from demo.make_examples import EXAMPLES, FOLDER, Example
from demo.samples import held_out_scenes, judged
from demo.scenes import CAPTION_PROMPT, HELD_OUT_SEED, Question, make_scene
from evaluation.metrics import coverage, pointing
from model import DEMO_FOLDER, load_model
from records.grad_cam import LABELS

SCENES = 24


@pytest.fixture(scope="module")
def extractor() -> AttentionExtractor:
    return AttentionExtractor(*load_model("demo"), float16=False)


def test_it_is_an_ordinary_checkpoint_folder_of_at_most_16_mb() -> None:
    files = {path.name: path.stat().st_size for path in DEMO_FOLDER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)
    assert sum(files.values()) <= 16_000_000
    assert json.loads((DEMO_FOLDER / "config.json").read_text())["model_type"] == "qwen2_5_vl"
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(DEMO_FOLDER, local_files_only=True)
    assert model.dtype == torch.float32
    assert len(model.model.language_model.layers) == 6


def test_it_answers_and_looks_rightly_on_held_out_scenes(extractor: AttentionExtractor) -> None:
    captions, answers, hits = [], [], []
    for scene in held_out_scenes(SCENES):
        capture = extractor.generate(scene.image, CAPTION_PROMPT, max_new_tokens=80, temperature=0)
        captions.append(capture.text == scene.caption)
        question = scene.questions[scene.seed % len(scene.questions)]
        answers.append(
            extractor.generate(scene.image, question.question, max_new_tokens=20, temperature=0).text
            == question.answer
        )
        if captions[-1]:
            words = judged(scene, Question(CAPTION_PROMPT, scene.caption), capture).words
            assert len(words) == 2 * len(scene.objects)
            maps = AttentionProcessor(capture)
            heats = [maps.get_attention_heatmap_for_token(word.tokens) for word in words]
            hits += [pointing(h, coverage(w.mask, capture.grid)) for h, w in zip(heats, words, strict=True)]
    # far below what demo.evaluate measures on 500, far above chance
    assert sum(captions) >= SCENES - 3
    assert sum(answers) >= SCENES - 3
    assert sum(hits) >= 0.8 * len(hits)


def test_every_map_is_measured_on_the_words_it_explains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", "--scenes", "3", "--questions", "1", "--samples", "1"])
    evaluate.main()
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    figures = {name.strip(): [float(cell.strip(" %")) for cell in cells] for name, *cells in rows[1:]}
    gradients = [f"{method}, layer {layer}" for method in LABELS.values() for layer in range(5)]
    blind = ["centre prior", "random", "uniform"]
    assert list(figures) == ["attention, mean of all layers and heads", *gradients, *blind]
    assert figures["gradient norm, layer 4"][4] > 80 > 50 > figures["centre prior"][4]
    assert figures["gradient norm, layer 4"][5] > 0.3 > 0.1 > figures["random"][5]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_examples_are_the_scenes_they_say_and_are_answered_rightly(
    example: Example, extractor: AttentionExtractor
) -> None:
    scene = make_scene(HELD_OUT_SEED + example.seed, example.n_objects)
    listed = {entry["image"]: entry["prompt"] for entry in json.loads((FOLDER / "examples.json").read_text())}
    assert listed[f"{example.name}.png"] == example.prompt
    with Image.open(FOLDER / f"{example.name}.png") as image:
        picture = image.convert("RGB")
    assert picture.tobytes() == scene.image.tobytes()
    known = {CAPTION_PROMPT: scene.caption, **dict(scene.questions)}
    names = {thing.name for thing in scene.objects}
    if example.prompt.startswith("Is there a") and example.prompt[11:-1] not in names:
        known[example.prompt] = "No."  # a scene keeps questions about two of the absent things only
    answer = extractor.generate(picture, example.prompt, max_new_tokens=80, temperature=0).text
    assert answer == known[example.prompt]
