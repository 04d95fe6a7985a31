"""The APIs that the gateway speaks: which of their calls it passes on, what an error looks like, and what a call used."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import Any, ClassVar

from .counts import Counts, inner, number


class Denied(Exception):
    """The gateway does not pass the request on. The message tells the agent why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api(ABC):
    """One provider's way of calling a model over HTTP. Paths are those below the base URL."""

    generating: ClassVar[re.Pattern[str]]
    """Paths of POST that call a model, and cost."""
    free: ClassVar[re.Pattern[str]]
    """Other paths that agents may use, with their methods: `GET /v1/models`."""

    def generates(self, method: str, path: str) -> bool:
        """Whether the request calls a model. Raises Denied if it is not among those that agents may make."""
        if method == "POST" and self.generating.fullmatch(path):
            return True
        if not self.free.fullmatch(f"{method} {path}"):
            raise Denied(404, f"{method} {path} is not among the calls of agents that are passed on.")
        return False

    def prepare(self, path: str, body: bytes) -> bytes:
        """The body as it is sent on. Raises Denied for what could not be counted."""
        return body

    @abstractmethod
    def error(self, status: int, message: str) -> dict[str, Any]:
        """The body of an error in the form of the provider."""

    @abstractmethod
    def usage_in(self, event: dict[str, Any]) -> tuple[str | None, dict[str, object]]:
        """The model and the usage that an event of a stream, or a whole answer, names, as far as it does."""

    @abstractmethod
    def is_last(self, event: dict[str, Any]) -> bool:
        """Whether an event of a stream says that the answer is complete. Some servers add usage after it."""

    @abstractmethod
    def counts_of(self, usage: dict[str, object]) -> Counts:
        """The tokens of a call, from all that its answer said about usage."""


class Anthropic(Api):
    """Messages. Cached input is counted apart, and usage arrives at the beginning and at the end."""

    generating = re.compile(r"/v1/messages")
    free = re.compile(r"POST /v1/messages/count_tokens|GET /v1/models(/[\w.:@-]+)?")
    _KINDS: ClassVar = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
    }

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": self._KINDS.get(status, "api_error"), "message": message}}

    def usage_in(self, event: dict[str, Any]) -> tuple[str | None, dict[str, object]]:
        message = inner(event, "message") or event
        return _text(message.get("model")), inner(message, "usage")

    def is_last(self, event: dict[str, Any]) -> bool:
        return event.get("type") == "message_stop"

    def counts_of(self, usage: dict[str, object]) -> Counts:
        cached, written = number(usage.get("cache_read_input_tokens")), number(usage.get("cache_creation_input_tokens"))
        return Counts(
            given=number(usage.get("input_tokens")) + cached + written,
            cached=cached,
            written=written,
            written_for_an_hour=number(inner(usage, "cache_creation").get("ephemeral_1h_input_tokens")),
            produced=number(usage.get("output_tokens")),
        )


_UNREADABLE = "The body is not a JSON object that can be read."


class OpenAI(Api):
    """Responses and Chat Completions."""

    generating = re.compile(r"/responses(/compact)?|/chat/completions")
    free = re.compile(r"GET /models(/[\w.:@/-]+)?")
    _CODES: ClassVar = {401: "invalid_api_key", 404: "not_found"}

    def prepare(self, path: str, body: bytes) -> bytes:
        try:
            call = json.loads(body)
        except (ValueError, RecursionError, MemoryError):
            call = None
        if not isinstance(call, dict):
            raise Denied(400, _UNREADABLE)
        if call.get("background"):
            raise Denied(400, "Background responses are not available here, because their usage could not be counted.")
        if path == "/chat/completions" and call.get("stream"):
            options = call.get("stream_options")
            call["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        # Rewritten, so that no field occurs twice, which servers read in different ways.
        try:
            return json.dumps(call, separators=(",", ":")).encode()
        except (RecursionError, MemoryError):
            # It could only just be read.
            raise Denied(400, _UNREADABLE) from None

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": self._CODES.get(status)}}

    def usage_in(self, event: dict[str, Any]) -> tuple[str | None, dict[str, object]]:
        answer = inner(event, "response") or event
        return _text(answer.get("model")), inner(answer, "usage")

    def is_last(self, event: dict[str, Any]) -> bool:
        # A response that is incomplete reached a limit of its length, and says so.
        has_ended = event.get("type") in ("response.completed", "response.incomplete")
        return has_ended or _any_has(event.get("choices"), "finish_reason")

    def counts_of(self, usage: dict[str, object]) -> Counts:
        given = number(usage.get("input_tokens")) or number(usage.get("prompt_tokens"))
        details = inner(usage, "input_tokens_details") or inner(usage, "prompt_tokens_details")
        produced = number(usage.get("output_tokens")) or number(usage.get("completion_tokens"))
        return Counts(given=given, cached=number(details.get("cached_tokens")), produced=produced)


class Gemini(Api):
    """generateContent and streamGenerateContent. Each event of a stream has the usage so far."""

    _MODELS = r"/v1(alpha|beta)?\w*/(projects/[\w-]+/locations/[\w-]+/publishers/[\w-]+/)?models"
    generating = re.compile(rf"{_MODELS}/[\w.@-]+:(generateContent|streamGenerateContent)")
    free = re.compile(rf"POST {_MODELS}/[\w.@-]+:countTokens|GET {_MODELS}(/[\w.@-]+)?")
    _STATUSES: ClassVar = {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        502: "UNAVAILABLE",
    }

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": self._STATUSES.get(status, "UNKNOWN")}}

    def usage_in(self, event: dict[str, Any]) -> tuple[str | None, dict[str, object]]:
        return _text(event.get("modelVersion")), inner(event, "usageMetadata")

    def is_last(self, event: dict[str, Any]) -> bool:
        is_blocked = "blockReason" in inner(event, "promptFeedback")
        return is_blocked or _any_has(event.get("candidates"), "finishReason")

    def counts_of(self, usage: dict[str, object]) -> Counts:
        return Counts(
            given=number(usage.get("promptTokenCount")) + number(usage.get("toolUsePromptTokenCount")),
            cached=number(usage.get("cachedContentTokenCount")),
            produced=number(usage.get("candidatesTokenCount")) + number(usage.get("thoughtsTokenCount")),
        )


APIS: dict[str, Api] = {"anthropic": Anthropic(), "openai": OpenAI(), "gemini": Gemini()}


# What errors in the middle of an answer are called, and the status that they have in front of one.
_STATUSES = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "billing_error": 402,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "server_is_overloaded": 529,
}


def error_in(event: dict[str, Any]) -> dict[str, object]:
    """The error that an event of a stream reports; empty if it reports none."""
    flat = event if event.get("type") == "error" else {}
    return inner(event, "error") or inner(inner(event, "response"), "error") or flat


def message_of(error: dict[str, object]) -> str | None:
    """What such an error says."""
    return _text(error.get("message"))


def status_of(error: dict[str, object]) -> int | None:
    """The HTTP status that such an error would have had before the answer began, if that is known."""
    for name in (error.get("code"), error.get("type")):
        if isinstance(name, str) and name in _STATUSES:
            return _STATUSES[name]
    return number(error.get("code")) or None


_OFFERS_TOOLS = re.compile(rb'"tools"\s*:\s*\[\s*[^]\s]')


def offers_tools(body: bytes) -> bool:
    """Whether a call offers tools. Those of a conversation do; those for a title and the like do not."""
    # In the text of a message its quotes would be escaped.
    return _OFFERS_TOOLS.search(body) is not None


def phrase(status: int) -> str:
    """The reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _any_has(values: object, name: str) -> bool:
    return isinstance(values, list) and any(isinstance(each, dict) and each.get(name) for each in values)


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) and value else None
