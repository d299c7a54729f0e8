"""The settings as shipped are valid; each wrong value stops the start with one line that names it."""

import re

import pytest

import config


def constants() -> list[str]:
    return [name for name in vars(config) if name.isupper() and not name.startswith("_") and name != "RULES"]


def test_shipped_settings_are_valid() -> None:
    config.validate()


def test_every_constant_has_a_rule_and_every_rule_a_constant() -> None:
    assert set(constants()) == set(config.RULES)


def test_the_seeds_constants_are_kept() -> None:
    model_and_capture = {"MODEL_NAME", "EXTRACT_ALL_LAYERS", "SPECIFIC_LAYERS", "STORE_ON_CPU", "USE_FLOAT16"}
    assert model_and_capture | {"HEATMAP_COLORMAP", "HEATMAP_ALPHA"} <= set(constants())


WRONG: list[tuple[str, list[object]]] = [
    ("MODEL_NAME", ["", "  ", "a\0b", "a\nb", None, 3]),
    ("ADAPTER", ["", " ", 3]),
    ("QUANTIZATION", ["4-bit", 4, "", True]),
    ("DEVICE", ["gpu", "cuda:", "cuda:x", "CPU", 0, None]),
    ("DTYPE", ["half", "torch.float32", 16]),
    ("ATTENTION_BACKEND", ["flash", "", None]),
    ("MIN_PIXELS", [0, -1, 783, 1e6, True, "3136"]),
    ("MAX_PIXELS", [0, 783, 100_000_001, 1e6, "1M"]),
    ("VIDEO_FPS", [0, 0.0, -1, 61, "2", True, float("nan")]),
    ("VIDEO_MIN_FRAMES", [0, 2.0, 10_001, None, True]),
    ("VIDEO_MAX_FRAMES", [0, 2.0, 10_001, None, "all"]),
    ("VIDEO_MAX_PIXELS", [0, 1567, 1e6, 10**9 + 1, "1M"]),
    ("EXTRACT_ALL_LAYERS", [1, "True", None]),
    ("SPECIFIC_LAYERS", [[], 3, "-1", [1.0], ["1"], [True], None]),
    ("STORE_ON_CPU", [0, "no"]),
    ("USE_FLOAT16", ["yes", None]),
    ("KEEP", ["heads", "", None, [], [20], [(20,)], [(20, -1)], [(20, 3.0)], [(True, 3)], (20, 3), {20: 3}]),
    ("MAX_CAPTURE_BYTES", [-1, 1e9, "1gb", None]),
    ("MAX_NEW_TOKENS", [0, -1, 1.5, True, "64", 10**9]),
    ("TEMPERATURE", [-0.1, 11, "0", True, float("nan"), float("inf")]),
    ("GENERATION", ["beams", "", None, 1]),
    ("TOP_K", [-1, 1.5, "5", True, None]),
    ("REPETITION_PENALTY", [0, -1, 10.5, "1", True, float("nan")]),
    ("TOP_P", [0, 0.0, 1.01, -1, float("nan"), "1", False]),
    ("THINKING", ["yes", None, 1]),
    ("SEED", [-1, 0.5, 2**63, None]),
    ("METHOD", ["magic", "Attention", None]),
    ("AGGREGATION", ["median", "Mean", None]),
    ("HEATMAP_COLORMAP", ["", "a b", None, 1]),
    ("HEATMAP_ALPHA", [-0.01, 1.01, "0.5", True, float("nan")]),
    ("HEATMAP_VIEW", ["side-by-side", "grid"]),
    ("HEATMAP_SMOOTH", [1, "bicubic"]),
    ("HEATMAP_SCALE", ["global", True]),
    ("GRADCAM_SAMPLES", [0, 10_001, 1.5, True, "10", None]),
    ("GRADCAM_NOISE", [-0.1, 10.5, True, "0.15", float("nan")]),
    ("HOST", ["", "a b", "a\0b", None]),
    ("PORT", [0, 65_536, "7860", 7860.0, True]),
    (
        "ALLOWED_ORIGINS",
        ["https://a.org", ["a.org"], ["https://a.org/x"], ["https://*.org"], ["*"], [1], None],
    ),
    ("ROOT_PATH", ["lens", "/a b", "//", "ftp://a.org", "https://", "https://a.org?x", None]),
    ("TRUSTED_PROXIES", ["127.0.0.1", ["localhost"], ["10.0.0.0/33"], [""], [1], None]),
    ("AUTH", ["ada:secret", ["ada"], ["ada:"], [":secret"], ["@"], [("ada", "secret")], None]),
    ("MODELS", ["demo", [""], [" "], [1], None]),
    ("MAX_UPLOAD", ["20", "20 megabytes", "-1mb", 20, "mb"]),
    ("MAX_IMAGE_PIXELS", [0, 4e7, "40M"]),
    ("MAX_DECODED_PIXELS", [0, 1e8, None]),
    ("MIN_IMAGE_SIDE", [0, 1.5]),
    ("MAX_ASPECT_RATIO", [0.5, 201, "30", float("nan")]),
    ("MAX_PROMPT_CHARACTERS", [0, "4000"]),
    ("MAX_KEPT_BYTES", [-1, 4e9, "4gb", None]),
    ("MAX_FILES_BYTES", [-1, 4e9, "4gb", None]),
    ("MAX_VISITOR_BYTES", [-1, 1e9, "1gb", None]),
    ("QUEUE_SIZE", [0, None]),
    ("OUTPUT_DIR", ["", " ", "a\0b", None]),
    ("CACHE_DIR", ["", 1]),
    ("MAX_CACHE_BYTES", [-1, 2e9, "2gb", True]),
]


def test_every_constant_is_tried_with_wrong_values() -> None:
    assert {name for name, _ in WRONG} == set(constants())


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG for value in values])
def test_a_wrong_value_is_named_with_what_it_may_be_and_what_it_was(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(config, name, value)
    with pytest.raises(ValueError, match=rf"^config\.py: {name} must be ") as error:
        config.validate()
    message = str(error.value)
    assert config.RULES[name][0] in message
    assert message.endswith("; what it is stays unsaid" if name == "AUTH" else f"; it is {value!r}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_NAME", "demo"),
        ("DEVICE", "cuda:1"),
        ("MAX_PIXELS", None),
        ("MIN_PIXELS", 784),
        ("VIDEO_FPS", 0.1),
        ("VIDEO_MAX_FRAMES", 4),
        ("VIDEO_MAX_PIXELS", None),
        ("SPECIFIC_LAYERS", (0, -1)),
        ("KEEP", "head-mean"),
        ("KEEP", [(20, 3), (21, 0)]),
        ("KEEP", ([0, 0],)),
        ("MAX_CAPTURE_BYTES", 0),
        ("GENERATION", "own"),
        ("TOP_P", 1),
        ("REPETITION_PENALTY", 1),
        ("HEATMAP_ALPHA", 0),
        ("MAX_UPLOAD", "1.5 gb"),
        ("SEED", 2**63 - 1),
        ("ALLOWED_ORIGINS", ["https://*.a.org", "http://localhost:8080/", "http://[::1]:80"]),
        ("ROOT_PATH", "/user/a%20b/proxy/7860/"),
        ("ROOT_PATH", "https://a.org"),
        ("TRUSTED_PROXIES", ("::1", "10.1.2.3/8", "*")),
        ("AUTH", ["ada:a:b c", "@/run/secrets/people"]),
    ],
)
def test_values_at_the_edge_are_allowed(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    monkeypatch.setattr(config, name, value)
    config.validate()


@pytest.mark.parametrize(
    ("name", "value"), [("TEMPERATURE", 0.5), ("TOP_P", 0.9), ("TOP_K", 5), ("REPETITION_PENALTY", 1.05)]
)
def test_a_value_that_would_not_count_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    monkeypatch.setattr(config, name, value)
    line = rf'^config\.py: {name} counts only with GENERATION = "own"; it is {value}, and GENERATION is '
    for generation in ("checkpoint", "greedy"):
        monkeypatch.setattr(config, "GENERATION", generation)
        with pytest.raises(ValueError, match=f'{line}"{generation}"$'):
            config.validate()
    monkeypatch.setattr(config, "GENERATION", "own")
    config.validate()


def test_layers_beside_pairs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "EXTRACT_ALL_LAYERS", False)
    monkeypatch.setattr(config, "KEEP", "head-mean")
    config.validate()
    monkeypatch.setattr(config, "KEEP", [(1, 0)])
    with pytest.raises(ValueError, match=r"SPECIFIC_LAYERS does not count with pairs in KEEP.* = True$"):
        config.validate()


def test_an_aggregation_that_needs_each_head_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "KEEP", "head-mean")
    config.validate()
    monkeypatch.setattr(config, "AGGREGATION", "max")
    with pytest.raises(ValueError, match=r'AGGREGATION "max" needs each head; set KEEP = "all"$'):
        config.validate()


def test_pixel_bounds_must_not_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MIN_PIXELS", 2000)
    monkeypatch.setattr(config, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"MIN_PIXELS must be at most MAX_PIXELS \(1000\); it is 2000"):
        config.validate()


def test_numbers_of_frames_must_not_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "VIDEO_MAX_FRAMES", 3)
    with pytest.raises(ValueError, match=r"MIN_FRAMES must be at most VIDEO_MAX_FRAMES \(3\); it is 4"):
        config.validate()


def test_a_misspelt_constant_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MAX_NEW_TOKEN", 64, raising=False)
    with pytest.raises(ValueError, match=r"no setting named MAX_NEW_TOKEN; did you mean MAX_NEW_TOKENS\?"):
        config.validate()


def test_a_deleted_constant_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(config, "PORT")
    with pytest.raises(ValueError, match=r"PORT is missing; it must be a whole number from 1 to 65,535"):
        config.validate()


def test_a_long_or_many_lined_value_stays_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "AGGREGATION", "x\n" * 1000)
    with pytest.raises(ValueError, match=r"AGGREGATION") as error:
        config.validate()
    assert re.fullmatch(r"[^\n]{1,250}", str(error.value))
