"""The page by itself, for a server elsewhere: `empathetic-ui --server http://HOST:PORT`, with `--share` for a public link."""

from __future__ import annotations

import argparse
import os


def main() -> None:
    """Show the page until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="empathetic-ui", description="Show the web page of an EmpatheticAI server elsewhere.")
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="the server's address (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: %(default)s)")
    parser.add_argument("--share", action="store_true", help="also show it under a public link, through Gradio's own servers")
    arguments = parser.parse_args()
    # Gradio reads these when it is imported.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from .page import LOOK, Page  # noqa: PLC0415  # `--help` does not wait for Gradio
    from .service import Service, is_address  # noqa: PLC0415  # as above

    if not is_address(arguments.server):
        parser.error("--server must begin with http:// or https://")
    Page(Service(None, arguments.server)).blocks.launch(
        server_name=arguments.host,
        server_port=arguments.port,
        share=arguments.share,
        **LOOK,
    )


if __name__ == "__main__":
    main()
