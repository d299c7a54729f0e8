"""Checkpoints that were made to do harm: refused in one line before anything of them is run or takes room."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model import checkpoint, load_model, loading_notes
from model.templates import ENDLESS, ends
from tests.model.kit import AGAIN, copied, greedy, remove, rewrite, said, write
from tests.numerics import assert_same
from tests.published import TEXT_ONLY_TEMPLATE, published, published_adapter
from tests.tiny import CHAT_TEMPLATE

Fault = Callable[[Path], object]
DEEP = b"[" * 100_000 + b"]" * 100_000
DAMAGED = f"NAME: model.safetensors is damaged or not complete; {AGAIN}."
GENERATION, INDEX = "generation_config.json", "model.safetensors.index.json"


def header(**tensors: Any) -> bytes:
    """Return a safetensors file of these tensors' headers, with a hundred bytes of numbers."""
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + bytes(100)


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def sparse(file: str, size: int) -> Fault:
    """Return a fault: a file that says it has so many bytes, and takes none of the disk."""

    def fault(folder: Path) -> None:
        with (folder / file).open("wb") as stream:
            stream.truncate(size)

    return fault


def in_shards(*names: str) -> Fault:
    """Return a fault: an index that names these files, one of which is there."""

    def fault(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        index = {"metadata": {}, "weight_map": {str(number): name for number, name in enumerate(names)}}
        (folder / INDEX).write_text(json.dumps(index))

    return fault


def linked(file: str, target: str) -> Fault:
    def fault(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).symlink_to(target)

    return fault


def pipe(file: str) -> Fault:
    """Return a fault: a file whose reader waits for ever."""

    def fault(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        os.mkfifo(folder / file)

    return fault


def no_neighbour(name: str) -> str:
    return f"NAME: {INDEX} names {name}, which is no safetensors file beside it; {AGAIN}."


def too_much(setting: str, value: str, most: str) -> str:
    return (
        f"NAME cannot be used: its config.json says {setting} {value}, and at most {most} are taken; {AGAIN}."
    )


HOSTILE: dict[str, tuple[Fault, str]] = {
    "settings nested without end": (
        write("config.json", DEEP),
        f"NAME: config.json is nested more than 64 deep; {AGAIN}.",
    ),
    "settings nested a little too deep": (
        write("config.json", b'{"a":' * 65 + b"1" + b"}" * 65),
        f"NAME: config.json is nested more than 64 deep; {AGAIN}.",
    ),
    "a tokenizer's settings nested without end": (
        write("tokenizer_config.json", DEEP),
        f"NAME: tokenizer_config.json is nested more than 64 deep; {AGAIN}.",
    ),
    "a generation config nested without end": (
        write(GENERATION, DEEP),
        f"NAME: {GENERATION} is nested too deep; {AGAIN}.",
    ),
    "settings in no encoding": (
        write("config.json", b'{"model_type": "\xff\xfe"}'),
        f"NAME: config.json cannot be read as JSON; {AGAIN}.",
    ),
    "settings of ten gigabytes": (
        sparse("config.json", 10**10),
        f"NAME: config.json has 10,000,000,000 bytes, and at most 64,000,000 are read; {AGAIN}.",
    ),
    "a generation config of ten gigabytes": (
        sparse(GENERATION, 10**10),
        f"NAME: {GENERATION} has 10,000,000,000 bytes, and at most 64,000,000 are read; {AGAIN}.",
    ),
    "a vocabulary of ten gigabytes": (
        sparse("tokenizer.json", 10**10),
        f"NAME: tokenizer.json has 10,000,000,000 bytes, and at most 256,000,000 are read; {AGAIN}.",
    ),
    "a template of ten gigabytes": (
        sparse("chat_template.jinja", 10**10),
        f"NAME: chat_template.jinja has 10,000,000,000 bytes, and at most 1,000,000 are read; {AGAIN}.",
    ),
    "a number of half a million digits": (
        write("config.json", b'{"model_type": ' + b"9" * 500_000 + b"}"),
        f"NAME: config.json cannot be read as JSON; {AGAIN}.",
    ),
    "a billion layers": (
        rewrite("config.json", text_config={"num_hidden_layers": 10**9}),
        too_much("num_hidden_layers", "1000000000", "1,000"),
    ),
    "endless layers": (
        rewrite("config.json", num_hidden_layers=float("inf")),
        too_much("num_hidden_layers", "inf", "1,000"),
    ),
    "a billion layers of the picture's tower": (
        rewrite("config.json", vision_config={"depth": 10**9}),
        too_much("depth", "1000000000", "1,000"),
    ),
    "layers of odd kinds": (
        rewrite("config.json", text_config={"layer_types": [{"a": 1}]}),
        "NAME cannot be loaded: unhashable type: 'dict'; fetch all of its files again, or choose another",
    ),
    "an index of ten gigabytes": (
        lambda folder: (remove("model.safetensors")(folder), sparse(INDEX, 10**10)(folder))[0],
        f"NAME: {INDEX} has 10,000,000,000 bytes, and at most 64,000,000 are read; {AGAIN}.",
    ),
    "weights outside the folder": (
        in_shards("../outside.safetensors"),
        no_neighbour("../outside.safetensors"),
    ),
    "weights by a whole path": (in_shards("/etc/x.safetensors"), no_neighbour("/etc/x.safetensors")),
    "weights in a folder inside": (in_shards("a/x.safetensors"), no_neighbour("a/x.safetensors")),
    "pickled weights in an index": (in_shards("pytorch_model.bin"), no_neighbour("pytorch_model.bin")),
    "a header of ten gigabytes": (write("model.safetensors", struct.pack("<Q", 10**10) + bytes(99)), DAMAGED),
    "a header without end": (write("model.safetensors", struct.pack("<Q", 2**64 - 1) + bytes(99)), DAMAGED),
    "a header nested without end": (
        write("model.safetensors", struct.pack("<Q", len(DEEP)) + DEEP),
        DAMAGED,
    ),
    "a tensor before the file": (write("model.safetensors", header(a=tensor([25], -100, 0))), DAMAGED),
    "a tensor behind the file": (write("model.safetensors", header(a=tensor([25], 4, 104))), DAMAGED),
    "a tensor that runs backwards": (write("model.safetensors", header(a=tensor([1], 8, 4))), DAMAGED),
    "a tensor larger than its bytes": (
        write("model.safetensors", header(a=tensor([10**10], 0, 100))),
        DAMAGED,
    ),
    "a tensor of negative size": (
        write("model.safetensors", header(a=tensor([-5, -5], 0, 100))),
        DAMAGED,
    ),
    "a tensor of endless size": (write("model.safetensors", header(a=tensor([float("inf")], 0, 4))), DAMAGED),  # type: ignore[list-item]
    "settings that are a pipe": (
        pipe("config.json"),
        "NAME is no model folder: it has no config.json; choose",
    ),
    "settings that are a device": (
        linked("config.json", "/dev/zero"),
        "NAME is no model folder: it has no config.json; choose",
    ),
    "a vocabulary that is a device": (
        linked("tokenizer.json", "/dev/zero"),
        "NAME has no tokenizer: tokenizer.json is missing; copy it, with tokenizer_config.json, from",
    ),
    "weights that are a pipe": (
        pipe("model.safetensors"),
        "NAME has no weights: model.safetensors is missing",
    ),
    "settings that are a circle of links": (
        linked("config.json", "config.json"),
        "NAME is no model folder: it has no config.json; choose",
    ),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_hostile_folder_is_one_line(saved: Path, tmp_path: Path, trick: str) -> None:
    folder = copied(saved, tmp_path)
    fault, line = HOSTILE[trick]
    fault(folder)
    assert said(folder).startswith(line)
    checkpoint(str(folder))  # asked before anything is loaded: whether the answer is kept already


# --- Programs that a checkpoint brings along ---


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}" + CHAT_TEMPLATE + "{% endfor %}",
        "{{ 'x' * 10**11 }}",
        "{% set s = namespace(t='x') %}{% for i in range(40) %}{% set s.t = s.t ~ s.t %}{% endfor %}",
        "{{ 'x'.ljust('99999999999' | int) }}",
        "{% generation %}{{ 'x'.center(10**11) }}{% endgeneration %}",
        "{% if enable_thinking %}{{ 'x' * 10**11 }}{% endif %}",
        "{{ 10**(10**10) }}",
        "{% if messages | length > 1 %}{{ 'x' * 10**11 }}{% endif %}",
    ],
)
def test_a_template_without_end_is_left_aside(template: str) -> None:
    assert not ends(template)


def test_templates_that_end_are_taken_whatever_they_write() -> None:
    for template in (
        CHAT_TEMPLATE,
        TEXT_ONLY_TEMPLATE,
        "{% if %}",
        "{{ raise_exception('no') }}",
        "",
        "é\ud800",
    ):
        assert ends(template)


def test_a_checkpoint_with_such_a_template_answers_by_the_standard_one(tmp_path: Path) -> None:
    folder = published(tmp_path / "m", template="{{ 'x' * 10**11 }}")
    assert list(loading_notes(load_model(folder)[0])) == [
        f"the chat template in {place} {ENDLESS}: the standard one of Qwen2.5-VL is used"
        for place in ("chat_template.json", "tokenizer_config.json")
    ]


def test_code_from_the_hub_and_beside_the_weights_is_not_asked_for(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    trace = tmp_path / "it ran"
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(f"open({str(trace)!r}, 'w')\n")
    text = json.loads((folder / "config.json").read_text())["text_config"]
    kernel = {"attn_implementation": "evil/kernel", "_attn_implementation": "evil/kernel"}
    rewrite("config.json", text_config={**text, **kernel}, transformers_weights="x.safetensors", **kernel)(
        folder
    )
    rewrite(GENERATION, custom_generate="evil/code")(folder)
    model, processor = load_model(folder)
    parts = (model.config, model.config.text_config, model.config.vision_config)
    assert [part._attn_implementation for part in parts] == ["sdpa"] * 3
    assert_same(greedy(model, processor)[1], greedy(*load_model(saved))[1])
    assert not trace.exists()


def test_files_that_settings_name_are_not_opened(saved: Path, tmp_path: Path) -> None:
    folder, trap = copied(saved, tmp_path), tmp_path / "trap"
    os.mkfifo(trap)  # whoever opens it waits for ever
    files = ("special_tokens_map", "added_tokens", "tokenizer", "vocab", "chat_template")
    rewrite("tokenizer_config.json", **{f"{file}_file": str(trap) for file in files})(folder)
    assert loading_notes(load_model(folder)[0]) == ()


def test_links_to_plain_files_are_followed_and_never_told(saved: Path, tmp_path: Path) -> None:
    """The hub's own cache is made of links; people put large weights on other disks."""
    folder, secret = copied(saved, tmp_path), tmp_path / "secret"
    secret.write_text("the secret")
    (folder / "model.safetensors").rename(tmp_path / "weights")
    (folder / "model.safetensors").symlink_to(tmp_path / "weights")
    linked("chat_template.jinja", str(secret))(folder)
    notes = loading_notes(load_model(folder)[0])
    assert len(notes) == 1
    assert "secret" not in notes[0]
    linked("config.json", str(secret))(folder)
    assert "secret" not in said(folder)


# --- Adapters ---

BASE_SHAPES = {"model.language_model.layers.0.self_attn.q_proj": (64, 64)}
WEIGHTS = "adapter_model.safetensors"
HOSTILE_ADAPTERS: dict[str, tuple[Fault, str]] = {
    "settings nested without end": (
        write("adapter_config.json", DEEP),
        f"NAME: adapter_config.json is nested more than 64 deep; {AGAIN}.",
    ),
    "settings of ten gigabytes": (
        sparse("adapter_config.json", 10**10),
        f"NAME: adapter_config.json has 10,000,000,000 bytes, and at most 64,000,000 are read; {AGAIN}.",
    ),
    "a pattern that takes years": (
        rewrite("adapter_config.json", alpha_pattern={"(.*.*)*x": 1}),
        "NAME is a LoRA with alpha_pattern {'(.*.*)*x': 1}, which is not taken; merge it",
    ),
    "patterns that are none": (
        rewrite("adapter_config.json", alpha_pattern=[1]),
        "NAME is a LoRA with alpha_pattern [1], which is not taken; merge it",
    ),
    "a tensor behind the file": (
        write(WEIGHTS, header(a=tensor([25], 4, 104))),
        f"NAME: {WEIGHTS} is damaged or not complete; {AGAIN}.",
    ),
    "pickled weights": (
        lambda folder: (folder / WEIGHTS).rename(folder / "adapter_model.bin"),
        "NAME has only pickled weights (adapter_model.bin), which can run any code when loaded;",
    ),
    "weights that are a pipe": (pipe(WEIGHTS), f"NAME has no weights: {WEIGHTS} is missing;"),
    "a base that is no model": (
        rewrite("adapter_config.json", base_model_name_or_path="/etc"),
        "/etc is no model folder: it has no config.json;",
    ),
    "a base by a way out": (
        rewrite("adapter_config.json", base_model_name_or_path="../../no/such"),
        "NAME is an adapter of ../../no/such, which cannot be had (There is no folder ../../no/such); name",
    ),
}


@pytest.mark.parametrize("trick", HOSTILE_ADAPTERS)
def test_a_hostile_adapter_is_one_line(saved: Path, tmp_path: Path, trick: str) -> None:
    folder = published_adapter(tmp_path / "lora", saved, BASE_SHAPES)
    fault, line = HOSTILE_ADAPTERS[trick]
    fault(folder)
    assert said(folder).startswith(line)


def test_an_adapter_counts_as_memory(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = published_adapter(tmp_path / "lora", saved, BASE_SHAPES)
    size = 10**12
    with (folder / WEIGHTS).open("r+b") as stream:
        text = json.dumps({"a": tensor([size], 0, size, "U8")}).encode()
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + size)
    assert said(folder).startswith("There is not enough memory for NAME: it needs about 1100.0 GB in float32")
