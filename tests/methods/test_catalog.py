"""The catalogue: read without torch, whole, and what README says of it."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import config
import methods
from methods.catalog import LAYERED, METHODS, FromConfig, method_named

ROOT = Path(__file__).parent.parent.parent


def test_the_catalogue_loads_no_torch_and_the_package_only_when_asked() -> None:
    code = (
        "import sys, config, methods; assert 'numpy' not in sys.modules; "
        "assert 'token_maps' in dir(methods); methods.token_maps; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_public_name_of_the_package_is_there() -> None:
    for name in methods.__all__:
        assert getattr(methods, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'token_map'"):
        _ = methods.token_map


def test_every_row_says_what_it_is_and_has_its_function() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert re.search(r"^\w.* \d{4}, arXiv \d{4}\.\d{4,5}$", method.paper)
        module, function = method.function.split(":")
        assert callable(getattr(import_module(module), function))
        for default in method.options.values():
            assert not isinstance(default, FromConfig) or hasattr(config, default.setting)
    assert set(LAYERED) <= set(METHODS)
    assert config.RULES["METHOD"][1]("heads-5")
    assert not config.RULES["METHOD"][1]("heads-4")
    with pytest.raises(ValueError, match=r"method must be one of attention, heads-3, .*; got 'magic'"):
        method_named("magic")


def test_the_readme_names_each_measured_methods_paper() -> None:
    rows = [line.split("|") for line in (ROOT / "README.md").read_text("utf-8").splitlines() if "|" in line]
    papers = {row[1].strip(): row[-2].strip() for row in rows if len(row) > 3}
    for method in METHODS.values():
        if method.label in papers:
            said, arxiv = method.paper.split(", arXiv ")
            assert papers[method.label] == f"[{said}](https://arxiv.org/abs/{arxiv})"
    assert {"Attention", "Occlusion", "Attention, 5 most local heads"} <= set(papers)
