"""Anthropic's Messages, as a stream of events: the way Claude Code talks to its model."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from tests.model_servers.script import FINAL, Directive, Reply, filled_in, next_reply

_ERRORS = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
# The tool for each directive, and what its arguments are called.
_TOOLS = {
    "write": ("Write", ("file_path", "content")),
    "edit": ("Edit", ("file_path", "old_string", "new_string")),
    "read": ("Read", ("file_path",)),
    "run": ("Bash", ("command",)),
}


def serves(path: str) -> bool:
    """Whether it is asked for."""
    return path == "/v1/messages"


def streams(path: str, body: dict[str, Any]) -> bool:
    """Whether the reply is a stream."""
    return bool(body.get("stream"))


def key_of(headers: dict[str, str]) -> str:
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


def error(status: int) -> dict[str, Any]:
    """The body of a refusal."""
    message = "invalid x-api-key" if status == 401 else f"scripted status {status}"
    return {"type": "error", "error": {"type": _ERRORS.get(status, "api_error"), "message": message}}


def reply_to(body: dict[str, Any]) -> Reply:
    """What the model does next. Requests without tools are Claude's own, for a title and the like."""
    return next_reply(_turns(body["messages"])) if body.get("tools") else Reply()


def events(body: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    """The reply as events of a stream."""
    given, produced = reply.usage
    usage = {"input_tokens": given, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 50, "output_tokens": 1}
    message = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "model": body["model"]}
    yield {
        "type": "message_start",
        "message": {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage},
    }
    block, delta = _tool_use(filled_in(reply.call, _answers(body["messages"]))) if reply.call else _text()
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    stop = {"stop_reason": "tool_use" if reply.call else "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": {"output_tokens": produced}}
    yield {"type": "message_stop"}


def whole(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """The reply in one piece, as Claude Code asks for where a stream broke off."""
    sent = list(events(body, reply))
    block, delta = sent[1]["content_block"], sent[2]["delta"]
    filled = {"input": json.loads(delta["partial_json"])} if reply.call else {"text": delta["text"]}
    message, end = sent[0]["message"], sent[-2]
    usage = {**message["usage"], **end["usage"]}
    return {**message, **end["delta"], "content": [{**block, **filled}], "usage": usage}


def _turns(messages: list[dict[str, Any]]) -> Iterator[str | None]:
    for message in messages:
        if message["role"] == "user":
            content = message["content"]
            for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                if block["type"] in ("text", "tool_result"):
                    yield block.get("text")


def _answers(messages: list[dict[str, Any]]) -> str:
    """What tools have answered so far, as text."""
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    answers = [block["content"] for block in blocks if block["type"] == "tool_result"]
    return "\n".join(
        answer if isinstance(answer, str) else "\n".join(part.get("text", "") for part in answer) for answer in answers
    )


def _tool_use(call: Directive) -> tuple[dict[str, Any], dict[str, Any]]:
    if call.name == "call":
        tool, arguments = call.arguments
    elif call.name == "ask":
        tool, arguments = "mcp__questions__ask", call.questions
    else:
        tool, names = _TOOLS[call.name]
        arguments = dict(zip(names, call.arguments, strict=True))
    given = json.dumps(arguments)
    block = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex}", "name": tool, "input": {}}
    return block, {"type": "input_json_delta", "partial_json": given}


def _text() -> tuple[dict[str, Any], dict[str, Any]]:
    return {"type": "text", "text": ""}, {"type": "text_delta", "text": FINAL}
