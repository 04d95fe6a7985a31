"""What tests of the network have outside of the sandbox: servers to be reached, or not, and the asker inside."""

from __future__ import annotations

import contextlib
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from workers.egress.process import PORT


@dataclass
class Outside:
    """A web server on this machine, and what it was asked for: `Host` header and path, with the body."""

    port: int
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    redirect: str | None = None
    """Where to send whoever asks for `/redirect`."""


@contextlib.contextmanager
def web_server() -> Iterator[Outside]:
    """Serve on a free port of the loopback address."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    outside = Outside(http.server_port)
    http.outside = outside  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield outside
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        outside: Outside = self.server.outside  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        outside.asked.append((self.headers.get("Host", ""), self.path, body))
        if self.path == "/redirect" and outside.redirect:
            self.send_response(302)
            self.send_header("Location", outside.redirect)
        else:
            self.send_response(200)
        answer = b"hello from outside\n"
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: a test says what it wants to see."""


ASKING = f"""
import socket, sys, urllib.request, urllib.error

def proxy():
    return socket.create_connection(("127.0.0.1", {PORT}), 20)

def connect(target):
    asking = proxy()
    asking.sendall(f"CONNECT {{target}} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
    return asking, asking.recv(4096)

def refused(target):
    status = connect(target)[1].split()[1].decode()
    print("asked for", target, status, flush=True)
"""


def python(program: str) -> str:
    """A shell script that runs a Python program which can ask the proxy."""
    return f"exec python3 - <<'END'\n{ASKING}\n{textwrap.dedent(program)}\nEND\n"
