"""Checkpoints: LoRA adapters, alone, beside base weights, and on quantised ones."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import config
from attention_extractor import AttentionExtractor
from model import ModelError, checkpoint, default_model, load_model, loading_notes
from model.source import Source, parted, source_of
from tests.model.kit import AGAIN, PROMPT, assert_rows_are_eager, greedy, noise, said
from tests.numerics import assert_same
from tests.published import published, published_adapter

# (out, in) of what the adapter adapts, in the text and in the picture's tower.
SHAPES = {
    "model.language_model.layers.0.self_attn.q_proj": (64, 64),
    "model.language_model.layers.1.self_attn.v_proj": (32, 64),
    "model.language_model.layers.1.mlp.down_proj": (64, 128),
    "model.visual.blocks.1.attn.proj": (32, 32),
}
OLD_SHAPES = {
    name.replace("model.visual", "visual").replace("model.language_model", "model"): shape
    for name, shape in SHAPES.items()
}
RANK, ALPHA = 3, 12
MERGE = "merge it into its base with PEFT (merge_and_unload), save that, and load the result."


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="module")
def plain(base: Path) -> dict[str, torch.Tensor]:
    return dict(load_model(base)[0].state_dict())


def lora(folder: Path, name: str) -> torch.Tensor:
    """Return B·A of a module, by its name in the folder's file."""
    tensors = load_file(folder / "adapter_model.safetensors")
    down, up = (tensors[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    return up @ down


def assert_merged(
    model: Any, plain: dict[str, torch.Tensor], folder: Path, names: dict[str, str], scale: float
) -> None:
    """Assert that each weight is W + scale·B·A where `names` (model's: file's) has it, else W."""
    for key, weight in model.state_dict().items():
        module = key.removesuffix(".weight")
        adapted = names.get(module) if key.endswith(".weight") else None
        if adapted is None:
            assert torch.equal(weight, plain[key]), key
        else:
            assert_same(weight, plain[key] + scale * lora(folder, adapted))


@pytest.mark.parametrize("shapes", [SHAPES, OLD_SHAPES], ids=["names of now", "names before 4.52"])
def test_merged_weights_are_exact(
    base: Path, plain: dict[str, torch.Tensor], tmp_path: Path, shapes: dict[str, tuple[int, int]]
) -> None:
    folder = published_adapter(tmp_path / "lora", base, shapes, rank=RANK, alpha=ALPHA)
    model, processor = load_model(folder)
    assert_merged(model, plain, folder, dict(zip(SHAPES, shapes, strict=True)), ALPHA / RANK)
    assert loading_notes(model) == (
        f"the adapter {folder} is applied to {base}: 4 layers, merged into its weights",
    )
    assert model.name_or_path == str(folder)
    assert not any("lora" in name for name, _ in model.named_modules())
    assert all(weight.requires_grad for weight in model.parameters())
    assert greedy(model, processor)[1].isfinite().all()


def test_ranks_and_alphas_of_single_modules_and_the_root_of_the_rank(
    base: Path, plain: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    one, other = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"
    shapes = {one: (64, 64), other: (64, 64)}
    changes = {
        "alpha_pattern": {"layers.1.self_attn.q_proj": 5},
        "use_rslora": True,
        "r": 99,
        "lora_alpha": 7,
    }
    folder = published_adapter(tmp_path / "lora", base, shapes, rank=RANK, changes=changes)
    weights = load_model(folder)[0].state_dict()
    for name, alpha in ((one, 7), (other, 5)):
        key = name.replace("model.", "model.language_model.", 1) + ".weight"
        expected = plain[key] + alpha / math.sqrt(RANK) * lora(folder, name)
        torch.testing.assert_close(weights[key], expected)


def test_an_adapter_beside_base_weights_is_applied(plain: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """The base that it names is another computer's; the weights beside it are the base."""
    folder = published(tmp_path / "both")
    published_adapter(folder, "/home/other/base", SHAPES, rank=RANK, alpha=ALPHA)
    model, _ = load_model(folder)
    assert_merged(model, plain, folder, {name: name for name in SHAPES}, ALPHA / RANK)
    assert loading_notes(model) == (
        f"the adapter {folder} is applied to {folder}: 4 layers, merged into its weights",
    )


def test_a_base_can_be_asked_for(base: Path, plain: dict[str, torch.Tensor], tmp_path: Path) -> None:
    folder = published_adapter(tmp_path / "lora", "/home/other/base", SHAPES, rank=RANK, alpha=ALPHA)
    names = {name: name for name in SHAPES}
    for given in ({"name": f"{base} + {folder}"}, {"name": base, "adapter": str(folder)}):
        model, _ = load_model(**given)
        assert_merged(model, plain, folder, names, ALPHA / RANK)
        assert model.name_or_path == f"{base} + {folder}"
    lines = (
        "NAME is an adapter of /home/other/base, which cannot be had (There is no folder /home/other/base); "
        "name its base too: BASE + NAME, in the shell --model BASE --adapter NAME"
    )
    assert said(folder) == lines


def test_config_names_an_adapter_for_its_model(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = published_adapter(tmp_path / "lora", base, SHAPES)
    monkeypatch.setattr(config, "MODEL_NAME", str(base))
    assert default_model() == "demo"
    monkeypatch.setattr(config, "ADAPTER", str(folder))
    assert default_model() == f"{base} + {folder}"
    assert load_model()[0].name_or_path == f"{base} + {folder}"
    assert loading_notes(load_model(base)[0]) == ()  # a model that is named is taken as it is


def test_whole_parts_that_were_trained_take_their_places(
    base: Path, plain: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """modules_to_save: here the head, which the base ties to the embedding; that one stays."""
    folder = published_adapter(tmp_path / "lora", base, SHAPES)
    file = folder / "adapter_model.safetensors"
    head = torch.full_like(plain["lm_head.weight"], 0.25)
    save_file({**load_file(file), "base_model.model.lm_head.weight": head}, file)
    model, _ = load_model(folder)
    assert torch.equal(model.lm_head.weight, head)
    assert torch.equal(model.get_input_embeddings().weight, plain["lm_head.weight"])
    assert "4 layers, 1 whole, merged" in loading_notes(model)[0]


def test_the_template_that_was_saved_with_an_adapter_counts(base: Path, tmp_path: Path) -> None:
    folder = published_adapter(tmp_path / "lora", base, SHAPES)
    own = (base / "chat_template.json").read_text().replace("You are a helpful assistant.", "Look well.")
    (folder / "chat_template.json").write_text(own)
    assert "Look well." in load_model(folder)[1].chat_template
    (folder / "chat_template.json").unlink()
    assert "You are a helpful assistant." in load_model(folder)[1].chat_template


# --- Refused ---


def refused(name: str | Path) -> str:
    with pytest.raises(ModelError) as error:
        load_model(name)
    return str(error.value)


def halved(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({key: value for key, value in load_file(file).items() if "lora_A" in key}, file)


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def cut_short(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def strange(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.prompt.weight": torch.zeros(3)}, file)


def emptied(folder: Path) -> None:
    save_file({}, folder / "adapter_model.safetensors")


ONE = "model.layers.0.self_attn.q_proj"
REFUSED: dict[str, tuple[dict[str, Any], Any, str]] = {
    "another kind": (
        {"changes": {"peft_type": "IA3"}},
        None,
        f"NAME is an adapter of the type IA3, not LORA; {MERGE}",
    ),
    "a kind of LoRA": (
        {"changes": {"use_qalora": True}},
        None,
        f"NAME is a LoRA with use_qalora, which is not taken; {MERGE}",
    ),
    "no base": (
        {"changes": {"base_model_name_or_path": None}},
        None,
        "NAME is an adapter that does not say of which model; name its base too: BASE + NAME, in the shell "
        "--model BASE --adapter NAME",
    ),
    "pickled": (
        {},
        pickled,
        "NAME has only pickled weights (adapter_model.bin), which can run any code when loaded; save the "
        "adapter again in safetensors.",
    ),
    "cut short": ({}, cut_short, f"NAME: adapter_model.safetensors is damaged or not complete; {AGAIN}."),
    "half of it": (
        {},
        halved,
        "NAME does not fit BASE: model.language_model.layers.0.self_attn.q_proj has only one of A and B in it"
        "; save or fetch the adapter again.",
    ),
    "a part of nothing": (
        {},
        strange,
        "NAME does not fit BASE: it holds base_model.model.prompt.weight, which has no place in the model; "
        f"name the base that it was trained on, or {MERGE}",
    ),
    "nothing": ({}, emptied, f"NAME: adapter_model.safetensors is damaged or not complete; {AGAIN}."),
    "another model's layers": (
        {"shapes": {"model.layers.7.self_attn.q_proj": (64, 64)}},
        None,
        "NAME does not fit BASE: it adapts base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight, "
        "and the model has no such linear layer; name the base that it was trained on.",
    ),
    "another model's width": (
        {"shapes": {ONE: (96, 80)}},
        None,
        "NAME does not fit BASE: model.language_model.layers.0.self_attn.q_proj is 64 x 64 in the model, its "
        "A 3 x 80 and its B 96 x 3; name the base that it was trained on.",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_an_adapter_that_would_not_be_applied_is_an_error(fault: str, base: Path, tmp_path: Path) -> None:
    settings, change, line = REFUSED[fault]
    folder = published_adapter(tmp_path / "lora", base, **{"shapes": {ONE: (64, 64)}, **settings})
    if change is not None:
        change(folder)
    assert refused(folder).replace(str(folder), "NAME").replace(str(base), "BASE") == line


def test_one_adapter_and_one_base(base: Path, tmp_path: Path) -> None:
    folder = published_adapter(tmp_path / "lora", base, SHAPES)
    both = published(tmp_path / "both")
    published_adapter(both, base, SHAPES)
    no = "is no adapter: it has no adapter_config.json; name a folder that PEFT saved."
    assert refused(f"{folder} + {base}") == f"{base} {no}"
    assert refused(f"{both} + {folder}").startswith(f"{both} has an adapter itself, and only one can be ")
    assert refused(f"{both} + {folder}").endswith(f"without it, or merge it first: BASE + {folder}")


def test_names_in_two_parts(tmp_path: Path) -> None:
    (tmp_path / "a + b").mkdir()
    assert parted("base + lora") == ("base", "lora")
    assert parted("demo") == ("demo", "")
    assert parted(str(tmp_path / "a + b")) == (str(tmp_path / "a + b"), "")
    assert parted(f"{tmp_path}/a + b + lora") == (f"{tmp_path}/a + b", "lora")
    found = source_of(str(tmp_path), Path)
    assert (found, found.folders) == (Source(tmp_path, None, str(tmp_path)), (tmp_path,))


def test_the_store_tells_base_and_adapter_apart(base: Path, tmp_path: Path) -> None:
    folder = published_adapter(tmp_path / "lora", base, SHAPES)
    alone, named, bare = (checkpoint(str(name)) for name in (folder, f"{base} + {folder}", base))
    assert alone is not None
    assert named is not None
    assert bare is not None
    assert (alone.folder, alone.adapter) == (bare.folder, named.adapter)
    assert (alone.layer_count, bare.adapter) == (2, None)
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 1000}))
    assert checkpoint(str(folder)) != alone
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "/no"}))
    assert checkpoint(str(folder)) is None


# --- Attention ---


@pytest.mark.numeric
@pytest.mark.parametrize("quantization", [None, "4bit"])
def test_rows_of_an_adapted_model_are_its_eager_attention(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: str | None
) -> None:
    monkeypatch.setattr(config, "QUANTIZATION", quantization)
    folder = published_adapter(tmp_path / "lora", base, SHAPES)
    model, processor = load_model(folder)
    assert any("lora" in name for name, _ in model.named_modules()) is (quantization is not None)
    capture = AttentionExtractor(model, processor, float16=False).generate(
        noise(140, 196), PROMPT, max_new_tokens=5
    )
    assert_rows_are_eager(model, processor, capture)
