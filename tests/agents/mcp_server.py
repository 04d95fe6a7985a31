"""A server of the Model Context Protocol with two tools, over HTTP or standard input and output. It is also a program:
`python mcp_server.py` serves over standard input and output, and needs nothing that is not in Python."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

credentials: list[str] = []
"""What callers over HTTP have sent."""
TOOLS = ("lookup", "delete")


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """The answer to a message, unless it wants none."""
    match message.get("method"):
        case "initialize":
            version = message["params"]["protocolVersion"]
            result = {
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "test", "version": "1"},
            }
        case "tools/list":
            result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
        case "tools/call":
            said = f"the answer is {40 + 2} {os.environ.get('REGION', '')}"
            result = {"content": [{"type": "text", "text": said}]}
        case _:
            result = {}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result} if "id" in message else None


class Handler(BaseHTTPRequestHandler):
    """Streamable HTTP without streams and sessions."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        said = answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps(said).encode() if said else b""
        if self.headers["Authorization"]:
            credentials.append(self.headers["Authorization"])
        self.send_response(200 if said else 202)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(405)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def mcp_server() -> Iterator[int]:
    """Serve on a free port of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


if __name__ == "__main__":
    for line in sys.stdin:
        if (said := answer(json.loads(line))) is not None:
            print(json.dumps(said), flush=True)
