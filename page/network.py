"""Where the page is served and under which addresses it is known: settings, and what follows from them.

Goes in: the command line, the environment, `config.py`. Comes out: a `Network`, which knows the page's own
names, its proxies and its visitors. Knows nothing of HTTP.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import config
from page.environment import VARIABLES

_OPTIONS = {"ALLOWED_ORIGINS": "--allowed-origin", "TRUSTED_PROXIES": "--trusted-proxy"}  # one at a time
THIS_COMPUTER = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Network:
    """Where the page is served, and who is who around it. Names and addresses are in small letters.

    Attributes:
        host: where it listens: a name or an address, IPv6 without brackets.
        port: at which port.
        root: the address that ROOT_PATH gives, "scheme://name", or empty.
        prefix: the path that a proxy puts before the page's own, "/lens", or empty.
        origins: where else it may be open, each "scheme://name" or "scheme://*.name", with the port if any.
        proxies: whose forwarded headers count: networks, or "*" for everyone.
        people: (name, password) of who may open it; empty for everyone.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    root: str = ""
    prefix: str = ""
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    people: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def knows(self, name: str) -> bool:
        """Return whether the page is known by this name or address, which has no port.

        Only a name with a dot can be somebody else's who points it here. So a page that is served to other
        computers answers under every address and every bare name, and one for this computer under its own.
        """
        own = {*THIS_COMPUTER, self.host, *(urlsplit(origin).hostname for origin in self.origins)}
        if name in own or any(_ends_so(name, own_name) for own_name in own):
            return True
        hostname = socket.gethostname().lower()
        return self.is_open and (
            "." not in name or _is_address(name) or name in (hostname, f"{hostname}.local")
        )

    def allows(self, origin: str) -> bool:
        """Return whether ALLOWED_ORIGINS has this origin, which is "scheme://name" with the port if any."""
        scheme, _, place = origin.partition("://")
        name, colon, port = place.partition(":")
        for allowed in self.origins:
            its_scheme, _, its_place = allowed.partition("://")
            if origin == allowed:
                return True
            if its_scheme == scheme and its_place.startswith("*."):
                its_name, its_colon, its_port = its_place.partition(":")
                if _ends_so(name, its_name) and (colon, port) == (its_colon, its_port):
                    return True
        return False

    def scheme_of(self, place: str) -> str:
        """Return the scheme under which a host is allowed, or an empty text where it is not or by both."""
        schemes = [scheme for scheme in ("http", "https") if self.allows(f"{scheme}://{place}")]
        return schemes[0] if len(schemes) == 1 else ""

    def trusts(self, address: str) -> bool:
        """Return whether forwarded headers count that come from this address."""
        if "*" in self.proxies:
            return True
        if not _is_address(address):
            return False
        caller = ipaddress.ip_address(address)
        return any(caller in ipaddress.ip_network(proxy, strict=False) for proxy in self.proxies)

    @property
    def is_shared(self) -> bool:
        """Whether other people can have it: directly, by a proxy or a tunnel, or by a login."""
        return self.is_open or bool(self.root or self.prefix or self.origins or self.proxies or self.people)

    @property
    def is_open(self) -> bool:
        """Whether other computers reach it without a proxy."""
        return self.host != "localhost" and not (
            _is_address(self.host) and ipaddress.ip_address(self.host).is_loopback
        )


def chosen(command_line: Mapping[str, Any], variables: Mapping[str, str]) -> Network:
    """Return the network: of each setting the command line's value, else the environment's, else config's.

    Raises:
        ValueError: one line that names the setting as it was given, what it may be, and what it was.
    """
    given = {name: _value(name, command_line.get(name), variables) for name in VARIABLES}
    if "SPACE_HOST" in variables:  # a Hugging Face Space: https://owner-name.hf.space
        given["ALLOWED_ORIGINS"] = [*given["ALLOWED_ORIGINS"], f"https://{variables['SPACE_HOST']}"]
    parts = urlsplit(given["ROOT_PATH"].rstrip("/"))
    root = f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""
    origins = [origin.rstrip("/").lower() for origin in given["ALLOWED_ORIGINS"]]
    return Network(
        host=given["HOST"].lower().strip("[]"),
        port=given["PORT"],
        root=root,
        prefix=parts.path,
        origins=tuple(dict.fromkeys([*origins, root] if root else origins)),
        proxies=tuple(given["TRUSTED_PROXIES"]),
        people=_people(given["AUTH"]),
    )


def _value(name: str, argument: Any, variables: Mapping[str, str]) -> Any:
    """Return a setting's value from the first place that has one."""
    told = {variable: variables[variable] for variable in VARIABLES[name] if variables.get(variable)}
    if argument is not None:
        called, value = _OPTIONS.get(name, f"--{name.lower().replace('_', '-')}"), argument
    elif told:
        if len({_parsed(name, text) for text in told.values()}) > 1:
            raise ValueError(f"{' and '.join(told)} say different things: unset one of them.")
        called, text = next(iter(told.items()))
        value = _parsed(name, text)
        value = list(value) if isinstance(value, tuple) else value
    else:
        return getattr(config, name)
    if not config.RULES[name][1](value):
        raise ValueError(config.wrong(name, value, called))
    return value


def _parsed(name: str, text: str) -> Any:
    """Return a variable's text as the setting's kind of value, or as it is where it is none."""
    if name == "PORT":
        return int(text) if re.fullmatch(r"\s*\d{1,9}\s*", text) else text
    if isinstance(getattr(config, name), (list, tuple)):
        return tuple(one.strip() for one in text.split(",") if one.strip())
    return text.strip()


def _people(entries: list[str]) -> tuple[tuple[str, str], ...]:
    """Return (name, password) of each entry, those of the files that are named among them."""
    lines: list[str] = []
    for entry in entries:
        if not entry.startswith("@"):
            lines.append(entry)
            continue
        file = Path(entry[1:]).expanduser()
        try:
            found = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise ValueError(f"AUTH: {file} cannot be read: {reason}.") from None
        if not found or any(line.startswith("@") for line in found) or not config.RULES["AUTH"][1](found):
            raise ValueError(f'AUTH: {file} must have a "name:password" in each line.')
        lines.extend(found)
    people = [(name.strip(), password) for name, _, password in (line.partition(":") for line in lines)]
    if len({name for name, _ in people}) < len(people):
        raise ValueError("AUTH must have each name once.")
    return tuple(people)


def _ends_so(name: str, pattern: str | None) -> bool:
    """Return whether a name is one of those that "*.example.org" stands for."""
    return (
        pattern is not None
        and pattern.startswith("*.")
        and name.endswith(pattern[1:])
        and name != pattern[1:]
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
