"""What several tests here share."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import cli

ROOT = Path(cli.__file__).parent
PROMPT = "What is 这里 here?"
# As accelerate launches processes on several cards; on processors alone it starts only one.
TWO_PROCESSES = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
LAYERS, HEADS, TOKENS = 3, 4, 7  # of the tiny model; of its answers here


def arrays(folder: Path) -> dict[str, Any]:
    with np.load(folder / "maps.npz", allow_pickle=False) as file:
        return dict(file)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.mode == "RGB"
        return np.asarray(image)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} if folder.exists() else set()


def left_behind(tmp_path: Path) -> list[str]:
    return sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*"))


REFUSALS: list[tuple[list[str], str]] = [
    (["--layers", "99"], "there is no layer 99: the model has 3 layers, 0 to 2"),
    (["--layers", "-4"], "there is no layer -4: the model has 3 layers, 0 to 2"),
    (["--layers", "2-1"], "the range of layers 2-1 runs backwards"),
    (["--layers", "1;2"], "argument --layers: '1;2' is no list of numbers and ranges such as 3 or 0-3,7"),
    (["--heads", "2,4"], "there is no head 4: the model has 4 heads, 0 to 3"),
    (
        ["--tokens", "some"],
        "argument --tokens: 'some' is not all, words, answer, or numbers such as 3, 2-5 or 1,4",
    ),
    (["--tokens", "-1"], "argument --tokens: tokens are counted from 0; got -1"),
    (["--aggregation", "sum"], "argument --aggregation: invalid choice: 'sum'"),
    (["--colormap", "virids"], "unknown colour map 'virids'"),
    (["--alpha", "1.5"], "argument --alpha: must be a number from 0 to 1; got 1.5"),
    (["--alpha", "much"], "argument --alpha: must be a number from 0 to 1; got much"),
    (["--view", "sideways"], "argument --view: invalid choice: 'sideways'"),
    (["--max-new-tokens", "0"], "argument --max-new-tokens: must be a whole number from 1 to 32,768; got 0"),
    (["--max-new-tokens", "1.5"], "argument --max-new-tokens: must be a whole number"),
    (["--temperature", "-1"], "argument --temperature: must be a number from 0 to 10; got -1"),
    (["--temperature", "nan"], "argument --temperature: must be a number from 0 to 10; got nan"),
    (["--top-p", "0"], "argument --top-p: must be a number above 0 and up to 1; got 0"),
    (["--top-k", "-1"], "argument --top-k: must be a whole number from 0 to 1,000,000; got -1"),
    (["--repetition-penalty", "0"], "argument --repetition-penalty: must be a number above 0 and up to 10"),
    (
        ["--generation", "beams"],
        'argument --generation: must be one of "checkpoint", "greedy", "own"; got beams',
    ),
    (["--generation", "greedy", "--top-k", "3"], 'top_k counts only with generation="own"; got "greedy"'),
    (
        ["--answer", "x", "--generation", "greedy"],
        "--generation does not belong to --answer, which generates",
    ),
    (["--answer", "x", "--max-new-tokens", "3"], "--max-new-tokens does not belong to --answer"),
    (["--answer", " "], "argument --answer: the answer is empty"),
    (
        ["--answer", "@nowhere.txt"],
        "argument --answer: nowhere.txt cannot be read: No such file or directory",
    ),
    (["--keep", "20"], "argument --keep: '20' is not all, head-mean, or layers and heads such as 20:3,21:0"),
    (["--keep", "1:-1"], "argument --keep: '1:-1' is not all"),
    (["--keep", "0:9"], "there is no head 9: there are 4 (0 to 3)"),
    (
        ["--keep", "0:1,2:0", "--heads", "0-1", "--layers", "2"],
        "head 1 of layer 2 would not be kept, only layer.head 0.1, 2.0: name it in --keep",
    ),
    (["--keep", "0:1", "--heads", "2"], "head 2 of layer 0 would not be kept, only layer.head 0.1: name"),
    (["--keep", "0:1,2:0", "--layers", "1"], "layer 1 would not be kept, only layer.head 0.1, 2.0: name"),
    (
        ["--keep", "head-mean", "--heads", "1"],
        "--heads, --no-sinks and another --aggregation than mean need each head by itself: set KEEP",
    ),
    (["--keep", "head-mean", "--aggregation", "max"], "--heads, --no-sinks and another --aggregation"),
    (["--keep", "head-mean", "--no-sinks"], "--heads, --no-sinks and another --aggregation"),
    (["--keep", "0:1", "--method", "heads-3"], "Attention, 3 most local heads: it looks among all heads"),
    (["--keep", "head-mean", "--method", "relative"], "Relative attention: it takes each head by itself"),
    (["--seed", "-1"], "argument --seed: must be a whole number from 0"),
    (["--prompt", " \n"], "argument --prompt: the prompt is empty"),
    (["--prompt", "x" * 100_000], "argument --prompt: 100,000 characters; at most 4,000 are allowed"),
    (["--prompt", "a <|image_pad|> b"], "may not contain the control token <|image_pad|>"),
    (["--colour", "red"], "unrecognized arguments: --colour red"),
]


def in_a_shell(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    call = (
        ["-c", f"import sys, config, cli; {code}; sys.exit(cli.main(sys.argv[1:]))"] if code else ["cli.py"]
    )
    command = [sys.executable, *call, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)


def layer_files(*layers: int) -> set[str]:
    return {f"layer_{n}_{kind}.png" for n in layers for kind in ("heatmap", "superimposed")}


ALWAYS = {"original.png", "answer.txt", "maps.npz"}
GRADCAM_REFUSALS: list[tuple[list[str], str]] = [
    (["--layers", "2"], "layer 2 is the last one and has no Grad-CAM: no later layer reads its features"),
    (["--mode", "single", "--layer", "-1"], "layer 2 is the last one and has no Grad-CAM"),
    (["--mode", "single", "--layer", "3"], "there is no layer 3: the model has 3 layers, 0 to 2"),
    (["--layers", "0-9"], "there is no layer 9: the model has 3 layers, 0 to 2"),
    (["--layer-range", "middle"], "'middle' is no layer of a model with 3 layers"),
    (["--layer-range", "most"], "argument --layer-range: invalid choice: 'most'"),
    (["--layer", "1"], "--layer belongs to --mode single; --mode grid takes --layers or --layer-range"),
    (["--mode", "single", "--layers", "1"], "--layers and --layer-range do not belong to --mode single"),
    (["--layers", "1", "--layer-range", "all"], "choose layers by --layers or by --layer-range, not both"),
    (["--at", "1"], "--at belongs to --target text:… or contrast:…"),
    (
        ["--target", "words"],
        "argument --target: 'words' is not all, answer, tokens such as 3, 2-5 or 1,4, word:2",
    ),
    (["--target", "-1"], "argument --target: '-1' is not all, answer, tokens"),
    (["--target", "contrast:red"], "argument --target: 'contrast:red' is not all, answer, tokens"),
    (["--target", "contrast: /blue"], "argument --target: 'contrast: /blue' is not all, answer, tokens"),
    (["--target", "text: "], "argument --target: 'text: ' is not all, answer, tokens"),
    (["--target", "word:x"], "argument --target: 'word:x' is not all, answer, tokens"),
    (["--num-samples", "0"], "argument --num-samples: must be a whole number from 1 to 10,000; got 0"),
    (["--noise-std", "-1"], "argument --noise-std: must be a number from 0 to 10; got -1"),
    (["--noise-std", "nan"], "argument --noise-std: must be a number from 0 to 10; got nan"),
    (["--mode", "some"], "argument --mode: invalid choice: 'some'"),
    (["--target", "text:a <|image_pad|>"], "may not contain the control token <|image_pad|>"),
]
CHECK_REFUSALS = [
    ([], "the following arguments are required: --target"),
    (["--target", "0", "--method", "magic"], "argument --method: invalid choice: 'magic'"),
    (["--target", "0", "--repeats", "0"], "--repeats: must be a whole number of at least 1; got 0"),
    (["--target", "50"], f"there is no token 50: the answer has {TOKENS} tokens"),
    (["--target", "word:99"], "there is no word 99: the answer has "),
    (["--target", "zebra"], "the answer does not say 'zebra'; its words are "),
    (["--target", "0", "--patches", "25"], "there is no number of patches 25: the picture has "),
    (["--target", "0", "--layers", "3"], "there is no layer 3: the model has 3 layers, 0 to 2"),
    (["--target", "0", "--method", "tam", "--heads", "1"], "Token activation map does not take 'heads'"),
]
REPORT = {f"evaluation.{ending}" for ending in ("md", "csv", "json", "png")}


def coco(folder: Path) -> Path:
    """Write a COCO folder of one example: a heart, where it is, and a picture that is missing."""
    folder.mkdir()
    example = ROOT / "demo" / "examples" / "star.png"
    (folder / "star.png").write_bytes(example.read_bytes())
    with Image.open(example) as image:
        width, height = image.size
    outline = [20, 10, 170, 10, 170, 160, 20, 160]
    of = {"image_id": 1, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]}
    data = {
        "images": [
            {"id": 1, "file_name": "star.png", "width": width, "height": height},
            {"id": 2, "file_name": "gone.png", "width": 9, "height": 9},
        ],
        "categories": [{"id": 1, "name": "heart"}, {"id": 2, "name": "fish"}, {"id": 3, "name": "sun"}],
        "annotations": [
            {**of, "id": 1, "category_id": 1, "segmentation": [outline]},
            {**of, "id": 2, "category_id": 3, "segmentation": [outline]},
            {**of, "id": 3, "category_id": 1, "segmentation": [outline], "image_id": 2},
        ],
    }
    (folder / "instances_x.json").write_text(json.dumps(data))
    return folder


MEASURE_REFUSALS = [
    (["--methods", "attention,magic"], "argument --methods: 'magic' is not one of attention, heads-3"),
    (["--limit", "0"], "--limit: must be a whole number of at least 1; got 0"),
    (["--prompt", "What?"], "--annotations and --prompt belong to --data"),
    (["--data", "no/such/folder"], "no/such/folder is not a folder"),
]
AGAIN = "The same question was answered before: taken from the cache (--no-cache asks again)."


def written(out: Path) -> set[str]:
    """Return the names in a folder without the answer's 8 digits, which are checked here."""
    found = names(out)
    assert len({name.split("-")[1][:8] for name in found}) == 1
    return {re.sub(r"^attention-[0-9a-f]{8}", "", name) for name in found}
