"""Whether the MCP servers of a site answer, take their credential, and have tools. No tool is called."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from workers.egress.gateway.providers import host_of
from workers.errors import EngineError
from workers.forges.http import Answer, BadAnswer, Client, Limits, Unreachable
from workers.job import BoundSecret, Host, McpServer
from workers.preflight import Check

_NAME = "mcp_server"
_VERSION = "2025-06-18"
_SECONDS, _SECONDS_OF_ALL = 8.0, 30.0
_PAGES = 5
_ANSWER_BYTES = 1024**2
# The names come from somebody else's server, so only those that are plain words are shown, and not all of many.
_PLAIN = re.compile(r"[\w./-]{1,64}", re.ASCII)
_SHOWN = 20
_CLIENT = {"name": "agent-runners", "version": "1"}
_HELLO = {"protocolVersion": _VERSION, "capabilities": {}, "clientInfo": _CLIENT}


class _NotMcp(Exception):
    """The answer is none of the protocol. The message says what it is instead."""


def check_mcp_servers(servers: Sequence[McpServer], bound: Sequence[BoundSecret], host: Host) -> Iterator[Check]:
    """Check each server. `bound` has the secrets that the site's servers may name as their credential."""
    ends_at = time.monotonic() + _SECONDS_OF_ALL
    for server in servers:
        if server.url is None:
            yield _skipped(server, "it is a program in the sandbox, which only a session starts.")
        elif (left := ends_at - time.monotonic()) <= 0:
            yield _skipped(server, "it was not tried, because the servers before it took too long to answer.")
        else:
            yield _check(server, server.url, bound, host, min(left, _SECONDS))


def _check(server: McpServer, url: str, bound: Sequence[BoundSecret], host: Host, seconds: float) -> Check:
    headers: dict[str, str] = {}
    if server.credential is not None:
        mine = (each for each in bound if each.name == server.credential and host_of(each.url) == host_of(url))
        secret = next(mine, None)
        if secret is None:
            message = f"there is no secret {server.credential} that is bound to its host. Add it to the site."
            return _failed(server, "mcp_credential_missing", message)
        headers[secret.header] = secret.prefix + secret.value
    limits = Limits(call_seconds=seconds, total_seconds=seconds, calls=_PAGES + 2, answer_bytes=_ANSWER_BYTES)
    try:
        conversation = _Conversation(Client(url, host, limits), url, headers)
        conversation.greet()
        return _judge(server, list(conversation.tools()))
    except _Refused as refused:
        return _failed(server, "mcp_credential_refused", _advice(server, refused.status))
    except EngineError as error:
        return _failed(server, "mcp_unreachable", error.message)
    except Unreachable as error:
        return _failed(server, "mcp_unreachable", f"it did not answer: {error}. Check its url and its state.")
    except (BadAnswer, _NotMcp) as error:
        message = (
            f"what answers at its url does not speak MCP over streamable HTTP: it {error}. Check the path of the url."
        )
        return _failed(server, "mcp_bad_answer", message)


def _judge(server: McpServer, tools: Sequence[str]) -> Check:
    if not tools:
        return _failed(
            server, "mcp_no_tools", "it lists no tools, so agents have no use of it. Remove it, or check it."
        )
    if unknown := sorted(set(server.disabled_tools) - set(tools)):
        message = f"it has no tool {', '.join(unknown)}, which disabled_tools names. Correct the name."
        return _failed(server, "mcp_unknown_tool", message)
    plain = [name for name in tools if _PLAIN.fullmatch(name)][:_SHOWN]
    more = f" and {len(tools) - len(plain)} more" if len(tools) > len(plain) else ""
    return Check(_NAME, "ok", f"{server.name}: it lists {len(tools)} tools: {', '.join(plain)}{more}.")


def _advice(server: McpServer, status: int) -> str:
    if server.credential is not None:
        return f"it refused the secret {server.credential} (status {status}). Replace it, or check its header."
    return (
        f"it wants a credential (status {status}). Bind a secret to its host, and name it as the server's credential."
    )


class _Refused(Exception):
    """The server refused the credential, or wants one."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Conversation:
    """Requests to one server. They raise what `Client.request` does, `_Refused` and `_NotMcp`."""

    def __init__(self, client: Client, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._client, self._target = client, f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        accepted = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        self._headers = {**accepted, **headers}
        self._calls = 0

    def greet(self) -> None:
        """Agree on the version of the protocol, as all that follows requires."""
        result = self.call("initialize", _HELLO)
        self._headers["MCP-Protocol-Version"] = str(result.get("protocolVersion") or _VERSION)
        self.send({"method": "notifications/initialized"})

    def tools(self) -> Iterator[str]:
        """The names of its tools, of the first pages."""
        cursor: object = None
        for _ in range(_PAGES):
            result = self.call("tools/list", {"cursor": cursor} if cursor else {})
            listed = result.get("tools")
            if not isinstance(listed, list):
                raise _NotMcp("lists no tools in its answer to tools/list")
            yield from (str(each["name"]) for each in listed if isinstance(each, dict) and "name" in each)
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str):
                return

    def call(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """The result of a request."""
        self._calls += 1
        answer = self.send({"id": self._calls, "method": method, "params": params})
        for message in _messages(answer):
            if message.get("id") == self._calls and isinstance(result := message.get("result"), dict):
                return result
        raise _NotMcp(f"has no result for {method}")

    def send(self, message: Mapping[str, object]) -> Answer:
        """Send a message, and return what its server answers."""
        content = json.dumps({"jsonrpc": "2.0", **message})
        answer = self._client.request("POST", self._target, self._headers, content)
        if answer.status in (401, 403):
            raise _Refused(answer.status)
        if not 200 <= answer.status < 300:
            raise _NotMcp(f"answers with status {answer.status}")
        for name, value in answer.headers.items():
            if name.lower() == "mcp-session-id":
                self._headers["Mcp-Session-Id"] = value
        return answer


def _messages(answer: Answer) -> Iterator[dict[str, Any]]:
    """The JSON objects of an answer, which is one of them or a stream of events."""
    lines = (line.removeprefix("data:") for line in answer.text.splitlines() if line.startswith("data:"))
    for text in (answer.text, *lines):
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            yield message


def _failed(server: McpServer, code: str, message: str) -> Check:
    return Check(_NAME, "failed", f"{server.name}: {message}", code)


def _skipped(server: McpServer, message: str) -> Check:
    return Check(_NAME, "skipped", f"{server.name}: {message}")
