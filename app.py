"""The page: `python app.py`, then http://127.0.0.1:7860. Arguments, then serve; the rest is in `page/`."""

import argparse
import sys
from collections.abc import Sequence

import config
from drawing.colours import palette
from model import ModelError, joined
from page import environment
from page.network import Network, chosen
from page.serve import check_port, prepared, serve
from utils import WHOLE, one_line


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(
        prog="python app.py", description="Open a page that shows where each word looks."
    )
    parser.add_argument("--model", help="demo, a folder, or a hub id: loaded at the start")
    parser.add_argument(
        "--adapter", metavar="DIR", help="a LoRA folder, applied to --model or to its own base"
    )
    parser.add_argument("--host", help=f"default: {config.HOST}; 127.0.0.1 is this computer only")
    parser.add_argument("--port", type=int, help=f"default: {config.PORT}")
    parser.add_argument("--root-path", metavar="PATH", help="what a proxy puts before the page's own address")
    parser.add_argument(
        "--allowed-origin",
        metavar="URL",
        action="append",
        dest="allowed_origins",
        help="where else people open the page, such as https://lens.example.org; can be given several times",
    )
    parser.add_argument(
        "--trusted-proxy",
        metavar="ADDRESS",
        action="append",
        dest="trusted_proxies",
        help="whose X-Forwarded-Host, -Proto and -Prefix count; can be given several times",
    )
    return parser.parse_args(argv)


def in_network(args: argparse.Namespace) -> Network:
    """Return where to serve: by the command line, the environment and config.py, in this order."""
    variables = environment.said()
    if idle := environment.check(variables):
        print(idle, file=sys.stderr)
    network = chosen({name.upper(): value for name, value in vars(args).items()}, variables)
    if network.is_open and not network.people and "SPACE_ID" not in variables:
        print(
            "Whoever reaches this computer can use the page; AUTH in config.py has them log in.",
            file=sys.stderr,
        )
    return network


def main(argv: Sequence[str] | None = None) -> int:
    """Start the page and return an exit code: 2 for something to correct."""
    args = arguments(argv)
    try:
        config.validate()
        palette(config.HEATMAP_COLORMAP)
        network = in_network(args)
        check_port(network.host, network.port)
        page = prepared(joined(args.model or "", args.adapter) if args.adapter else args.model)
        print(f"Open {serve(page, network)}  (Ctrl-C ends it)", flush=True)
    except (ModelError, ValueError) as error:
        print(one_line(error, WHOLE), file=sys.stderr)
        return 2
    page.blocks.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
