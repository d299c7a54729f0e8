"""Trains the bundled model on drawn scenes and saves it as a checkpoint folder: `python -m demo.train`.

1. Draw the scenes.
2. See: the vision tower alone, with an auxiliary head (dropped later) that names the thing, colour and place
   of each visual token. Most of the pictures are crowded, for nine times the examples.
3. Speak: the decoder on the tower's cached features; several turns share a picture and do not see each other.
   Pictures of one thing first, then two, then all. An auxiliary loss asks that the second layer's visual
   tokens name their thing and colour through the word embeddings; another, later on, that the last word of a
   question knows in the fourth layer what is asked about. Without these a word takes long to find its object.

Work in progress lies in `demo/.work`; a run that was stopped goes on from its last checkpoint there.
"""

from __future__ import annotations

import argparse
import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import (
    AttentionInterface,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2TokenizerFast,
)

from demo.architecture import make_image_processor, make_model
from demo.data import IGNORED, Drawn, Grid, Packed, Packer, draw_all, patches, subjects
from demo.scenes import COLORS, PLACES, THINGS, Question
from internals.hooks import hooked
from model import DEMO_FOLDER
from model.families import image_only

AUTOCAST = torch.autocast("cpu", torch.bfloat16)
WORK = Path(__file__).parent / ".work"
# how often each kind of question is asked, by its first word and whether the answer is "No."
QUESTION_WEIGHTS = {
    ("What", False): 3.0,
    ("Where", False): 2.0,
    ("Is", False): 1.2,
    ("Is", True): 1.2,
    ("How", False): 0.5,
}
EVERY = 200  # steps from one checkpoint to the next
SPARSE, CROWDED = 20_000, 6_000
CROWDED_SEED = 5_000_000
LABELS = (1 + len(THINGS), 1 + len(COLORS), len(PLACES))


@dataclass(frozen=True)
class Stage:
    """How long and how fast one stage learns."""

    steps: int
    rate: float
    pictures: int  # in a batch, for the middle size; fewer of the large and more of the small
    questions: int = 0


SEE = Stage(steps=1600, rate=2e-3, pictures=40)
SPEAK = Stage(steps=3000, rate=1.5e-3, pictures=18, questions=5)
NAMING_LAYER, NAMING_WEIGHT = 1, 0.2
FINDING_LAYER, FINDING_WEIGHT, FINDING_FROM = 3, 0.5, 1000  # the last is a step of SPEAK
SUBJECTS = (1 + len(THINGS), 1 + len(COLORS), 1 + len(PLACES))


def segments_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any
) -> tuple[Tensor, None]:
    """Vision attention over many windows at once: windows of one length go through one call."""
    bounds: Tensor = options["cu_seq_lens_q"]
    lengths = bounds.diff()
    out = torch.empty_like(query)
    for length in lengths.unique().tolist():
        index = bounds[:-1][lengths == length][:, None] + torch.arange(length)  # (window, token)
        q, k, v = (
            x[0][:, index].transpose(0, 1) for x in (query, key, value)
        )  # (window, head, token, channel)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, scale=options["scaling"])
        out[0][:, index] = mixed.transpose(0, 1).to(out.dtype)
    return out.transpose(1, 2), None


# transformers hands variable lengths only to backends with "flash" in their name
AttentionInterface.register("demo_flash_segments", segments_attention)


@contextmanager
def fast_tower(model: Qwen2_5_VLForConditionalGeneration) -> Iterator[None]:
    """The tower with batched windows and the patch embedding as a product: the same numbers, faster."""
    embed = model.model.visual.patch_embed
    model.set_attn_implementation({"vision_config": "demo_flash_segments"})
    embed.forward = lambda x: nn.functional.linear(x, embed.proj.weight.flatten(1))
    try:
        yield
    finally:
        del embed.forward
        model.set_attn_implementation({"vision_config": "sdpa"})


def see(model: Qwen2_5_VLForConditionalGeneration, scenes: list[Drawn]) -> Tensor:
    """Visual tokens (image, h·w, channel) of scenes of one grid."""
    pixels = np.stack([s.pixels for s in scenes])
    n, height, width, _ = pixels.shape
    grid = torch.tensor([[1, height // 14, width // 14]] * n)
    with AUTOCAST:
        tokens = model.model.visual(patches(pixels), grid_thw=grid).pooler_output
    return tokens.float().reshape(n, -1, tokens.shape[-1])


def naming_loss(embeddings: Tensor, packer: Packer, hidden: Tensor, scenes: list[Drawn]) -> Tensor:
    """How badly hidden states (image, h·w, channel) name the thing and colour of the object they stand on."""
    labels = torch.from_numpy(np.stack([s.labels for s in scenes])).long().flatten(2).unbind(1)
    on_object = labels[0] > 0
    states = nn.functional.rms_norm(hidden[on_object].float(), hidden.shape[-1:])
    losses = []
    for label, words in ((labels[0], list(THINGS)), (labels[1], list(COLORS))):
        ids = [packer.ids(f" {word}")[0] for word in words]
        losses.append(nn.functional.cross_entropy(states @ embeddings[ids].T, label[on_object] - 1))
    return torch.stack(losses).sum()


def finding_loss(
    head: nn.Module, packed: Packed, hidden: Tensor, scenes: list[Drawn], turns: list[list[Question]]
) -> Tensor:
    """How badly the last words of questions know the thing, colour and place that is asked about."""
    known = [subjects(scene.turns) for scene in scenes]
    asked = [k.get(t.question) for k, picture in zip(known, turns, strict=True) for t in picture]
    chosen = torch.tensor([labels is not None for labels in asked])
    labels = torch.tensor([labels for labels in asked if labels is not None])
    pictures, positions = packed.last_words[chosen].unbind(1)
    states = nn.functional.rms_norm(hidden[pictures, positions].float(), hidden.shape[-1:])
    outputs = head(states).split(SUBJECTS, -1)
    losses = [
        nn.functional.cross_entropy(o, label) for o, label in zip(outputs, labels.unbind(1), strict=True)
    ]
    return torch.stack(losses).sum()


def speak(
    model: Qwen2_5_VLForConditionalGeneration,
    packer: Packer,
    tokens: Tensor,
    scenes: list[Drawn],
    turns: list[list[Question]],
    finding_head: nn.Module | None = None,
) -> tuple[Tensor, str]:
    """Loss over the answers of the given turns about each picture, and a note on it."""
    packed = packer.pack(turns, scenes[0].labels.shape[1:])
    language = model.model.language_model
    embeds = language.embed_tokens(packed.input_ids)
    start = packed.image_start
    embeds = torch.cat([embeds[:, :start], tokens, embeds[:, start + tokens.shape[1] :]], 1)
    layers: list[Tensor] = []
    watched = [language.layers[layer] for layer in (NAMING_LAYER, FINDING_LAYER)]
    with hooked(watched, lambda index, module, args, output: layers.append(output)), AUTOCAST:
        hidden = language(
            inputs_embeds=embeds,
            position_ids=packed.position_ids,
            attention_mask={"full_attention": packed.mask},
            use_cache=False,
        ).last_hidden_state
        chosen = packed.targets != IGNORED
        logits = model.lm_head(hidden[chosen]).float()
    wanted = packed.targets[chosen]
    loss = nn.functional.cross_entropy(logits, wanted)
    naming = naming_loss(
        language.embed_tokens.weight, packer, layers[0][:, start : start + tokens.shape[1]], scenes
    )
    right = (logits.argmax(-1) == wanted).float().mean()
    total, note = (
        loss + NAMING_WEIGHT * naming,
        f"loss {loss:.4f} tokens right {right:.4f} naming {naming:.3f}",
    )
    if finding_head is not None:
        finding = finding_loss(finding_head, packed, layers[1], scenes, turns)
        total, note = total + FINDING_WEIGHT * finding, f"{note} finding {finding:.3f}"
    return total, note


class Batches:
    """Random batches of one grid each, the grids by how many visual tokens they have."""

    def __init__(self, by_grid: dict[Grid, list[Drawn]], seed: int) -> None:
        self.by_grid = by_grid
        self.rng = np.random.default_rng(seed)

    def draw(self, pictures: int, most: int = 9) -> tuple[Grid, np.ndarray]:
        """A grid and the indices of the scenes drawn from it."""
        grids = list(self.by_grid)
        weights = np.array([len(self.by_grid[g]) * g[0] * g[1] for g in grids], float)
        grid = grids[self.rng.choice(len(grids), p=weights / weights.sum())]
        fitting = [i for i, s in enumerate(self.by_grid[grid]) if s.n_objects <= most]
        size = max(4, round(pictures * 80 / (grid[0] * grid[1])))
        return grid, self.rng.choice(fitting, min(size, len(fitting)), replace=False)

    def turns(self, scene: Drawn, questions: int) -> list[Question]:
        """Some of the questions of a scene, by `QUESTION_WEIGHTS`, and every other time the caption."""
        asked = scene.turns[1:]
        kinds = [(q.question.split()[0], q.answer == "No.") for q in asked]
        weights = np.array([QUESTION_WEIGHTS[kind] / kinds.count(kind) for kind in kinds])
        chosen = self.rng.choice(
            len(asked), min(questions, len(asked)), replace=False, p=weights / weights.sum()
        )
        caption = [scene.turns[0]] if self.rng.random() < 0.5 else []
        return caption + [asked[i] for i in chosen]


def run_stage(
    name: str,
    stage: Stage,
    parameters: list[nn.Parameter],
    step_loss: Callable[[int], tuple[Tensor, str]],
    state: dict[str, nn.Module],
) -> None:
    """Optimise with AdamW and a cosine; a checkpoint now and then, and on from the last one."""
    optimiser = torch.optim.AdamW(parameters, lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    path, first = WORK / f"{name}.pt", 0
    if path.exists():
        saved = torch.load(path)
        for key, module in state.items():
            module.load_state_dict(saved[key])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    bar = tqdm(range(first, stage.steps), initial=first, total=stage.steps, desc=name, mininterval=5)
    for step in bar:
        warm = min(1.0, (step + 1) / 100)
        rate = stage.rate * warm * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * step / stage.steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(step)
        loss, note = step_loss(step)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if step % 20 == 0:
            bar.set_postfix_str(note, refresh=False)
        if step % 100 == 0:
            tqdm.write(f"{name} {step}: {note}")
        if (step + 1) % EVERY == 0 or step + 1 == stage.steps:
            saved = {key: module.state_dict() for key, module in state.items()}
            torch.save(
                {**saved, "optimiser": optimiser.state_dict(), "step": step + 1}, path.with_suffix(".tmp")
            )
            path.with_suffix(".tmp").replace(path)


def learn_to_see(
    model: Qwen2_5_VLForConditionalGeneration, by_grid: dict[str, dict[Grid, list[Drawn]]]
) -> None:
    """Stage 2: thing, colour and place of every visual token."""
    tower = model.model.visual
    head = nn.Linear(model.config.text_config.hidden_size, sum(LABELS))
    sources = [Batches(by_grid["crowded"], 1), Batches(by_grid["sparse"], 2)]

    def step_loss(step: int) -> tuple[Tensor, str]:
        crowded = step % 10 < (7 if step < SEE.steps * 0.7 else 3)
        batches = sources[0 if crowded else 1]
        batches.rng = np.random.default_rng([7, step])
        grid, chosen = batches.draw(SEE.pictures)
        scenes = [batches.by_grid[grid][i] for i in chosen]
        outputs = head(see(model, scenes)).split(LABELS, -1)
        labels = torch.from_numpy(np.stack([s.labels for s in scenes])).long().flatten(2).unbind(1)
        on_object = labels[0] > 0
        weight = torch.where(on_object, 1.0, 0.25) * (labels[0] != IGNORED)
        losses, rights = [], []
        for output, label in zip(outputs, labels, strict=True):
            each = nn.functional.cross_entropy(
                output.flatten(0, 1), label.flatten(), ignore_index=IGNORED, reduction="none"
            )
            losses.append((each * weight.flatten()).sum() / weight.sum())
            rights.append(f"{(output.argmax(-1) == label)[on_object].float().mean():.3f}")
        loss = torch.stack(losses).sum()
        return loss, f"loss {loss:.3f} thing/colour/place on objects {' '.join(rights)}"

    with fast_tower(model):
        run_stage(
            "see", SEE, [*tower.parameters(), *head.parameters()], step_loss, {"tower": tower, "head": head}
        )


@torch.no_grad()
def cached_features(
    model: Qwen2_5_VLForConditionalGeneration, by_grid: dict[Grid, list[Drawn]]
) -> dict[Grid, Tensor]:
    """The tower's tokens of all scenes, float16 (scene, h·w, channel) for each grid."""
    features = {}
    with fast_tower(model):
        for grid, scenes in tqdm(by_grid.items(), desc="looking at all scenes"):
            parts = [see(model, scenes[i : i + 64]).half() for i in range(0, len(scenes), 64)]
            features[grid] = torch.cat(parts)
    return features


def learn_to_speak(
    model: Qwen2_5_VLForConditionalGeneration, packer: Packer, by_grid: dict[Grid, list[Drawn]]
) -> None:
    """Stage 3: the decoder, on the features of a tower that learns no more."""
    features: dict[Grid, Tensor] = {}  # filled at the first step: a stage that is done needs none
    batches = Batches(by_grid, 3)

    def step_loss(step: int) -> tuple[Tensor, str]:
        if not features:
            features.update(cached_features(model, by_grid))
        batches.rng = np.random.default_rng([8, step])
        done = step / SPEAK.steps
        grid, chosen = batches.draw(SPEAK.pictures, most=1 if done < 0.05 else 2 if done < 0.15 else 9)
        scenes = [by_grid[grid][i] for i in chosen]
        turns = [batches.turns(s, SPEAK.questions) for s in scenes]
        tokens = features[grid][torch.from_numpy(chosen)].float()
        return speak(model, packer, tokens, scenes, turns, head if step >= FINDING_FROM else None)

    language = model.model.language_model
    head = nn.Linear(model.config.text_config.hidden_size, sum(SUBJECTS))
    parameters = [*language.parameters(), *head.parameters()]
    run_stage("speak", SPEAK, parameters, step_loss, {"language": language, "head": head})


def drawn_scenes() -> dict[str, dict[Grid, list[Drawn]]]:
    """Stage 1, or what an earlier run drew."""
    path = WORK / "scenes.pickle"
    if not path.exists():
        print("Drawing the training scenes.")
        drawn = {
            "crowded": draw_all(range(CROWDED_SEED, CROWDED_SEED + CROWDED), n_objects=9),
            "sparse": draw_all(range(SPARSE)),
        }
        with path.with_suffix(".tmp").open("wb") as file:
            pickle.dump(drawn, file)
        path.with_suffix(".tmp").replace(path)
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 - written above, by this program


def save(model: Qwen2_5_VLForConditionalGeneration, tokenizer: Qwen2TokenizerFast, folder: Path) -> None:
    """Write the checkpoint: weights, configuration, tokenizer, processor and chat template."""
    model.save_pretrained(folder)
    twin = image_only(Qwen2_5_VLProcessor)
    processor = twin(make_image_processor(), tokenizer, tokenizer.chat_template)
    processor.save_pretrained(folder)


def main() -> None:
    """Train, going on where the last run stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    WORK.mkdir(exist_ok=True)
    scenes = drawn_scenes()
    model, tokenizer = make_model()
    packer = Packer(tokenizer)
    learn_to_see(model, scenes)
    learn_to_speak(model, packer, scenes["sparse"])
    save(model.eval(), tokenizer, DEMO_FOLDER)
    print(f"Saved in {DEMO_FOLDER}. Measure it: python -m demo.evaluate")


if __name__ == "__main__":
    main()
