"""Under which address a request sees the page, and which requests are another site's."""

from typing import Any

import pytest

from page.address import Address, ForbiddenError, seen
from page.network import Network

LOCAL = Network()


def asked(
    host: str = "127.0.0.1:7860",
    method: str = "POST",
    path: str = "/gradio_api/upload",
    caller: str = "127.0.0.1",
    **said: str,
) -> dict[str, Any]:
    """Return a request as the server has it; headers by name, with _ for -."""
    named = [(b"host", host.encode()), *((k.replace("_", "-").encode(), v.encode()) for k, v in said.items())]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "scheme": "http",
        "client": (caller, 50_000),
        "headers": named,
    }


@pytest.mark.parametrize(
    ("network", "known", "unknown"),
    [
        (
            LOCAL,
            ["127.0.0.1", "localhost:9000", "[::1]:7860"],
            ["evil.example", "10.0.0.5", "lens", "localhost.a.org"],
        ),
        (Network(host="10.0.0.5"), ["10.0.0.5:80", "127.0.0.1", "lens"], ["evil.example", "lens."]),
        (
            Network(host="0.0.0.0"),
            ["10.0.0.5", "[fe80::1]:7860", "lens:7860"],
            ["evil.example", "10.0.0.5.a.org"],
        ),
        (Network(origins=("https://a.org:8443",)), ["a.org", "A.org:1"], ["b.a.org", "xa.org"]),
        (
            Network(origins=("https://*.a.org",)),
            ["b.a.org", "c.b.a.org:1"],
            ["a.org", ".a.org", "xa.org", "b.a.org.evil.org"],
        ),
    ],
)
def test_names_that_are_not_the_pages_own_are_refused(
    network: Network, known: list[str], unknown: list[str]
) -> None:
    """Another site's name may point here at any time (DNS rebinding); its pages then seem to be this one."""
    for host in known:
        assert seen(network, asked(host, "GET", "/")).host == host.lower()
    for host in unknown:
        with pytest.raises(
            ForbiddenError, match=r"^(The page does not answer as|The request's host)"
        ) as refused:
            seen(network, asked(host, "GET", "/"))
        assert refused.value.status == 400


@pytest.mark.parametrize("host", ["", "a b", "127.0.0.1/x", "127.0.0.1:x", "127.0.0.1@evil.example", "[::1"])
def test_hosts_that_are_none_are_refused(host: str) -> None:
    with pytest.raises(ForbiddenError, match=r"^The request's host is not a name or an address\.$"):
        seen(LOCAL, asked(host))


def test_a_refused_origin_says_what_would_allow_it() -> None:
    with pytest.raises(ForbiddenError) as refused:
        seen(LOCAL, asked(origin="https://Lens.example.org"))
    assert (refused.value.status, str(refused.value)) == (
        403,
        "Requests from https://lens.example.org are refused. If the page is yours there, allow it: "
        'ALLOWED_ORIGINS = ["https://lens.example.org"] in config.py, '
        "WORD_LENS_ALLOWED_ORIGINS=https://lens.example.org, or --allowed-origin https://lens.example.org.",
    )
    network = Network(origins=("https://lens.example.org",))
    assert seen(network, asked(origin="https://Lens.example.org")) == Address("https", "lens.example.org")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1:7861",  # another program of this computer's
        "http://127.0.0.1",
        "https://a.org:444",
        "http://a.org",
        "https://b.c.org.evil.org",
        "https://c.org",
        "https://b.c.org:444",
        "ftp://127.0.0.1:7860",
        "chrome-extension://127.0.0.1:7860",
        'https://a.org"] <b>',
    ],
)
def test_other_sites_are_refused_whatever_is_forwarded(origin: str) -> None:
    network = Network(origins=("https://a.org", "https://*.c.org"), proxies=("127.0.0.1",))
    for more in (
        {},
        {"x_forwarded_host": "a.org"},
        {"referer": f"{origin}/"},
        {"x_forwarded_proto": "https"},
    ):
        with pytest.raises(ForbiddenError, match="are refused") as refused:
            seen(network, asked(origin=origin, **more))
        assert "<" not in str(refused.value)
    for path in ("/gradio_api/file=/assets/x", "/config", "/"):  # what is read with a visitor's login in it
        with pytest.raises(ForbiddenError):
            seen(network, asked(origin=origin, method="GET", path=path))
    assert seen(network, asked(origin=origin, method="GET", path="/assets/index.js")).host == "127.0.0.1:7860"


def test_a_forwarded_host_has_to_be_allowed_too() -> None:
    """A page of another site can have a browser on a proxy's computer send such a header."""
    network = Network(proxies=("127.0.0.1",))
    with pytest.raises(ForbiddenError, match=r"^The page does not answer as evil\.example\."):
        seen(network, asked(x_forwarded_host="evil.example", origin="https://evil.example"))


def test_forwarded_headers_count_from_trusted_proxies_only() -> None:
    told = {
        "x_forwarded_host": "a.org, inner",
        "x_forwarded_proto": "https",
        "x_forwarded_prefix": "/lens/",
    }
    network = Network(origins=("https://a.org", "http://a.org"), proxies=("10.0.0.0/8",))
    assert seen(network, asked(caller="10.1.2.3", **told)) == Address("https", "a.org", "/lens")
    assert seen(network, asked(caller="127.0.0.1", **told)) == Address("http", "127.0.0.1:7860")
    everyone = Network(origins=("https://a.org",), proxies=("*",))
    assert seen(everyone, asked(caller="::1", **told)) == Address("https", "a.org", "/lens")
    odd = {"x_forwarded_proto": "javascript", "x_forwarded_prefix": "/a b"}
    assert seen(everyone, asked(caller="::1", **odd)) == Address("http", "127.0.0.1:7860")


@pytest.mark.parametrize(
    ("network", "request_", "address"),
    [
        # a proxy that changes the host: the browser's word
        (Network(origins=("https://a.org",)), asked(origin="https://a.org"), Address("https", "a.org")),
        # one that keeps it, and serves by https: the setting's
        (Network(origins=("https://a.org",)), asked("a.org", "GET", "/config"), Address("https", "a.org")),
        # below a path of which nobody told but the browser
        (
            Network(origins=("https://a.org",)),
            asked(origin="https://a.org", referer="https://a.org/user/ada/proxy/7860/?view=api"),
            Address("https", "a.org", "/user/ada/proxy/7860"),
        ),
        (
            LOCAL,
            asked(origin="http://127.0.0.1:7860", referer="https://a.org/lens/"),
            Address("http", "127.0.0.1:7860"),
        ),
        (
            Network(prefix="/lens"),
            asked(origin="http://127.0.0.1:7860", referer="http://127.0.0.1:7860/"),
            Address("http", "127.0.0.1:7860"),
        ),
        # ROOT_PATH: a path that the proxy takes away, one that it leaves, a whole address
        (Network(prefix="/lens"), asked(path="/config"), Address("http", "127.0.0.1:7860", "/lens")),
        (Network(prefix="/lens"), asked(path="/lens/x"), Address("http", "127.0.0.1:7860", "/lens", "/lens")),
        (Network(prefix="/lens"), asked(path="/lenses"), Address("http", "127.0.0.1:7860", "/lens")),
        (
            Network(root="https://a.org", prefix="/lens", origins=("https://a.org",)),
            asked(path="/config"),
            Address("https", "a.org", "/lens"),
        ),
    ],
)
def test_the_address_is_the_one_that_the_visitor_has(
    network: Network, request_: dict[str, Any], address: Address
) -> None:
    assert seen(network, request_) == address
