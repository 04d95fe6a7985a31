"""Translates errors of GitHub into errors of the engine.

https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
"""

from __future__ import annotations

from typing import Any

from github import GithubException, RateLimitExceededException

from workers.errors import EngineError
from workers.forges.failures import of_status

_LONGEST, _MOST_ERRORS = 2_000, 20
_CODES = {
    "missing": "does not exist",
    "missing_field": "is missing",
    "invalid": "is not valid",
    "already_exists": "exists already",
    "unprocessable": "was not accepted",
}
# PyGithub gives this status to errors of GraphQL. Their HTTP status is 200, and each error names its type:
# https://docs.github.com/en/graphql/guides/forming-calls-with-graphql
_GRAPHQL = 400
PERMISSION = (
    'The token needs "Pull requests: read and write" and "Contents: read and write" on this repository '
    "(or, for a classic token, the scope `repo`)."
)


def engine_error(error: GithubException, host: str, what: str) -> EngineError:
    """The failure of a request to `host` for `what`."""
    said = error_text(error.data)
    headers = {name.lower(): str(value) for name, value in (error.headers or {}).items()}
    if any("pull request already exists" in text.lower() for text in _texts(error.data)):
        return EngineError("pull_request_exists", "publish", f"{host} refused {what}: {said}")
    status = error.status
    if isinstance(error, RateLimitExceededException) or "RATE_LIMITED" in _kinds(error.data):
        status = 429
    elif _kinds(error.data) & {"FORBIDDEN", "INSUFFICIENT_SCOPES"}:
        status = 403
    return of_status(status, headers, host, what, said, PERMISSION)


def has_no_drafts(error: GithubException) -> bool:
    """Whether the plan does not include drafts: https://docs.github.com/en/pull-requests, "About pull requests"."""
    texts = [text.lower() for text in _texts(error.data)]
    return error.status in (_GRAPHQL, 422) and any("draft" in text and "not supported" in text for text in texts)


def error_text(data: Any) -> str:
    """The messages in an error response, shortened; empty if there are none, as in an HTML page."""
    texts = _texts(data)
    # "Validation Failed" is only a heading of the messages that follow.
    texts = texts[1:] if len(texts) > 1 and texts[0] == "Validation Failed" else texts
    return "; ".join(texts)[:_LONGEST]


def _texts(data: Any) -> list[str]:
    """`message`, then each of `errors`. They are objects, or strings in some responses."""
    if not isinstance(data, dict):
        return []
    errors = data.get("errors") or []
    parts = [data.get("message"), *(errors if isinstance(errors, list) else [errors])]
    return [text for part in parts[:_MOST_ERRORS] if (text := _text(part))]


def _kinds(data: Any) -> set[str]:
    """The `type` of each error in a GraphQL response."""
    errors = data.get("errors") if isinstance(data, dict) else None
    return (
        {str(part.get("type")) for part in errors or [] if isinstance(part, dict)}
        if isinstance(errors, list)
        else set()
    )


def _text(part: Any) -> str:
    if not isinstance(part, dict):
        return _line(part)
    code = _line(part.get("code")) or "unprocessable"
    fallback = f"{_line(part.get('field')) or _line(part.get('resource')) or 'something'} {_CODES.get(code, code)}"
    return _line(part.get("message")) or fallback


def _line(value: Any) -> str:
    return " ".join(value[:_LONGEST].split()) if isinstance(value, str) else ""
