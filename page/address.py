"""The address under which a request sees the page, or why it is refused.

Goes in: the network's settings, and what one HTTP request says of itself. Comes out: scheme, host and path
before the page's own. Knows nothing of Gradio.
"""

import re
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from page.network import Network

_HOST = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")  # as a header has it, in small letters
_PREFIX = re.compile(r"(/[\w.~%!$&'()*+,;=:@-]+)*")
LONGEST_ADDRESS = 64  # characters; longer ones are none
READING = ("GET", "HEAD", "OPTIONS")
_FOR_EVERYONE = ("/assets/", "/static/", "/theme.css")  # the same for each visitor, and nobody's


class ForbiddenError(Exception):
    """A request that is refused, with its HTTP status; the message is one line."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


@dataclass(frozen=True)
class Address:
    """Where a visitor has the page: scheme, host with its port if any, the path before the page's own.

    `stripped` is how much of the request's own path is that path: empty where a proxy has taken it away.
    """

    scheme: str
    host: str
    prefix: str = ""
    stripped: str = ""


def seen(network: Network, scope: Scope) -> Address:
    """Return the address under which a request's sender has the page.

    The browser's own word goes first (`Origin`, `Referer`), as proxies change the rest; then what trusted
    proxies say; then `Host` and the settings.

    Raises:
        ForbiddenError: if the page is not known by that host, or the request is another site's.
    """
    headers = Headers(scope=scope)
    host, told = _host(headers, "host"), _forwarded(network, scope, headers)
    for name in (host, told.get("host", "")):
        if name and not network.knows(_name(name)):
            raise ForbiddenError(400, _unknown(network, scope, headers, name))
    prefix = told.get("prefix") or network.prefix
    stripped = next((p for p in (network.prefix, prefix) if p and _is_below(scope["path"], p)), "")
    is_public = scope["method"] in READING and scope["path"][len(stripped) :].startswith(_FOR_EVERYONE)
    origin = _origin(network, headers, [host, told.get("host", "")], is_public)
    if origin:
        scheme, _, host = origin.partition("://")
        referred = _referred(headers, origin)
        return Address(scheme, host, prefix if referred is None else referred, stripped)
    if network.root:
        scheme, _, host = network.root.partition("://")
        return Address(scheme, host, prefix, stripped)
    host = told.get("host") or host
    return Address(told.get("scheme") or network.scheme_of(host) or scope["scheme"], host, prefix, stripped)


def caller(network: Network, scope: Scope) -> str:
    """Return the address from which a request comes, as far as trusted proxies tell it.

    Each proxy adds the one that called it at the end of X-Forwarded-For; what stands before the last that is
    no proxy's can be anybody's invention. Where every caller is trusted the last one counts.
    """
    client = scope.get("client")
    address = str(client[0]) if client else ""
    told = Headers(scope=scope).getlist("x-forwarded-for")
    hops = (
        [hop.strip() for hop in ",".join(told).split(",") if hop.strip()] if network.trusts(address) else []
    )
    if "*" in network.proxies:
        address, hops = (hops or [address])[-1], []
    while hops and network.trusts(address):
        address = hops.pop()
    return address[:LONGEST_ADDRESS]


def _origin(network: Network, headers: Headers, own: list[str], is_public: bool) -> str:
    """Return the request's origin if it has one that is the page's own or allowed; raise for another."""
    origin = headers.get("origin", "").lower()
    scheme, _, place = origin.partition("://")
    is_own = bool(place) and place in own and scheme in ("http", "https")
    if not origin or network.allows(origin) or (is_own and network.scheme_of(place) in ("", scheme)):
        return origin
    if is_public:  # so that a page which a proxy shows can say itself what is refused, and why
        return ""
    if scheme not in ("http", "https") or not _HOST.fullmatch(place):
        raise ForbiddenError(403, "Requests from other sites are refused.")
    raise ForbiddenError(
        403, f"Requests from {origin} are refused. If the page is yours there, {_how(origin)}."
    )


def _unknown(network: Network, scope: Scope, headers: Headers, host: str) -> str:
    scheme = "https" if _first(headers, "x-forwarded-proto") == "https" else scope["scheme"]
    return f"The page does not answer as {_name(host)}. If the name is yours, {_how(f'{scheme}://{host}')}."


def _how(origin: str) -> str:
    return (
        f'allow it: ALLOWED_ORIGINS = ["{origin}"] in config.py, '
        f"WORD_LENS_ALLOWED_ORIGINS={origin}, or --allowed-origin {origin}"
    )


def _forwarded(network: Network, scope: Scope, headers: Headers) -> dict[str, str]:
    """Return what a trusted proxy says of the address: some of scheme, host and prefix."""
    client = scope.get("client")
    if not client or not network.trusts(client[0]):
        return {}
    told = {"host": _host(headers, "x-forwarded-host"), "scheme": _first(headers, "x-forwarded-proto")}
    prefix = _first(headers, "x-forwarded-prefix").rstrip("/")
    return {
        "host": told["host"],
        "scheme": told["scheme"] if told["scheme"] in ("http", "https") else "",
        "prefix": prefix if _PREFIX.fullmatch(prefix) else "",
    }


def _host(headers: Headers, header: str) -> str:
    """Return a host, with its port if any; raise for what can be none."""
    host = _first(headers, header).lower()
    if (host or header == "host") and not _HOST.fullmatch(host):
        raise ForbiddenError(400, "The request's host is not a name or an address.")
    return host


def _referred(headers: Headers, origin: str) -> str | None:
    """Return the path before the page's own as the browser has it; None if it does not say."""
    referer = headers.get("referer", "")
    if not referer.lower().startswith(f"{origin}/"):
        return None
    path = re.split(r"[?#]", referer[len(origin) :], maxsplit=1)[0].rpartition("/")[0]
    return path if _PREFIX.fullmatch(path) else None


def _first(headers: Headers, header: str) -> str:
    """Return the first of a header's values: each proxy adds its own at the end."""
    return headers.get(header, "").partition(",")[0].strip()


def _name(host: str) -> str:
    """Return a host without its port and without brackets."""
    return re.sub(r":\d+$", "", host).strip("[]")


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
