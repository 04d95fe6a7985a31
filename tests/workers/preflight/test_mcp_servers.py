"""What a preflight finds of a site's MCP servers, at a server whose paths answer in different ways."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workers.job import BoundSecret, Host, McpServer
from workers.preflight import Check
from workers.preflight.mcp_servers import check_mcp_servers

KEY = "key-of-the-team"


class _Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/closed" and self.headers["Authorization"] != f"Bearer {KEY}":
            return self._answer(401, "who are you?")
        if self.path == "/missing":
            return self._answer(404, "")
        if self.path == "/page":
            return self._answer(200, "<html>")
        if "id" not in message:
            return self._answer(202, "")
        if message["method"] == "initialize":
            result: dict[str, object] = {"protocolVersion": "2025-03-26", "capabilities": {"tools": {}}}
            return self._answer(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))
        assert self.headers["MCP-Protocol-Version"] == "2025-03-26" and self.headers["Mcp-Session-Id"] == "s1"
        result = self._tools(message["params"].get("cursor"))
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
        return self._answer(200, f"event: message\ndata: {body}\n\n" if self.path == "/stream" else body)

    def _tools(self, cursor: str | None) -> dict[str, object]:
        if self.path == "/empty":
            return {"tools": []}
        if self.path == "/stream" and cursor is None:
            return {"tools": [{"name": "delete"}], "nextCursor": "2"}
        return {"tools": [{"name": "lookup"}, {"name": "[a link](https://elsewhere)"}]}

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Mcp-Session-Id", "s1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def found(tmp_path: Path, url: str) -> Callable[..., Check]:
    """Check a server at a path, for a site with a secret that is bound to its host."""

    def check(path: str, secret: str = KEY, **fields: object) -> Check:
        bound = BoundSecret("TOKEN", url, "Authorization", "Bearer ", secret)
        server = McpServer("docs", url=url + path, **fields)  # type: ignore[arg-type]
        (only,) = check_mcp_servers([server], [bound], Host(tmp_path, allow_private_addresses=True))
        assert only.name == "mcp_server" and only.message.startswith("docs: ")
        assert secret not in only.message and "elsewhere" not in only.message
        return only

    return check


def test_a_server_that_works_lists_its_tools(found: Callable[..., Check]) -> None:
    assert found("/closed", credential="TOKEN").message == "docs: it lists 2 tools: lookup and 1 more."
    assert found("/stream").message == "docs: it lists 3 tools: delete, lookup and 1 more."


@pytest.mark.parametrize(
    ("path", "fields", "code", "said"),
    [
        ("/closed", {}, "mcp_credential_refused", "Bind a secret to its host"),
        ("/closed", {"credential": "TOKEN", "secret": "another"}, "mcp_credential_refused", "refused the secret TOKEN"),
        ("/open", {"credential": "OTHER"}, "mcp_credential_missing", "no secret OTHER that is bound to its host"),
        ("/missing", {}, "mcp_bad_answer", "answers with status 404"),
        ("/page", {}, "mcp_bad_answer", "has no result for initialize"),
        ("/empty", {}, "mcp_no_tools", "lists no tools"),
        ("/open", {"disabled_tools": ("lookup", "delete")}, "mcp_unknown_tool", "no tool delete"),
    ],
)
def test_what_is_wrong_has_a_code_and_a_remedy(found, path: str, fields, code: str, said: str) -> None:
    check = found(path, **fields)
    assert (check.status, check.code) == ("failed", code) and said in check.message


def test_a_server_that_cannot_be_reached_or_is_a_program(tmp_path: Path, url: str) -> None:
    servers = [McpServer("gone", url="http://127.0.0.1:9/mcp"), McpServer("local", command=("docs-mcp",))]
    gone, local = check_mcp_servers(servers, [], Host(tmp_path, allow_private_addresses=True))
    assert (gone.code, local.status) == ("mcp_unreachable", "skipped")
    (private,) = check_mcp_servers([McpServer("inside", url=f"{url}/open")], [], Host(tmp_path))
    assert private.code == "mcp_unreachable" and "inside: " in private.message
