"""Fixtures that several tests here share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from page.network import Network
from page.site import Page
from tests.page.security.kit import At, Visitor
from tests.serving import free_port, served


@pytest.fixture(scope="module")
def behind(folders: tuple[Path, Path]) -> Iterator[tuple[Page, str]]:
    """A page that believes a proxy on this computer about who calls, and its address."""
    with served(str(folders[0]), network=Network(port=free_port(), proxies=("127.0.0.1",))) as page_and_url:
        yield page_and_url


@pytest.fixture
def page(behind: tuple[Page, str]) -> Page:
    return behind[0]


@pytest.fixture
def at(behind: tuple[Page, str]) -> Iterator[At]:
    """Return a visitor at an address."""
    visitors: list[Visitor] = []

    def visitor(address: str) -> Visitor:
        visitors.append(Visitor(behind[1], address))
        return visitors[-1]

    yield visitor
    for one in visitors:
        one.http.close()
