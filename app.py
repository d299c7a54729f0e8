"""The page: `python app.py`, then http://127.0.0.1:7860. Arguments, then serve; the rest is in `page/`."""

import argparse
import sys
from collections.abc import Sequence

import config
from drawing.colours import palette
from model import ModelError, joined
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
    parser.add_argument("--host", default=config.HOST, help="default: %(default)s, this computer only")
    parser.add_argument("--port", type=int, default=config.PORT, help="default: %(default)s")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Start the page and return an exit code: 2 for something to correct."""
    args = arguments(argv)
    try:
        config.validate()
        palette(config.HEATMAP_COLORMAP)
        check_port(args.host, args.port)
        page = prepared(joined(args.model or "", args.adapter) if args.adapter else args.model)
        print(f"Open {serve(page, args.host, args.port)}  (Ctrl-C ends it)", flush=True)
    except (ModelError, ValueError) as error:
        print(one_line(error, WHOLE), file=sys.stderr)
        return 2
    page.blocks.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
