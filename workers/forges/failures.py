"""Errors of the engine for what a forge answers, or does not. Every adapter raises its errors through this module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from workers.errors import EngineError
from workers.forges.http import BadAnswer, Unreachable

_LONGEST, _MOST_TEXTS = 2_000, 20
# Only the values below these keys are quoted. Anything else may be the answer of an internal service.
_QUOTED = ("message", "error", "error_description", "detail", "errors", "fields")
# The name of a class in Bitbucket's code, beside its message.
_LEFT_OUT = ("exceptionName",)
# What reading an answer of an unexpected shape raises, such as a proxy's error page.
_UNEXPECTED = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def of_status(status: int, headers: Mapping[str, str], who: str, what: str, said: str, permission: str) -> EngineError:
    """The failure of a request to the host `who` for `what`, which answered with an error status.

    `headers` have lower-case names. `said` is the reason that the answer gives, if any. `permission` names what the
    token needs.
    """
    quoted = f": {said}" if said else f" with status {status}."
    if status == 429 or (status == 403 and ("retry-after" in headers or headers.get("x-ratelimit-remaining") == "0")):
        return unreachable(f"{who} limits the rate of requests{_wait(headers)}{quoted}")
    if status >= 500 or status == 408:
        return unreachable(f"{who} failed to answer{quoted}")
    if status in (401, 403):
        return EngineError("forge_auth", "publish", f"{who} refused the token{quoted} {permission}")
    if status in (404, 410):
        message = f"{who} answered 'not found' for {what}. Check the site's repo_url, and that its token may access it."
        return EngineError("forge_not_found", "publish", message)
    if 300 <= status < 400:
        message = (
            f"{who} redirects the request for {what}. Set the site's repo_url or forge_api_url to the new address."
        )
        return EngineError("forge_refused", "publish", message)
    return EngineError("forge_refused", "publish", f"{who} refused {what}{quoted}")


def unreachable(message: str) -> EngineError:
    """The forge did not answer the request. The same call may succeed later."""
    return EngineError("forge_unreachable", "publish", message, retryable=True)


@contextmanager
def translated(who: str, forge: str, *secrets: str) -> Iterator[None]:
    """Raise every failure of a request to the host `who` as an EngineError, without `secrets`.

    `forge` is the name of the forge that the host should be.
    """
    try:
        yield
    except EngineError as error:
        failure = error
    except Unreachable as error:
        failure = unreachable(f"{who} did not answer: {error}.")
    except BadAnswer as error:
        failure = EngineError("forge_refused", "publish", f"{who} {error}. Check the site's forge_api_url.")
    except _UNEXPECTED:
        # What a library says may quote the answer, which may be that of an internal service.
        failure = unreachable(f"{who} did not answer like {forge}. Check the site's repo_url and forge_api_url.")
    else:
        return
    message = failure.message
    for secret in filter(None, secrets):
        message = message.replace(secret, "[redacted]")
    raise EngineError(failure.code, failure.stage, message, retryable=failure.retryable) from None


def texts_in(data: Any) -> list[str]:
    """The messages in an error response, each on one line; none if it has none, as in an HTML page."""
    return list(dict.fromkeys(_texts(data, is_quoted=False)))[:_MOST_TEXTS] if isinstance(data, dict) else []


def _texts(value: Any, *, is_quoted: bool, depth: int = 4) -> list[str]:
    if isinstance(value, str):
        return [line] if is_quoted and (line := " ".join(value[:_LONGEST].split())) else []
    if not depth or not isinstance(value, (dict, list)):
        return []
    if isinstance(value, list):
        inner = [_texts(item, is_quoted=is_quoted, depth=depth - 1) for item in value[:_MOST_TEXTS]]
    elif is_quoted:
        # GitLab and Bitbucket name the field that is wrong, with its messages.
        named = [(name, item) for name, item in value.items() if name not in _LEFT_OUT][:_MOST_TEXTS]
        found = [(name, _texts(item, is_quoted=True, depth=depth - 1)) for name, item in named]
        inner = [[text if name in _QUOTED else f"{name} {text}" for text in texts] for name, texts in found]
    else:
        inner = [_texts(value.get(name), is_quoted=True, depth=depth - 1) for name in _QUOTED]
    return [text for texts in inner for text in texts]


def quotable(data: Any) -> str:
    """`texts_in`, as one text of a limited length."""
    return "; ".join(texts_in(data))[:_LONGEST]


def _wait(headers: Mapping[str, str]) -> str:
    seconds = headers.get("retry-after", "")
    return f" and asks to wait {seconds[:8]} seconds" if seconds.isdigit() else ""
