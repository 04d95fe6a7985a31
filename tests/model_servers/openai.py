"""OpenAI's Responses, as a stream of events: the way Codex talks to its model."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Iterator
from typing import Any

from tests.model_servers.script import FINAL, Directive, Reply, next_reply

_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def serves(path: str) -> bool:
    """Whether it is asked for."""
    return path == "/v1/responses"


def streams(path: str, body: dict[str, Any]) -> bool:
    """Whether the reply is a stream: always."""
    return True


def key_of(headers: dict[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")


def error(status: int) -> dict[str, Any]:
    """The body of a refusal."""
    message = "Incorrect API key provided." if status == 401 else f"scripted status {status}"
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": _CODES.get(status)}}


def reply_to(body: dict[str, Any]) -> Reply:
    """What the model does next."""
    return next_reply(_turns(body["input"]))


def events(body: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    """The reply as events of a stream."""
    item = _tool_call(body, reply.call) if reply.call else _message()
    given, produced = reply.usage
    usage = {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 50},
        "output_tokens": produced,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": given + produced,
    }
    response = {"id": f"resp_{uuid.uuid4().hex}", "object": "response", "model": body["model"], "output": []}
    payloads: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "output": [item], "usage": usage},
        },
    ]
    for number, event in enumerate(payloads):
        yield {**event, "sequence_number": number}


def _turns(items: list[dict[str, Any]]) -> Iterator[str | None]:
    for item in items:
        if item["type"] == "message" and item["role"] == "user":
            yield "\n".join(part.get("text", "") for part in item["content"])
        elif item["type"].endswith("_call_output"):
            yield None


def _message() -> dict[str, Any]:
    content = [{"type": "output_text", "text": FINAL, "annotations": []}]
    return {**_item("message"), "role": "assistant", "content": content}


def _tool_call(body: dict[str, Any], call: Directive) -> dict[str, Any]:
    """Some models are given a shell, others a tool that runs JavaScript, which reaches the shell and patches."""
    if call.name == "ask":
        asked = f"mcp__questions__ask({json.dumps(call.questions)})"
        return {**_item("custom_tool_call"), "name": "exec", "input": f"text(await tools.{asked});"}
    if call.name == "call":
        tool, arguments = call.arguments
        return {
            **_item("custom_tool_call"),
            "name": "exec",
            "input": f"text(await tools.{tool}({json.dumps(arguments)}));",
        }
    patch = _patch(call)
    if any(tool.get("name") == "exec_command" for tool in body.get("tools", [])):
        command = f"apply_patch {shlex.quote(patch)}" if patch else _command(call)
        arguments = json.dumps({"cmd": command, "yield_time_ms": 30_000})
        return {**_item("function_call"), "name": "exec_command", "arguments": arguments}
    wanted = f"apply_patch({json.dumps(patch)})" if patch else f"exec_command({json.dumps({'cmd': _command(call)})})"
    return {**_item("custom_tool_call"), "name": "exec", "input": f"text(await tools.{wanted});"}


def _item(kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "id": f"item_{uuid.uuid4().hex}",
        "call_id": f"call_{uuid.uuid4().hex}",
        "status": "completed",
    }


def _command(call: Directive) -> str:
    return call.texts[0] if call.name == "run" else shlex.join(["cat", call.texts[0]])


def _patch(call: Directive) -> str | None:
    match call.name, call.texts:
        case "write", [path, content]:
            lines = [f"*** Add File: {path}", *(f"+{line}" for line in content.splitlines())]
        case "edit", [path, old, new]:
            taken, given = ([f"{sign}{line}" for line in text.splitlines()] for sign, text in (("-", old), ("+", new)))
            lines = [f"*** Update File: {path}", "@@", *taken, *given]
        case _:
            return None
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch", ""])
