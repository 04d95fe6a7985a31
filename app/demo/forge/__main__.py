"""`python -m app.demo.forge`: serve the demonstration forge until SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from app.demo.forge.application import create_app
from app.demo.forge.forge import Forge


class Handler(WSGIRequestHandler):
    # Git cannot send a large push to a server with an older version.
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes. With Nagle's algorithm the second would wait for an acknowledgement.
    disable_nagle_algorithm = True

    def log_request(self, *_: object) -> None:
        """Log nothing, because request lines may contain secrets."""


def main(make_app: Callable[[Forge], Flask] = create_app) -> None:
    parser = argparse.ArgumentParser(prog="python -m app.demo.forge", description=sys.modules["__main__"].__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the repositories, <owner>/<name>.git")
    parser.add_argument("--port", type=int, default=0, help="port on loopback (default: any free port)")
    parser.add_argument(
        "--token-file",
        type=Path,
        required=True,
        help="file with tokens that may read and write, one a line, each with the name of its owner behind it, or none",
    )
    parser.add_argument("--read-only-token-file", type=Path, help="file with tokens that may only read, as above")
    parser.add_argument(
        "--protect", action="append", default=[], metavar="BRANCH", help="branch that accepts no pushes, only merges"
    )
    parser.add_argument("--no-drafts", action="store_true", help="refuse drafts, as GitHub does on some plans")
    given = parser.parse_args()
    files = {given.read_only_token_file: False, given.token_file: True}
    lines = [(line.split(), may) for file, may in files.items() if file for line in file.read_text().splitlines()]
    tokens = {words[0]: may for words, may in lines if words}
    logins = {words[0]: words[1] for words, _ in lines if words[1:]}
    forge = Forge(given.root.resolve(), tokens, not given.no_drafts, given.protect, logins)
    server = make_server("127.0.0.1", given.port, make_app(forge), threaded=True, request_handler=Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"The demonstration forge listens at http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
