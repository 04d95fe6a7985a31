"""Takes secrets out of text before it is stored, and finds them in diffs.

Two kinds of secrets are told apart. *Known* ones are values that this deployment holds: the site's access token, what
the agents' variables hold, keys of its own. They are found in several forms, in text and in diffs. *Well-known shapes*
are tokens of any forge, cloud or model server that their makers gave a mark to be found by. They are taken out of text;
in a diff they are let be, as fixtures of tests are full of examples.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from urllib.parse import SplitResult, quote, quote_plus, unquote, unquote_plus, urlsplit

from app.redaction.token_shapes import without_shapes
from app.redaction.wrapped_base64 import WrappedBase64

REPLACEMENT = "[redacted]"
# Shorter values, such as `true`, are words of many an innocent text.
SHORTEST = 8
# Variables whose names end so hold what may be told, unless it is a URL with a password.
OPEN_NAMES = ("URL", "HOST", "ENDPOINT", "REGION", "LOCATION", "MODEL", "PATH", "DIR", "VERSION")
_ESCAPE = re.compile("%[0-9A-F]{2}")


class Secrets:
    """The secrets that are known where a job is done: a forge's credential, and variables by their names."""

    def __init__(self, credential: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        values = {credential or "", *_secret_values(environment or {})}
        # The credential may be `user:password`, of which the second half is no less secret.
        values |= {(credential or "").partition(":")[2]}
        # A key of several lines is also told by one of them; its frame is that of every key.
        lines = {line.strip() for value in values if "\n" in value for line in value.splitlines()}
        values |= {line for line in lines if " " not in line and not line.startswith("-----")}
        kept = [value for value in values if len(value.encode(errors="replace")) >= SHORTEST]
        encoded = {form for value in kept for form in _base64_forms(value)}
        self._wrapped = WrappedBase64(encoded)
        self._words = sorted(encoded.union(*map(_forms, kept)), key=len, reverse=True)
        self._encoded = [form.encode() for form in encoded]
        wide = {value.encode(coding, errors="replace") for value in kept for coding in ("utf-16-le", "utf-16-be")}
        self._bytes = [word.encode(errors="replace") for word in self._words] + sorted(wide)

    def redact(self, text: str) -> str:
        """`text` without known secrets and without what has the shape of a token."""
        text = self._wrapped.without(text, REPLACEMENT)
        for word in self._words:
            text = text.replace(word, REPLACEMENT)
        return without_shapes(text, REPLACEMENT)

    def are_in(self, chunks: Iterable[bytes]) -> bool:
        """Whether any known secret stands in a stream of bytes, be it cut where it may."""
        # Twice as much as one needs, as ends of lines may come between.
        overlap = 2 * max(map(len, self._bytes), default=0)
        rest = b""
        for chunk in chunks:
            window = rest + chunk
            if any(secret in window for secret in self._bytes):
                return True
            unbroken = window.translate(None, b"\r\n\t ")
            if any(secret in unbroken for secret in self._encoded):
                return True
            rest = window[-overlap:] if overlap else b""
        return False


def _secret_values(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if "://" in value:
            with contextlib.suppress(ValueError):
                yield from _secrets_of_url(urlsplit(value))
        if not name.upper().endswith(OPEN_NAMES):
            yield value


def _secrets_of_url(url: SplitResult) -> Iterator[str]:
    """What a URL holds that may be secret, as it is written there and as it is meant: the password, and on the web the
    user where that stands for it, and the values of the query. The user and the options of a database are no secrets."""
    secret, on_web = url.password or "", url.scheme in ("http", "https")
    if on_web and secret in ("", "x-oauth-basic"):
        secret = url.username or ""
    yield from (secret, unquote(secret))
    for pair in url.query.split("&") if on_web else ():
        name, _, value = pair.partition("=")
        if not name.upper().endswith(OPEN_NAMES):
            yield from (value, unquote_plus(value))


def _forms(value: str) -> Iterator[str]:
    """The ways in which a value shows up: as it is, in a URL and in JSON."""
    yield value
    for escape, kept in itertools.product((quote, quote_plus), ("", "/")):
        escaped = escape(value, safe=kept)
        yield escaped
        yield _ESCAPE.sub(lambda found: found[0].lower(), escaped)
    in_json = json.dumps(value)[1:-1]
    yield in_json
    yield in_json.replace("/", r"\/")


def _base64_forms(value: str) -> Iterator[str]:
    """What base64 of any text that holds the value has in it."""
    data = value.encode(errors="replace")
    for before in range(3):
        # Base64 turns three bytes into four characters, so there are three ways to come out, and the characters at
        # both ends also depend on what stands next to the value.
        encoded = base64.b64encode(b"\0" * before + data).decode()
        end = (before + len(data)) // 3 * 4
        core = encoded[-(-before * 4 // 3) : end]
        yield core
        yield core.translate(str.maketrans("+/", "-_"))


_of_thread: ContextVar[Secrets | None] = ContextVar("secrets", default=None)


@contextlib.contextmanager
def kept_out_of_logs(secrets: Secrets) -> Iterator[None]:
    """While this lasts, what this thread logs is written without `secrets`."""
    token = _of_thread.set(secrets)
    try:
        yield
    finally:
        _of_thread.reset(token)


def secrets_at_hand() -> Secrets | None:
    """What `kept_out_of_logs` was given in this thread."""
    return _of_thread.get()
