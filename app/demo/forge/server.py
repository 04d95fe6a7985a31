"""The forge as one HTTP server: a thread for each connection, and three kinds of answers."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from app.demo.forge import api, faults
from app.demo.forge.access import Access
from app.demo.forge.faults import Faults
from app.demo.forge.hooks import write_hooks
from app.demo.forge.messages import Answer, Refused, Request, as_json, body_pieces, discard_body
from app.demo.forge.pages import Pages
from app.demo.forge.pulls import Pulls
from app.demo.forge.repositories import Repositories
from app.demo.forge.smart_http import SmartHttp
from app.demo.forge.store import Store

_BODY_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class Options:
    """How the forge was started."""

    root: Path
    port: int
    tokens: list[str] = field(repr=False)
    read_only_tokens: list[str] = field(default_factory=list, repr=False)
    protected: list[str] = field(default_factory=list)
    drafts: bool = True
    faults: bool = False


class DemoForge(ThreadingHTTPServer):
    """Listens on loopback from the moment it is made; `serve_forever` answers."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, options: Options) -> None:
        own = options.root / ".forge"
        orders = own / "orders"
        orders.mkdir(parents=True, exist_ok=True)
        write_hooks(own / "hooks")
        repositories = Repositories(options.root)
        access = Access(options.tokens, options.read_only_tokens)
        self.store = Store(own / "pulls.sqlite3")
        pulls = Pulls(self.store, drafts=options.drafts)
        self.access = access
        self.faults = Faults(access, orders, options.protected, enabled=options.faults)
        self.api = api.Api(repositories, pulls, access)
        self.pages = Pages(repositories, pulls, access)
        self.git = SmartHttp(repositories, access, own / "hooks", orders)
        super().__init__(("127.0.0.1", options.port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is no error of the forge."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: DemoForge
    protocol_version = "HTTP/1.1"
    server_version = "DemoForge"
    sys_version = ""
    timeout = 60
    # Headers and body are two writes; the second would wait for the first one's acknowledgement.
    disable_nagle_algorithm = True

    def answer_request(self) -> None:
        url = urlsplit(self.path)
        asked = f"{self.command} {self.path}"
        self.server.faults.hold("before", asked)
        away = self.server.faults.instead()
        if away is not None and url.path != faults.PATH:
            discard_body(self.headers, self.rfile)
            self._send(away)
            return
        if self.server.git.serve(self, url.path, url.query, self.server.faults):
            return
        request = self._read(url.path, url.query)
        if request is None:
            return
        if request.path == faults.PATH:
            self._send(self._order(request))
        elif request.path.startswith(api.PREFIX):
            answer = self.server.api.answer(request)
            self.server.faults.hold("after", asked)
            if request.method == "POST" and self.server.faults.loses_answer():
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self._send(answer)
        else:
            self._send(self.server.pages.answer(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer_request

    def _read(self, path: str, query: str) -> Request | None:
        """The whole request; None where it was too large or broken, and has been answered."""
        body = b""
        try:
            for piece in body_pieces(self.headers, self.rfile):
                body += piece
                if len(body) > _BODY_BYTES:
                    self.send_error(413)
                    self.close_connection = True
                    return None
        except ValueError:
            self.send_error(400)
            self.close_connection = True
            return None
        return Request(self.command, path, dict(parse_qsl(query)), self.headers, body)

    def _order(self, request: Request) -> Answer:
        try:
            if request.method not in ("GET", "PUT") or not self.server.access.owns(request.headers):
                raise Refused(404, "Not Found")
            if request.method == "GET":
                return as_json(self.server.faults.told())
            self.server.faults.order(json.loads(request.body))
        except Refused as refusal:
            return refusal.answer()
        return Answer(204)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.status != 204:
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged: a request's line may hold what nobody should read."""
