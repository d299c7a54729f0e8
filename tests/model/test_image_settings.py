"""Checkpoints: what a processor's file says of pictures, mended."""

from types import SimpleNamespace
from typing import Any

import pytest

from model.image_settings import image_settings
from model.standard import Standard, standard_of

TOWER = SimpleNamespace(patch_size=14, spatial_merge_size=2, temporal_patch_size=2)
STANDARD = Standard(min_pixels=3000, max_pixels=90_000, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
BOTH = {"min_pixels": 4000, "max_pixels": 50_000}
PUBLISHED = "Qwen2VLImageProcessor with the published settings (3,000 to 90,000 pixels)"
PART = "its image processor bounds pictures only in part"


@pytest.mark.parametrize(
    ("found", "bounds", "note"),
    [
        (BOTH, (4000, 50_000), None),
        ({"size": BOTH}, (4000, 50_000), None),
        ({"size": {"shortest_edge": 4000, "longest_edge": 50_000}}, (4000, 50_000), None),
        ({"size": {"shortest_edge": 1, "longest_edge": 2000}, **BOTH}, (4000, 50_000), None),
        ({"size": {"shortest_edge": 4000}, "max_pixels": 50_000}, (4000, 50_000), None),
        ({"min_pixels": "4000", "max_pixels": "50000"}, (4000, 50_000), None),
        (
            {"min_pixels": 4000},
            (4000, 90_000),
            f"{PART}: at most 90,000 pixels, as published, are used",
        ),
        (
            {"size": {"max_pixels": 50_000}},
            (3000, 50_000),
            f"{PART} (size {{'max_pixels': 50000}}): at least 3,000 pixels, as published, are used",
        ),
        (
            {"size": {"height": 224, "width": 448}},
            (3000, 90_000),
            f"{PART} (size {{'height': 224, 'width': 448}}): at least 3,000 and at most 90,000 pixels, "
            "as published, are used",
        ),
        (
            {"size": 224},
            (3000, 90_000),
            f"{PART} (size 224): at least 3,000 and at most 90,000 pixels, as published, are used",
        ),
        (
            {"min_pixels": -1, "max_pixels": "many"},
            (3000, 90_000),
            f"{PART}: at least 3,000 and at most 90,000 pixels, as published, are used",
        ),
        (
            {"min_pixels": 60_000, "max_pixels": 50_000},
            (50_000, 50_000),
            "at least 60,000 pixels are more than at most 50,000: the latter counts",
        ),
        (None, (3000, 90_000), f"it has no image processor: {PUBLISHED} is used"),
    ],
)
def test_bounds_of_pictures(found: Any, bounds: tuple[int, int], note: str | None) -> None:
    settings, notes = image_settings(found, TOWER, STANDARD)
    assert settings["size"] == {"shortest_edge": bounds[0], "longest_edge": bounds[1]}
    assert notes == ([] if note is None else [note])


def test_fewer_pixels_than_one_visual_token_are_none_at_all() -> None:
    settings, notes = image_settings({"min_pixels": 4000, "max_pixels": 783}, TOWER, STANDARD)
    assert settings["size"]["longest_edge"] == 90_000
    assert notes == [
        "at most 783 pixels are less than one visual token (784)",
        f"{PART}: at most 90,000 pixels, as published, are used",
    ]
    assert image_settings({"min_pixels": 784, "max_pixels": 784}, TOWER, STANDARD)[1] == []


@pytest.mark.parametrize(
    ("changed", "name", "value", "note"),
    [
        (
            {"image_processor_type": "Qwen2_5_VLImageProcessor"},
            "image_processor_type",
            "Qwen2VLImageProcessor",
            "image_processor_type Qwen2_5_VLImageProcessor is read as Qwen2VLImageProcessor, "
            "the only one that this family has",
        ),
        (
            {"image_processor_type": "Qwen2VLImageProcessorFast"},
            "image_processor_type",
            "Qwen2VLImageProcessor",
            None,
        ),
        (
            {"do_resize": False},
            "do_resize",
            True,
            "do_resize false is set aside: sides must be multiples of 28 pixels",
        ),
        (
            {"do_rescale": False},
            "do_rescale",
            True,
            "do_rescale false is set aside: pictures come as whole numbers up to 255",
        ),
        ({"patch_size": 16}, "patch_size", 14, "patch_size 16 is set to 14, which its weights need"),
        ({"merge_size": "2"}, "merge_size", 2, "merge_size 2 is set to 2, which its weights need"),
        ({"temporal_patch_size": 2}, "temporal_patch_size", 2, None),
        ({"image_mean": [0.7, 0.8, 0.9]}, "image_mean", [0.7, 0.8, 0.9], None),
        ({"image_mean": None}, "image_mean", [0.1, 0.2, 0.3], None),
        (
            {"image_mean": 0.5},
            "image_mean",
            [0.1, 0.2, 0.3],
            "image_mean 0.5 is set to the family's, [0.1, 0.2, 0.3]",
        ),
        (
            {"image_std": [0.5, 0.5, 0]},
            "image_std",
            [0.4, 0.5, 0.6],
            "image_std [0.5, 0.5, 0] is set to the family's, [0.4, 0.5, 0.6]",
        ),
        ({"do_normalize": False}, "do_normalize", False, None),
        ({"resample": 2}, "resample", 2, None),
    ],
)
def test_other_settings(changed: dict[str, Any], name: str, value: Any, note: str | None) -> None:
    settings, notes = image_settings({**BOTH, **changed}, TOWER, STANDARD)
    assert settings[name] == value
    assert notes == ([] if note is None else [note])
    assert settings["size"] == {"shortest_edge": 4000, "longest_edge": 50_000}


def test_settings_of_another_familys_processor_are_not_taken() -> None:
    other = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 224},
        "image_mean": [0, 0, 0],
    }
    settings, notes = image_settings(other, TOWER, STANDARD)
    assert notes == [
        f"image_processor_type CLIPImageProcessor is read as {PUBLISHED}, the only one that this family has"
    ]
    assert settings["image_mean"] == [0.1, 0.2, 0.3]
    assert settings["size"] == {"shortest_edge": 3000, "longest_edge": 90_000}


def test_what_is_standard_is_as_published() -> None:
    first, later, unknown = (standard_of(name) for name in ("qwen2_5_vl", "qwen3_5", "new"))
    assert (first.min_pixels, first.max_pixels) == (56 * 56, 28 * 28 * 16384)
    assert (later.min_pixels, later.max_pixels) == (256 * 256, 4096 * 4096)
    assert (later.mean, unknown.mean) == ((0.5, 0.5, 0.5),) * 2
    assert "You are a helpful assistant." in first.template
    assert "system" not in later.template
    assert ("<think>" in later.template, "<think>" in unknown.template) == (True, False)
