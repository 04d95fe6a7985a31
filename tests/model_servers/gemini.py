"""Gemini's generateContent, as a stream or whole: the way that Gemini CLI talks to its model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.model_servers.script import FINAL, Reply, next_reply
from tests.model_servers.tools import tool_call

_STATUSES = {401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


def serves(path: str) -> bool:
    """Whether it is asked for."""
    return path.endswith(("generateContent", "GenerateContent"))


def streams(path: str, body: dict[str, Any]) -> bool:
    """Whether the reply is a stream."""
    return path.endswith("streamGenerateContent")


def key_of(headers: dict[str, str]) -> str:
    return headers.get("x-goog-api-key", "")


def error(status: int) -> dict[str, Any]:
    """The body of a refusal."""
    message = "API key not valid. Please pass a valid API key." if status == 401 else f"scripted status {status}"
    return {"error": {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}}


def reply_to(body: dict[str, Any]) -> Reply:
    """What the model does next. Requests without tools are the program's own, for a title and the like."""
    return next_reply(_turns(body["contents"])) if body.get("tools") else Reply()


def events(body: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    """The reply as a stream. Its first event is empty, so that one can begin to answer and fall silent."""
    yield {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}}]}
    yield whole(body, reply)


def whole(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """The reply in one piece."""
    part: dict[str, Any] = {"text": FINAL}
    if reply.call:
        tools = [each for tool in body["tools"] for each in tool.get("functionDeclarations", [])]
        offered = {each["name"]: each.get("parametersJsonSchema") or each.get("parameters", {}) for each in tools}
        name, arguments = tool_call(offered, reply.call)
        part = {"functionCall": {"name": name, "args": arguments}}
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    given, produced = reply.usage
    usage = {
        "promptTokenCount": given,
        "cachedContentTokenCount": 50,
        "candidatesTokenCount": produced,
        "totalTokenCount": given + produced,
    }
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "usageMetadata": usage}


def _turns(contents: list[dict[str, Any]]) -> Iterator[str | None]:
    for content in contents:
        if content.get("role") == "user":
            for part in content["parts"]:
                if "functionResponse" in part:
                    yield None
                elif part.get("text"):
                    yield part["text"]
