"""Where the page is served: command line, environment and config.py, and what Gradio's own variables do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import app
import config
from page import environment
from page.network import Network, chosen

ROOT = Path(__file__).parents[3]


def test_the_command_line_goes_before_the_environment_and_that_before_config(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "HOST", "10.0.0.1")
    monkeypatch.setattr(config, "PORT", 7001)
    monkeypatch.setattr(config, "ROOT_PATH", "/config")
    variables = {"GRADIO_SERVER_PORT": "7002", "GRADIO_ROOT_PATH": "/environment/"}
    network = chosen({"PORT": 7003}, variables)
    assert (network.host, network.port, network.prefix) == ("10.0.0.1", 7003, "/environment")
    assert chosen({}, {}) == Network(host="10.0.0.1", port=7001, prefix="/config")


def test_every_setting_can_come_from_the_environment() -> None:
    network = chosen(
        {},
        {
            "WORD_LENS_HOST": "[::]",
            "WORD_LENS_PORT": "80",
            "WORD_LENS_ROOT_PATH": "https://Lens.example.org:8443/a/b/",
            "WORD_LENS_ALLOWED_ORIGINS": "https://*.b.org, http://C.org/",
            "WORD_LENS_TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8",
            "WORD_LENS_AUTH": "ada:a:b,bo:c",
        },
    )
    assert network == Network(
        host="::",
        port=80,
        root="https://lens.example.org:8443",
        prefix="/a/b",
        origins=("https://*.b.org", "http://c.org", "https://lens.example.org:8443"),
        proxies=("127.0.0.1", "10.0.0.0/8"),
        people=(("ada", "a:b"), ("bo", "c")),
    )
    assert chosen({}, {"FORWARDED_ALLOW_IPS": "*", "GRADIO_SERVER_NAME": "0.0.0.0"}) == Network(
        host="0.0.0.0", proxies=("*",)
    )
    assert chosen({}, {"SPACE_HOST": "me-lens.hf.space"}).origins == ("https://me-lens.hf.space",)


@pytest.mark.parametrize(
    ("command_line", "variables", "line"),
    [
        ({"PORT": 0}, {}, "--port must be a whole number from 1 to 65,535; it is 0"),
        (
            {},
            {"GRADIO_SERVER_PORT": "x"},
            "GRADIO_SERVER_PORT must be a whole number from 1 to 65,535; it is 'x'",
        ),
        (
            {},
            {"GRADIO_ROOT_PATH": "lens"},
            "GRADIO_ROOT_PATH must be empty, a path such as \"/lens\", .*'lens'",
        ),
        (
            {"ALLOWED_ORIGINS": ["a.org"]},
            {},
            r"--allowed-origin must be a list of texts, each such as .*; it is \['a.org'\]",
        ),
        (
            {},
            {"GRADIO_SERVER_NAME": "0.0.0.0", "WORD_LENS_HOST": "127.0.0.1"},
            "WORD_LENS_HOST and GRADIO_SERVER_NAME say different things: unset one of them.",
        ),
        ({}, {"WORD_LENS_AUTH": "secret"}, "WORD_LENS_AUTH must be .*; what it is stays unsaid"),
        ({}, {"WORD_LENS_AUTH": "a:b,a:c"}, "AUTH must have each name once."),
        (
            {},
            {"WORD_LENS_AUTH": "@/no/such/file"},
            "AUTH: /no/such/file cannot be read: No such file or directory.",
        ),
    ],
)
def test_a_wrong_value_is_named_as_it_was_given(
    command_line: dict[str, Any], variables: dict[str, str], line: str
) -> None:
    with pytest.raises(ValueError, match=f"^{line}$"):
        chosen(command_line, variables)


def test_people_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "people"
    file.write_text("ada: a,b\n\nbo:c\n")
    variables = {"WORD_LENS_AUTH": f"cy:d,@{file}"}
    network = chosen({}, variables)
    assert network.people == (("cy", "d"), ("ada", " a,b"), ("bo", "c"))
    assert "a,b" not in repr(network)
    for wrong in ("secret", "", "@other"):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=r'must have a "name:password" in each line\.$') as error:
            chosen({}, variables)
        assert "secret" not in str(error.value)


# --- Gradio's own variables ---


@pytest.mark.parametrize("name", environment.REFUSED)
def test_what_would_undo_the_pages_promises_is_refused(name: str) -> None:
    for value in ("True", "/etc", "1"):
        with pytest.raises(ValueError, match=rf"^{name} is refused: .+\. Unset it\.$"):
            environment.check({name: value})
    for value in ("False", "0", ""):
        assert environment.check({name: value}) == ""


def test_what_has_no_effect_is_said() -> None:
    variables = {
        "GRADIO_THEME": "huggingface",
        "GRADIO_NUM_PORTS": "1",
        "GRADIO_TEMP_DIR": "/tmp/x",
        "HOME": "/",
    }
    assert environment.check(variables) == "No effect here: GRADIO_NUM_PORTS, GRADIO_THEME."
    assert environment.check({"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SSR_MODE": "False"}) == ""


def test_a_misspelt_variable_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^There is no WORD_LENS_ORIGINS; there are WORD_LENS_ALLOWED_ORIGINS, "
    ):
        environment.check({"WORD_LENS_ORIGINS": "https://a.org"})


def test_gradio_finds_none_of_them() -> None:
    """Gradio would make a number of this port as it is imported, and fail with a traceback."""
    set_by_people = {
        "GRADIO_SERVER_PORT": "x",
        "GRADIO_ALLOWED_PATHS": "/etc",
        "GRADIO_TEMP_DIR": "/tmp/x",
        "GRADIO_ANALYTICS_ENABLED": "True",
        "FORWARDED_ALLOW_IPS": "*",
    }
    code = (
        "import os, page; from page import environment as e; "
        "print(sorted((n, v) for n, v in os.environ.items() if n.startswith(('GRADIO', 'FORWARDED')))); "
        "print(sorted((n, v) for n, v in e.said().items() if n.startswith(('GRADIO', 'FORWARDED'))))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GRADIO_")}
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **set_by_people},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    left, said = told.stdout.splitlines()
    assert left == str(
        [("FORWARDED_ALLOW_IPS", ""), ("GRADIO_ANALYTICS_ENABLED", "False"), ("GRADIO_TEMP_DIR", "/tmp/x")]
    )
    assert said == str(sorted(set_by_people.items()))


def test_a_refusal_stops_the_start_with_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_SHARE", "True")
    assert app.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("GRADIO_SHARE is refused: ")


def test_a_page_for_everyone_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    people = "Whoever reaches this computer can use the page; AUTH in config.py has them log in.\n"
    for argv, line in ((["--host", "0.0.0.0"], people), (["--host", "127.0.0.2"], ""), ([], "")):
        app.in_network(app.arguments(argv))
        assert capsys.readouterr().err == line
