"""Training the bundled model: a stopped run goes on as if never stopped, and ends in a loadable folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from demo import train
from demo.architecture import make_model
from demo.data import draw, patches
from demo.scenes import HELD_OUT_SEED
from model import load_model


def small_problem() -> tuple[nn.Linear, Callable[[int], tuple[Tensor, str]]]:
    torch.manual_seed(3)
    layer = nn.Linear(5, 2)
    inputs, wanted = torch.randn(40, 5), torch.randn(40, 2)

    def step_loss(step: int) -> tuple[Tensor, str]:
        chosen = torch.randint(0, 40, (7,))
        return (layer(inputs[chosen]) - wanted[chosen]).pow(2).mean(), ""

    return layer, step_loss


def test_a_stopped_stage_ends_with_the_weights_of_one_that_ran_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "EVERY", 4)
    stage = train.Stage(steps=10, rate=0.05, pictures=1)
    (tmp_path / "through").mkdir()
    monkeypatch.setattr(train, "WORK", tmp_path / "through")
    through, step_loss = small_problem()
    blank = through.weight.detach().clone()
    train.run_stage("toy", stage, list(through.parameters()), step_loss, {"layer": through})
    assert not torch.equal(through.weight, blank)

    (tmp_path / "stopped").mkdir()
    monkeypatch.setattr(train, "WORK", tmp_path / "stopped")
    stopped, step_loss = small_problem()

    def until_seven(step: int) -> tuple[Tensor, str]:
        if step == 7:
            raise KeyboardInterrupt
        return step_loss(step)

    with pytest.raises(KeyboardInterrupt):
        train.run_stage("toy", stage, list(stopped.parameters()), until_seven, {"layer": stopped})
    fresh, step_loss = small_problem()
    asked = []

    def recorded(step: int) -> tuple[Tensor, str]:
        asked.append(step)
        return step_loss(step)

    train.run_stage("toy", stage, list(fresh.parameters()), recorded, {"layer": fresh})
    assert asked == [4, 5, 6, 7, 8, 9]
    torch.testing.assert_close(fresh.weight, through.weight, atol=0, rtol=0)


def test_the_fast_tower_gives_the_towers_numbers_and_is_put_back() -> None:
    model, _ = make_model(seed=2)
    scenes = [draw(seed) for seed in (0, 1)]
    for scene in scenes:
        h, w = scene.labels.shape[1:]
        pixels, grid = patches(scene.pixels[None].copy()), torch.tensor([[1, 2 * h, 2 * w]])
        with torch.no_grad():
            plain = model.model.visual(pixels, grid_thw=grid).pooler_output
            with train.fast_tower(model):
                fast = model.model.visual(pixels, grid_thw=grid).pooler_output
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)
    assert model.config.vision_config._attn_implementation == "sdpa"
    assert "forward" not in vars(model.model.visual.patch_embed)


def test_training_runs_from_drawing_to_a_folder_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = train.Stage(steps=2, rate=1e-3, pictures=2, questions=1)
    for name, value in {
        "WORK": tmp_path / "work",
        "DEMO_FOLDER": tmp_path / "model",
        "SPARSE": 6,
        "CROWDED": 3,
        "SEE": short,
        "SPEAK": short,
        "FINDING_FROM": 1,
    }.items():
        monkeypatch.setattr(train, name, value)
    monkeypatch.setattr("sys.argv", ["demo.train"])
    train.main()
    model, processor = load_model(str(tmp_path / "model"))
    blank, _ = make_model()
    trained = model.model.language_model.layers[0].mlp.up_proj.weight
    assert not torch.equal(trained, blank.model.language_model.layers[0].mlp.up_proj.weight)
    assert processor.chat_template
    assert not list((tmp_path / "work").glob("*.tmp"))


def test_training_never_draws_a_held_out_scene() -> None:
    assert train.SPARSE <= train.CROWDED_SEED
    assert train.CROWDED_SEED + train.CROWDED <= HELD_OUT_SEED
