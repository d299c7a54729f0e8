"""Every setting of the project, as plain constants to edit, and `validate()`, which checks them.

Imports only the standard library and the catalogue of methods, which does the same. The other rooms read a
constant at the moment they need it (`config.MAX_PIXELS`), so that a value changed at run time counts. Each
setting stands below what it does, and right above what it may be; they begin after the rules' own functions.
"""

import difflib
import ipaddress
import re
from collections.abc import Callable

from methods.catalog import METHODS as _METHODS

# --- What a value may be ------------------------------------------------------------------------------------

Rule = tuple[str, Callable[[object], bool]]


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flag() -> Rule:
    return "True or False", lambda value: isinstance(value, bool)


def _whole(low: int, high: int) -> Rule:
    return (
        f"a whole number from {low:,} to {high:,}",
        lambda value: isinstance(value, int) and _is_int(value) and low <= value <= high,
    )


def _number(low: float, high: float) -> Rule:
    return (
        f"a number from {low:g} to {high:g}",
        lambda value: (
            isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        ),
    )


def _or_none(rule: Rule) -> Rule:
    allowed, accepts = rule
    return f"None or {allowed}", lambda value: value is None or accepts(value)


def _one_of(*choices: str) -> Rule:
    listed = ", ".join(f'"{choice}"' for choice in choices)
    return f"one of {listed}", lambda value: isinstance(value, str) and value in choices


def _text(allowed: str, pattern: str) -> Rule:
    return allowed, lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _layer_numbers() -> Rule:
    return (
        "a list of at least one whole number, such as [-2, -1]",
        lambda value: isinstance(value, (list, tuple)) and len(value) > 0 and all(map(_is_int, value)),
    )


def _kept_heads() -> Rule:
    def accepts(value: object) -> bool:
        if isinstance(value, str):
            return value in ("all", "head-mean")
        return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(_is_pair, value))

    return '"all", "head-mean", or a list of (layer, head) such as [(20, 3), (21, 0)]', accepts


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(one, int) and _is_int(one) and one >= 0 for one in value)
    )


def _texts(allowed: str, accepts: Callable[[str], bool]) -> Rule:
    return (
        f"a list of texts, each {allowed}",
        lambda value: (
            isinstance(value, (list, tuple)) and all(isinstance(one, str) and accepts(one) for one in value)
        ),
    )


def _is_proxy(value: str) -> bool:
    try:
        return value == "*" or bool(ipaddress.ip_network(value, strict=False))
    except ValueError:
        return False


_NOT_BLANK = r"[^\0\r\n]*[^\s\0][^\0\r\n]*"
_PLACE = r"([\w-]+(\.[\w-]+)*|\[[0-9a-fA-F:.]+\])(:\d{1,5})?"  # a name or an address, with a port
_FOLDER: Rule = _text("the name of a folder", _NOT_BLANK)

RULES: dict[str, Rule] = {}  # of each setting: in words, and as a test. It stands right below the setting

# --- Model --------------------------------------------------------------------------------------------------

# What is loaded when no other name is given and a CUDA device is there: a hub id, or a folder in the same
# layout. Without CUDA the bundled model ("demo") is loaded instead.
MODEL_NAME: str = "Qwen/Qwen2.5-VL-3B-Instruct"
RULES["MODEL_NAME"] = _text('a hub id such as "Qwen/Qwen2.5-VL-3B-Instruct", a folder, or "demo"', _NOT_BLANK)
# A LoRA that is applied to MODEL_NAME where no other model is named: a folder that PEFT saved.
ADAPTER: str | None = None
RULES["ADAPTER"] = _or_none(_FOLDER)
# Puts weights into fewer bits while they are loaded, by bitsandbytes: "4bit", or "8bit", whose answers are a
# little off when they are read again. None leaves them as they are in the files.
QUANTIZATION: str | None = None
RULES["QUANTIZATION"] = _or_none(_one_of("4bit", "8bit"))
# "auto": CUDA where there is one, else the CPU. Or "cpu", "cuda", "cuda:1", "mps".
DEVICE: str = "auto"
RULES["DEVICE"] = _text('"auto", "cpu", "cuda", "cuda:N" or "mps"', r"auto|cpu|mps|cuda(:\d+)?")
# "auto": bfloat16 on CUDA, else float32. Or "float32", "bfloat16", "float16".
DTYPE: str = "auto"
RULES["DTYPE"] = _one_of("auto", "float32", "bfloat16", "float16")
# "auto": flash_attention_2 where it is installed and the model runs on CUDA, else sdpa.
# Or one of these three by name: "sdpa", "flash_attention_2", "eager".
ATTENTION_BACKEND: str = "auto"
RULES["ATTENTION_BACKEND"] = _one_of("auto", "sdpa", "flash_attention_2", "eager")
# The picture is resized to between so many pixels before the model sees it. One visual token is 28 x 28 of
# them (Qwen2-VL, Qwen2.5-VL) or 32 x 32 (later ones). None keeps the checkpoint's own bounds, which are
# narrowed here, never widened. 1_003_520 is 1,280 visual tokens of 28 x 28, or 980 of 32 x 32.
MIN_PIXELS: int | None = None
RULES["MIN_PIXELS"] = _or_none(_whole(28 * 28, 100_000_000))
MAX_PIXELS: int | None = 1_003_520
RULES["MAX_PIXELS"] = _or_none(_whole(28 * 28, 100_000_000))

# --- Video --------------------------------------------------------------------------------------------------

# So many frames of each second of a clip are looked at, spread evenly over all of it: no fewer than
# VIDEO_MIN_FRAMES, where it has as many, and no more than VIDEO_MAX_FRAMES, however long it is. One visual
# token stands for a place in two frames that follow each other.
VIDEO_FPS: float = 2
RULES["VIDEO_FPS"] = ("a number above 0 and up to 60", lambda value: _number(0, 60)[1](value) and value != 0)
VIDEO_MIN_FRAMES: int = 4
RULES["VIDEO_MIN_FRAMES"] = _whole(1, 10_000)
VIDEO_MAX_FRAMES: int = 768
RULES["VIDEO_MAX_FRAMES"] = _whole(1, 10_000)
# All frames of a clip together are resized to at most so many pixels before the model sees them; the more
# frames, the smaller each. It narrows the checkpoint's own bounds, which None keeps. 12_845_056 is 8,192
# visual tokens of 2 x 28 x 28, or 6,272 of 2 x 32 x 32: ten seconds of 1280 x 720 lose little of their size.
VIDEO_MAX_PIXELS: int | None = 12_845_056
RULES["VIDEO_MAX_PIXELS"] = _or_none(_whole(2 * 28 * 28, 10**9))

# --- Capture ------------------------------------------------------------------------------------------------

# True records every decoder layer that has attention; False only SPECIFIC_LAYERS (0 is the first layer, -1
# the last).
EXTRACT_ALL_LAYERS: bool = True
RULES["EXTRACT_ALL_LAYERS"] = _flag()
SPECIFIC_LAYERS: list[int] = [-2, -1]
RULES["SPECIFIC_LAYERS"] = _layer_numbers()
# True moves what was recorded to main memory as it arrives; False leaves it on the model's device.
STORE_ON_CPU: bool = True
RULES["STORE_ON_CPU"] = _flag()
# True keeps it in float16 (half the memory, about three digits); False in float32.
USE_FLOAT16: bool = True
RULES["USE_FLOAT16"] = _flag()
# Whose attention is kept of an answer, chosen before it is asked for: "all" heads; "head-mean", the mean over
# the heads of each layer, which takes as many times less as there are heads; or these heads alone, each as
# (layer, head), both counted from 0: [(20, 3), (21, 0)]. What needs heads that were not kept is refused.
KEEP: str | list[tuple[int, int]] = "all"
RULES["KEEP"] = _kept_heads()
# What may be more than so many bytes is recorded into a file in CACHE_DIR, which is gone with the answer,
# instead of into main memory.
MAX_CAPTURE_BYTES: int = 1_000_000_000
RULES["MAX_CAPTURE_BYTES"] = _whole(0, 10**15)

# --- Generation ---------------------------------------------------------------------------------------------

MAX_NEW_TOKENS: int = 128
RULES["MAX_NEW_TOKENS"] = _whole(1, 32_768)
# "checkpoint": as the checkpoint's own generation_config says, its penalties included; the answer is then the
# one that `model.generate` gives. "greedy": always the likeliest token. "own": by the four values below.
GENERATION: str = "checkpoint"
RULES["GENERATION"] = _one_of("checkpoint", "greedy", "own")
# These four count with GENERATION = "own" only. 0 always takes the likeliest token; above 0 draws, the more
# freely the higher.
TEMPERATURE: float = 0.0
RULES["TEMPERATURE"] = _number(0, 10)
# Draw only from the likeliest tokens that together reach this probability.
TOP_P: float = 1.0
RULES["TOP_P"] = ("a number above 0 and up to 1", lambda value: _number(0, 1)[1](value) and value != 0)
# Draw only from so many of the likeliest tokens; 0 draws from all.
TOP_K: int = 0
RULES["TOP_K"] = _whole(0, 1_000_000)
# Above 1 makes tokens that are in the prompt or the answer already less likely; 1 changes nothing.
REPETITION_PENALTY: float = 1.0
RULES["REPETITION_PENALTY"] = (
    "a number above 0 and up to 10",
    lambda value: _number(0, 10)[1](value) and value != 0,
)
# Has a checkpoint think aloud before it answers, where its chat template asks whether to (enable_thinking).
# Its thoughts, between <think> and </think>, are words of the answer. Where a template cannot ask, True is
# refused.
THINKING: bool = False
RULES["THINKING"] = _flag()
# Of what is drawn.
SEED: int = 0
RULES["SEED"] = _whole(0, 2**63 - 1)

# --- Maps and pictures --------------------------------------------------------------------------------------

# How the page explains an answer that was just given: "attention", which is there at once, or a method that
# reads the answer again. The default found the object most often on the bundled model's scenes
# (`python cli.py evaluate`); it costs a backward pass for each token. `python cli.py methods` lists all, each
# with what it shows and how it misleads.
METHOD: str = "gradient-attention"
RULES["METHOD"] = _one_of(*_METHODS)
# How layers and heads are folded into one map: "mean", "max" or "min".
AGGREGATION: str = "mean"
RULES["AGGREGATION"] = _one_of("mean", "max", "min")
# "glow" lights the picture up where a map has more than an even share, smoothly, and outlines the cells that
# hold half of the map. Or any colour map of matplotlib, such as "viridis".
HEATMAP_COLORMAP: str = "glow"
RULES["HEATMAP_COLORMAP"] = _text('"glow", or the name of a matplotlib colour map such as "viridis"', r"\w+")
# Of a colour map: 0 shows the picture alone, 1 the map alone. Glow has its full strength.
HEATMAP_ALPHA: float = 0.6
RULES["HEATMAP_ALPHA"] = _number(0, 1)
# "overlay", "side by side", "heatmap" (the map alone) or "spotlight" (the picture, dim and grey where a map
# has little).
HEATMAP_VIEW: str = "overlay"
RULES["HEATMAP_VIEW"] = _one_of("overlay", "side by side", "heatmap", "spotlight")
# Of a colour map: False draws one flat cell for each visual token, which is all that the model gives; True
# interpolates. Glow interpolates.
HEATMAP_SMOOTH: bool = False
RULES["HEATMAP_SMOOTH"] = _flag()
# "own": each map is coloured by its own range of values. "shared": one range for all tokens.
HEATMAP_SCALE: str = "own"
RULES["HEATMAP_SCALE"] = _one_of("own", "shared")

# --- Grad-CAM -----------------------------------------------------------------------------------------------

# Noisy copies of the picture that a map is the mean of; each costs a forward and a backward pass.
GRADCAM_SAMPLES: int = 10
RULES["GRADCAM_SAMPLES"] = _whole(1, 10_000)
# Standard deviation of their noise, in normalised pixels. 0 is plain Grad-CAM, in one pass.
GRADCAM_NOISE: float = 0.15
RULES["GRADCAM_NOISE"] = _number(0, 10)

# --- Page and limits ----------------------------------------------------------------------------------------

# Where the page is served, and by way of what it is reached: docs/deploy.md has a recipe for each network.
# The command line goes before these six, and so does the environment: WORD_LENS_HOST, WORD_LENS_PORT, ….
# 127.0.0.1 answers this computer only; 0.0.0.0 answers every network: think of AUTH.
HOST: str = "127.0.0.1"
RULES["HOST"] = _text("a host name or address without spaces", r"[^\s\x00-\x1f\x7f]+")
PORT: int = 7860
RULES["PORT"] = _whole(1, 65_535)
# Where else people open it, as their browser's address line begins: "https://lens.example.org". "https://*.…"
# takes every name that ends so.
ALLOWED_ORIGINS: list[str] = []
RULES["ALLOWED_ORIGINS"] = _texts(
    'such as "https://lens.example.org", "https://*.example.org" or "http://10.0.0.5:8080", without a path',
    lambda value: re.fullmatch(rf"https?://(\*\.[\w-]+\.)?{_PLACE}/?", value) is not None,
)
# The part of the address that a proxy puts before the page's own: "/lens" for https://example.org/lens/. Or
# that address as a whole, which is then allowed too.
ROOT_PATH: str = ""
RULES["ROOT_PATH"] = _text(
    'empty, a path such as "/lens", or an address such as "https://example.org/lens"',
    rf"(https?://{_PLACE})?((/[\w.~%!$&'()*+,;=:@-]+)*/?)",
)
# Proxies whose X-Forwarded-Host, -Proto and -Prefix count; from elsewhere they can be anybody's invention.
TRUSTED_PROXIES: list[str] = []
RULES["TRUSTED_PROXIES"] = _texts(
    'an address or a network such as "127.0.0.1" or "10.0.0.0/8", or "*"', _is_proxy
)
# Who may open the page; everyone if there is none. "@FILE" stands for a file with a "name:password" in each
# line.
AUTH: list[str] = []
RULES["AUTH"] = _texts(
    '"name:password", or "@FILE"',
    lambda value: re.fullmatch(r"@.*\S.*|[^:@\s][^:]*:.*\S.*", value) is not None,
)
# What visitors of a page for others may load beside what its list proposes: hub ids and folders. On a page
# for this computer alone, at no other address, it is whatever they name.
MODELS: list[str] = []
RULES["MODELS"] = _texts("a hub id or a folder", lambda value: value.strip() != "")
# The largest file that the page accepts.
MAX_UPLOAD: str = "20mb"
RULES["MAX_UPLOAD"] = _text('a size such as "20mb"', r"\d+(\.\d+)? *(b|kb|mb|gb)")
# A picture with more pixels is scaled down to these, which is said.
MAX_IMAGE_PIXELS: int = 40_000_000
RULES["MAX_IMAGE_PIXELS"] = _whole(1, 10**9)
# Pictures with more pixels than this, a shorter side of fewer, or a longer side of more than so many times
# the shorter are refused before they are decoded. A JPEG can be decoded at half its size and less.
MAX_DECODED_PIXELS: int = 100_000_000
RULES["MAX_DECODED_PIXELS"] = _whole(1, 10**9)
MIN_IMAGE_SIDE: int = 8
RULES["MIN_IMAGE_SIDE"] = _whole(1, 1000)
MAX_ASPECT_RATIO: float = 30.0
RULES["MAX_ASPECT_RATIO"] = _number(1, 200)
MAX_PROMPT_CHARACTERS: int = 4000
RULES["MAX_PROMPT_CHARACTERS"] = _whole(1, 1_000_000)
# Answers that the page holds, those of all visitors together, in bytes: what is recorded, maps and pictures.
# The one not looked at for longest goes first; the newest is always held.
MAX_KEPT_BYTES: int = 4_000_000_000
RULES["MAX_KEPT_BYTES"] = _whole(0, 10**15)
# Files that the page has for a while, those of all visitors together, in bytes: uploads, and what is drawn
# and written to be taken away. Whoever has most loses the one that they got first.
MAX_FILES_BYTES: int = 4_000_000_000
RULES["MAX_FILES_BYTES"] = _whole(0, 10**15)
# What one visitor may have of each of these, in bytes, where others have something too: answers that the page
# holds, its files, and answers kept on disk. Beyond it their own oldest goes first. All sessions from one
# address are one visitor's: behind a proxy, name it in TRUSTED_PROXIES.
MAX_VISITOR_BYTES: int = 1_000_000_000
RULES["MAX_VISITOR_BYTES"] = _whole(0, 10**15)
# Visitors who may wait for the model at a time; the next one is told to come back.
QUEUE_SIZE: int = 32
RULES["QUEUE_SIZE"] = _whole(1, 10_000)
OUTPUT_DIR: str = "outputs"
RULES["OUTPUT_DIR"] = _FOLDER
CACHE_DIR: str = "cache"
RULES["CACHE_DIR"] = _FOLDER
# Answers kept on disk in CACHE_DIR, all together; the one not used for longest goes first. 0 keeps none.
MAX_CACHE_BYTES: int = 2_000_000_000
RULES["MAX_CACHE_BYTES"] = _whole(0, 10**15)


# --- All of them --------------------------------------------------------------------------------------------


def validate() -> None:
    """Return if every constant above has an allowed value.

    Raises:
        ValueError: one line that names the first wrong constant, what it may be, and what it was.
    """
    settings = globals()
    for name, (allowed, accepts) in RULES.items():
        if name not in settings:
            raise ValueError(f"config.py: {name} is missing; it must be {allowed}")
        if not accepts(settings[name]):
            raise ValueError(f"config.py: {wrong(name, settings[name])}")
    _refuse_unknown(settings)
    _refuse_idle(settings)
    if not isinstance(KEEP, str) and not EXTRACT_ALL_LAYERS:
        raise ValueError(
            "config.py: SPECIFIC_LAYERS does not count with pairs in KEEP, which name their layers; "
            "set EXTRACT_ALL_LAYERS = True"
        )
    if KEEP == "head-mean" and AGGREGATION != "mean":
        raise ValueError(f'config.py: AGGREGATION "{AGGREGATION}" needs each head; set KEEP = "all"')
    if MIN_PIXELS is not None and MAX_PIXELS is not None and MIN_PIXELS > MAX_PIXELS:
        raise ValueError(
            f"config.py: MIN_PIXELS must be at most MAX_PIXELS ({MAX_PIXELS}); it is {MIN_PIXELS}"
        )
    if VIDEO_MIN_FRAMES > VIDEO_MAX_FRAMES:
        raise ValueError(
            f"config.py: VIDEO_MIN_FRAMES must be at most VIDEO_MAX_FRAMES ({VIDEO_MAX_FRAMES}); "
            f"it is {VIDEO_MIN_FRAMES}"
        )


def wrong(name: str, value: object, called: str = "") -> str:
    """Return what is told of a value that a setting may not have; `called` is its name where it was given."""
    told = "what it is stays unsaid" if name in _SECRET else f"it is {_shown(value)}"
    return f"{called or name} must be {RULES[name][0]}; {told}"


_SECRET = {"AUTH"}  # has passwords, which belong on no screen
_IDLE = {"TEMPERATURE": 0, "TOP_P": 1, "TOP_K": 0, "REPETITION_PENALTY": 1}  # and what changes nothing


def _refuse_idle(settings: dict[str, object]) -> None:
    """Raise for a value of one's own that would not count."""
    for name, neutral in _IDLE.items():
        if GENERATION != "own" and settings[name] != neutral:
            raise ValueError(
                f'config.py: {name} counts only with GENERATION = "own"; it is {_shown(settings[name])}, '
                f'and GENERATION is "{GENERATION}"'
            )


def _shown(value: object) -> str:
    """Return the value as it would be typed, on one line and not endless."""
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse_unknown(settings: dict[str, object]) -> None:
    """Raise for a constant that nothing reads: most often a known one misspelt."""
    for name in settings:
        if name.isupper() and not name.startswith("_") and name != "RULES" and name not in RULES:
            near = difflib.get_close_matches(name, RULES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"config.py: there is no setting named {name}{hint}")
