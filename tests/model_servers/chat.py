"""OpenAI's Chat Completions, as a stream or whole: the way that most agents talk to a model of any provider."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from tests.model_servers.openai import error, key_of
from tests.model_servers.script import FINAL, Reply, next_reply
from tests.model_servers.tools import tool_call

__all__ = ["END", "error", "events", "key_of", "reply_to", "serves", "streams", "whole"]

END = "[DONE]"
_SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


def serves(path: str) -> bool:
    """Whether it is asked for."""
    return path == "/v1/chat/completions"


def streams(path: str, body: dict[str, Any]) -> bool:
    """Whether the reply is a stream."""
    return bool(body.get("stream"))


def reply_to(body: dict[str, Any]) -> Reply:
    """What the model does next. Requests without tools are the program's own, for a title and the like."""
    return next_reply(_turns(body["messages"])) if body.get("tools") else Reply()


def events(body: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    """The reply as a stream."""
    head = {**_head(body), "object": "chat.completion.chunk"}
    message, reason = _message(body, reply)
    yield {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    calls = [{"index": number, **call} for number, call in enumerate(message.pop("tool_calls", []))]
    delta = {**message, "tool_calls": calls} if calls else message
    yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    yield {**head, "choices": [], "usage": _usage(reply)}


def whole(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """The reply in one piece."""
    message, reason = _message(body, reply)
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {**_head(body), "object": "chat.completion", "choices": [choice], "usage": _usage(reply)}


def _usage(reply: Reply) -> dict[str, Any]:
    given, produced = reply.usage
    return {
        "prompt_tokens": given,
        "completion_tokens": produced,
        "total_tokens": given + produced,
        "prompt_tokens_details": {"cached_tokens": 50},
    }


def _head(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": 1_700_000_000, "model": body["model"]}


def _message(body: dict[str, Any], reply: Reply) -> tuple[dict[str, Any], str]:
    offered = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in body.get("tools", [])}
    if reply.call:
        name, arguments = tool_call(offered, reply.call)
    elif _SUBMIT in json.dumps(body["messages"]):
        # mini-swe-agent ends with a command whose output begins with this word.
        name, arguments = "bash", {"command": f"echo {_SUBMIT} && echo '{FINAL}'"}
    else:
        return {"role": "assistant", "content": FINAL}, "stop"
    function = {"name": name, "arguments": json.dumps(arguments)}
    called = {"id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [called]}, "tool_calls"


def _turns(messages: list[dict[str, Any]]) -> Iterator[str | None]:
    for message in messages:
        content = message.get("content")
        if message["role"] == "user":
            yield content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
        elif message["role"] == "tool":
            yield None
