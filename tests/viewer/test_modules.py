"""Modules as one script: what it defines, in which order, and what is refused."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import viewer
from viewer.modules import one_script


def write(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        path = folder / f"{name.replace('__', '/')}.js"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, "utf-8")


def test_modules_come_after_those_they_import_from_and_the_unused_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="import { b } from './view/b.js';\nimport { a } from './a.js';\nexport function main() {\n}\n",
        view__b="import {\n  a,\n} from '../a.js';\nexport const b = a;\n",
        a="const hidden = 1;\nexport const a = hidden;\n",
        unused="export const c = 1;\n",
    )
    script = one_script(tmp_path, "main.js")
    assert re.findall(r"^modules\['(.*)'\] =", script, re.MULTILINE) == ["a.js", "view/b.js", "main.js"]
    assert script.startswith("const { main } = (() => {")
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_each_module_sees_its_own_names_and_the_imported_ones(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="import { twice } from './a.js';\nconst step = 5;\nexport const sum = () => twice() + step;\n",
        a="const step = 10;\nexport async function never() {}\nexport const twice = () => 2 * step;\n",
    )
    told = "console.log(sum(), typeof twice, typeof step, typeof modules);"
    run = subprocess.run(
        ["node", "--input-type=commonjs", "-e", one_script(tmp_path, "main.js") + told],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["25", "undefined", "undefined", "undefined"]


@pytest.mark.parametrize(
    "source",
    [
        "import * as a from './a.js';\n",
        "import a from './a.js';\n",
        "import { a as b } from './a.js';\n",
        "import {\n  a as b,\n} from './a.js';\n",
        "import './a.js';\n",
        "export default 1;\n",
        "const a = 1;\nexport { a };\n",
        "export * from './a.js';\n",
        "export let a = 1;\n",
    ],
)
def test_other_forms_of_import_and_export_are_refused(tmp_path: Path, source: str) -> None:
    write(tmp_path, main=source, a="export const a = 1;\n")
    with pytest.raises(ValueError, match=r"main\.js: cannot join"):
        one_script(tmp_path, "main.js")


def test_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, a="import { b } from './b.js';\nexport const a = 1;\n")
    write(tmp_path, b="import { a } from './a.js';\nexport const b = 1;\n")
    with pytest.raises(ValueError, match="cycle"):
        one_script(tmp_path, "a.js")


def test_the_viewers_script_defines_one_function_and_has_every_module() -> None:
    script = viewer.assets()["js"]
    folder = Path(viewer.__file__).parent / "js"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.js")}
    assert set(re.findall(r"^modules\['(.*)'\] =", script, re.MULTILINE)) == names
    assert re.findall(r"^(?:const|let|var|function|class) .*? = ", script, re.MULTILINE)[0] == (
        "const { mountViewer } = "
    )


def test_every_file_of_style_is_in_the_viewers_style() -> None:
    css = viewer.assets()["css"]
    for path in (Path(viewer.__file__).parent / "css").glob("*.css"):
        assert path.read_text("utf-8") in css
