"""The HTTP side of the scripted model: it checks keys, records requests, and streams what `script` says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.model_servers import anthropic, chat, gemini, openai
from tests.model_servers.script import Directive

KEY = "sk-scripted-0123456789abcdef"
_PROVIDERS = (anthropic, openai, chat, gemini)


@dataclass(frozen=True)
class Request:
    """What a model was asked, and with which key."""

    path: str
    key: str
    body: dict[str, Any]
    query: str = ""
    waits: bool = False
    """Whether something happens before it is answered, such as a pause."""


@dataclass
class ModelServer:
    """A running server."""

    url: str
    key: str = KEY
    """The key that it takes."""
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def environment(self, key: str = "") -> dict[str, str]:
        """Variables that lead agents here, with its key or another one."""
        key = key or self.key
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": key,
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": key,
            "GOOGLE_GEMINI_BASE_URL": self.url,
            "GEMINI_API_KEY": key,
            "COPILOT_PROVIDER_BASE_URL": f"{self.url}/v1",
            "COPILOT_PROVIDER_API_KEY": key,
        }


@contextlib.contextmanager
def model_server(key: str = KEY) -> Iterator[ModelServer]:
    """Serve on a free port of this machine."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    model = ModelServer(f"http://127.0.0.1:{http.server_port}", key)
    http.model = model  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        model.closing.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        model: ModelServer = self.server.model  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        path, _, query = self.path.partition("?")
        provider: Any = next((each for each in _PROVIDERS if each.serves(path)), None)
        if provider is None:
            return self._send(404, {"error": {"message": f"there is no {path}"}})
        key = provider.key_of({name.lower(): value for name, value in self.headers.items()})
        reply = provider.reply_to(body)
        model.requests.append(Request(path, key, body, query, waits=bool(reply.before)))
        if key != model.key:
            return self._send(401, provider.error(401))
        for directive in reply.before:
            if directive.name == "status":
                status = int(directive.arguments[0])
                return self._send(status, provider.error(status))
        # A client that is killed while it listens is what many a test is about.
        with contextlib.suppress(ConnectionError):
            if provider.streams(path, body):
                pieces = [_told(event) for event in provider.events(body, reply)]
                if provider is chat:
                    pieces.append(f"data: {chat.END}\n\n".encode())
                self._begin(200, "text/event-stream")
            else:
                whole = json.dumps(provider.whole(body, reply)).encode()
                pieces = [whole[:10], whole[10:]]
                self._begin(200, "application/json", len(whole))
            self._answer(model, reply.before, pieces)

    def _answer(self, model: ModelServer, before: tuple[Directive, ...], pieces: list[bytes]) -> None:
        for directive in before:
            match directive.name:
                case "sleep":
                    model.closing.wait(float(directive.arguments[0]))
                case "hang":
                    self._write(pieces[0])
                    model.closing.wait()
                    return
                case "end":
                    self._write(pieces[0])
                    return
        for piece in pieces:
            self._write(piece)

    def _write(self, piece: bytes) -> None:
        self.wfile.write(piece)
        self.wfile.flush()

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self._begin(status, "application/json", len(data))
        self._write(data)

    def _begin(self, status: int, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: a test says what it wants to see."""


def _told(event: dict[str, Any]) -> bytes:
    """An event of a stream."""
    named = f"event: {event['type']}\n" if "type" in event else ""
    return f"{named}data: {json.dumps(event)}\n\n".encode()
