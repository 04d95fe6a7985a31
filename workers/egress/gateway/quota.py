"""What a provider says when it accepts no calls: that it refuses the key, that the account is used up, and until when, or that
it is overloaded or fails."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime

_LIMITED = (401, 402, 429)
# Anthropic answers 400 where the account has no credit left, OpenAI and others 429.
_EXHAUSTED = re.compile(
    r"credit balance is too low|insufficient_quota|insufficient (credit|balance|fund)|out of credit", re.I
)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_LATEST = 366 * 86_400


def limited(status: int, headers: Mapping[str, str], body: str) -> dict[str, object] | None:
    """The report of a refusal because of the key, a limit or the server: `exhausted`, and `reset_at` in seconds since 1970, if it is named.

    None if the error is about something else.
    """
    exhausted = status == 402 or (status in (400, 403, 429) and _EXHAUSTED.search(body) is not None)
    if status not in _LIMITED and status < 500 and not exhausted:
        return None
    return {"status": status, "exhausted": exhausted, "reset_at": _reset(headers, body)}


def _reset(headers: Mapping[str, str], body: str) -> float | None:
    now = time.time()
    named = [
        *_seconds(headers.get("retry-after")),
        *(each for name, value in headers.items() if _is_reset(name, headers) for each in _seconds(value)),
        *(each for value in re.findall(r'"retryDelay":\s*"([^"]+)"', body) for each in _seconds(value)),
    ]
    # Also times that have passed: a reset a moment ago is still one.
    waits = [each - now if each > now - 86_400 else each for each in named]
    likely = [max(each, 0.0) for each in waits if each < _LATEST]
    return now + max(likely) if likely else None


def _is_reset(name: str, headers: Mapping[str, str]) -> bool:
    """Whether a header names the reset of a limit that is used up, as far as the server says how much is left."""
    if not re.fullmatch(r"(anthropic-ratelimit|x-ratelimit)-.*reset.*", name):
        return False
    return headers.get(name.replace("reset", "remaining"), "0").strip() in ("0", "0.0")


def _seconds(text: str | None) -> Iterable[float]:
    """A number of seconds, a duration such as `1m30s`, or a time, in seconds or as a time since 1970."""
    text = (text or "").strip()[:100]
    if not text:
        return
    try:
        yield float(text)
        return
    except ValueError:
        pass
    match = _DURATION.fullmatch(text)
    if match:
        days, hours, minutes, seconds, milliseconds = (float(each or 0) for each in match.groups())
        yield ((days * 24 + hours) * 60 + minutes) * 60 + seconds + milliseconds / 1000
        return
    for parse in (datetime.fromisoformat, email.utils.parsedate_to_datetime):
        try:
            yield parse(text).timestamp()
            return
        except (ValueError, OverflowError):
            continue


def words_of(body: bytes) -> str:
    """What an error says, in short."""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = error[0] if isinstance(error, list) and error else error
    inside = error.get("error") if isinstance(error, dict) else None
    said = inside.get("message") if isinstance(inside, dict) else inside
    return said[:500] if isinstance(said, str) else ""
