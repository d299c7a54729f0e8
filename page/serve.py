"""The page at an address: with its model, on a port that is free, behind its guard.

Goes in: a model's name, and where to serve it. Comes out: a page that answers there. Knows
nothing of callbacks.
"""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import config
import viewer
from model import DEMO, ModelError, default_model
from page.calls import handlers
from page.guard import middleware
from page.inputs import RefusedError
from page.layout import theme
from page.limits import WORKERS
from page.model_room import ModelRoom
from page.network import THIS_COMPUTER, Network
from page.parts import text_of
from page.site import Page
from utils import WHOLE, one_line

STYLES = ("page.css", "menus.css", "sources.css", "gradcam.css", "recent.css", "phone.css")


def prepared(name: str | None) -> Page:
    """Return the page with its model: the one asked for, or the default where that needs no waiting.

    Raises:
        ModelError: one line, if a model that was asked for cannot be loaded.
    """
    room, chosen, problem = ModelRoom(), name or default_model(), ""
    if name or chosen == DEMO:
        print(f"Loading {chosen} …", flush=True)
        try:
            room.load(chosen)
        except ModelError as error:
            if name:
                raise
            problem = one_line(error, WHOLE)
            print(problem, file=sys.stderr)
    return Page(room, chosen, problem)


def serve(page: Page, network: Network) -> str:
    """Start to answer in this network, and return the address on this computer.

    Raises:
        RefusedError: one line, if the port is taken or the host is none of this computer's.
    """
    page.is_shared = network.is_shared
    host = f"[{network.host}]" if ":" in network.host else network.host
    try:
        with _without_proxy(network.host):
            _, url, _ = page.blocks.launch(
                server_name=host,
                server_port=network.port,
                share=False,
                inbrowser=False,
                prevent_thread_lock=True,
                quiet=True,
                show_error=False,
                auth=list(network.people) or None,
                root_path="",  # the guard knows it
                num_workers=0,
                max_threads=WORKERS,
                max_file_size=config.MAX_UPLOAD.replace(" ", ""),
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                footer_links=["api"],
                app_kwargs={
                    "middleware": middleware(network, page.people, page.files, page.blocks._queue),
                    "exception_handlers": handlers(),
                },
                theme=theme(),
                css="".join(map(text_of, STYLES)),
                # Gradio leaves container queries out of what it is given as css.
                head=f"<style>{viewer.assets()['css']}</style>",
            )
    except OSError:
        problem = port_problem(network.host, network.port)
        raise RefusedError(f"Port {network.port} at {network.host} cannot be used: {problem}") from None
    return url


@contextmanager
def _without_proxy(host: str) -> Iterator[None]:
    """Let Gradio reach the page itself, as it does at the start, where HTTP_PROXY names a proxy for all."""
    before = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    own = ",".join(dict.fromkeys([*THIS_COMPUTER, host]))
    for name, value in before.items():
        os.environ[name] = f"{value},{own}" if value else own
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def check_port(host: str, port: int) -> None:
    """Return if a server can listen there.

    Raises:
        RefusedError: one line, with the reason.
    """
    if problem := port_problem(host, port):
        raise RefusedError(f"Port {port} at {host} cannot be used: {problem}")


def port_problem(host: str, port: int) -> str:
    """Return what keeps a server from listening there, or an empty text."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "another program listens there. Close it, or choose another port with --port."
        return f"{error.strerror}."
    return ""
