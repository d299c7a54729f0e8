"""The page's callbacks: checkpoints as people have them."""

from pathlib import Path

import pytest

from page.model_room import ModelRoom
from page.site import Page
from records.store import Store
from tests.page.callbacks.kit import asked, form
from tests.page.telling import refused, request, viewed
from tests.published import published, published_adapter

pytestmark = pytest.mark.timeout(240)


def loading(page: Page, name: str) -> str:
    """Load a model by its name, and return the last status line."""
    return str(list(page.on_load(request(), name))[-1][page.status])


@pytest.fixture
def empty(tmp_path: Path) -> Page:
    """A page without a model."""
    return Page(ModelRoom(), "demo", store=Store(tmp_path / "kept"))


def test_what_was_mended_is_said_in_full(empty: Page, tmp_path: Path) -> None:
    folder = published(tmp_path / "odd", without=("preprocessor_config.json",))
    said = loading(empty, str(folder))
    assert said.startswith(f"{folder} is ready: ")
    assert said.endswith(
        "It has no image processor: Qwen2VLImageProcessor with the published settings "
        "(3,136 to 12,845,056 pixels) is used"
    )


def test_a_base_with_its_adapter_answers(empty: Page, tmp_path: Path, pictures: list[dict[str, str]]) -> None:
    base = published(tmp_path / "base")
    lora = published_adapter(
        tmp_path / "lora", base, {"model.language_model.layers.0.self_attn.q_proj": (64, 64)}
    )
    said = loading(empty, f"{base} + {lora}")
    assert f"The adapter {lora} is applied to {base}: " in said
    shown = asked(empty, form(pictures[0]))[-1]
    assert viewed(empty, shown)["value"]["settings"]["model"] == f"{base} + {lora}"


def test_a_refusal_is_never_cut_before_its_remedy(empty: Page, tmp_path: Path) -> None:
    folder = published(tmp_path / "beams", changes={"generation_config.json": {"num_beams": 4}})
    outputs, _ = refused(empty.on_load(request(), str(folder)))
    said = outputs[-1][empty.status]
    assert said.endswith('set GENERATION = "greedy" in config.py, or mend that file. No model is loaded.')
