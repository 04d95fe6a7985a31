"""What GitHub says when something is wrong, in the engine's words.

https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
"""

from __future__ import annotations

from typing import Any

import requests
from github import GithubException, RateLimitExceededException

from workers.errors import EngineError

_LONGEST = 2_000
_CODES = {
    "missing": "does not exist",
    "missing_field": "is missing",
    "invalid": "is not valid",
    "already_exists": "exists already",
    "unprocessable": "was not accepted",
}
# PyGithub gives this status to answers of GraphQL, which are always 200 and name the kind of each error instead:
# https://docs.github.com/en/graphql/guides/forming-calls-with-graphql
_GRAPHQL = 400
PERMISSION = (
    'The token needs "Pull requests: read and write" and "Contents: read and write" on this repository '
    "(or, for a classic token, the scope `repo`)."
)


def engine_error(error: GithubException, host: str, what: str) -> EngineError:
    """The failure of asking `host` for `what`."""
    said = words(error.data)
    quoted = f": {said}" if said else f" with status {error.status}."
    if _is_rate_limit(error):
        return unreachable(f"{host} asks for fewer requests{_wait(error)}{quoted}")
    if error.status >= 500 or error.status == 408:
        return unreachable(f"{host} could not answer{quoted}")
    if error.status in (401, 403) or _kinds(error.data) & {"FORBIDDEN", "INSUFFICIENT_SCOPES"}:
        return EngineError("forge_auth", "publish", f"{host} refused the token{quoted} {PERMISSION}")
    if error.status in (404, 410):
        return EngineError("forge_not_found", "publish", f"{host} knows no {what}, or the token may not see it.")
    if any("pull request already exists" in text.lower() for text in _texts(error.data)):
        return EngineError("pull_request_exists", "publish", f"{host} refused {what}{quoted}")
    return EngineError("forge_refused", "publish", f"{host} refused {what}{quoted}")


def unreachable(message: str) -> EngineError:
    """No answer that counts: the same call may succeed later."""
    return EngineError("forge_unreachable", "publish", message, retryable=True)


def knows_no_drafts(error: GithubException) -> bool:
    """Drafts are not part of every plan: https://docs.github.com/en/pull-requests, "About pull requests"."""
    texts = [text.lower() for text in _texts(error.data)]
    return error.status in (_GRAPHQL, 422) and any("draft" in text and "not supported" in text for text in texts)


def words(data: Any) -> str:
    """The sentence or sentences in an answer that refuses; empty where there are none, as in a page of HTML."""
    texts = _texts(data)
    # "Validation Failed" is only the heading of what follows.
    texts = texts[1:] if len(texts) > 1 and texts[0] == "Validation Failed" else texts
    return "; ".join(texts)[:_LONGEST]


def reason(error: requests.RequestException) -> str:
    """Why no answer came, without the noise of the libraries in between."""
    if isinstance(error, requests.Timeout):
        return "it took too long"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate was not accepted"
    text = str(error).lower()
    if "refused" in text:
        return "the connection was refused"
    if "resolve" in text or "name or service" in text:
        return "its name could not be resolved"
    return "the connection failed"


def _texts(data: Any) -> list[str]:
    """`message`, then each of `errors`, which are objects or, for some answers, strings."""
    if not isinstance(data, dict):
        return []
    errors = data.get("errors") or []
    parts = [data.get("message"), *(errors if isinstance(errors, list) else [errors])]
    return [text for part in parts if (text := _text(part))]


def _kinds(data: Any) -> set[str]:
    """The `type` of each error in an answer of GraphQL."""
    errors = data.get("errors") if isinstance(data, dict) else None
    return (
        {str(part.get("type")) for part in errors or [] if isinstance(part, dict)}
        if isinstance(errors, list)
        else set()
    )


def _text(part: Any) -> str:
    if not isinstance(part, dict):
        return " ".join(str(part or "").split())
    code = str(part.get("code", "unprocessable"))
    fallback = f"{part.get('field') or part.get('resource') or 'something'} {_CODES.get(code, code)}"
    return " ".join(str(part.get("message") or fallback).split())


def _is_rate_limit(error: GithubException) -> bool:
    """https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api"""
    headers = error.headers or {}
    spent = "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"
    told = error.status == 429 or isinstance(error, RateLimitExceededException) or "RATE_LIMITED" in _kinds(error.data)
    return told or (error.status == 403 and spent)


def _wait(error: GithubException) -> str:
    seconds = str((error.headers or {}).get("retry-after", ""))
    return f" and to wait {seconds[:8]} seconds" if seconds.isdigit() else ""
