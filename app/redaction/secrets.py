"""Redacts secrets from text before it is stored, and finds them in diffs.

There are two kinds. *Known secrets* are values that this deployment holds: the site's access token, the variables of
agents, and its own keys. They are found in several encodings, in text and in diffs. *Token shapes* are formats of
tokens of forges, clouds and model servers, which have a recognizable prefix. They are redacted from text but
ignored in diffs, because test fixtures contain many examples.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from urllib.parse import SplitResult, quote, quote_plus, unquote, unquote_plus, urlsplit

from app.redaction import dumps, escapes, folding
from app.redaction.token_shapes import redact_shapes
from app.redaction.wrapped import Wrapped

REPLACEMENT = "[redacted]"
# Shorter values, such as `true`, also appear in text that is not secret.
SHORTEST = 8
# Shorter values, such as `development`, may be words that text has in upper case, too.
SHORTEST_IN_OTHER_CASE = 12
# Streams are searched in pieces of at least so many bytes, because each search also covers the end of the last piece.
_PIECE = 1 << 16
# Dumps take much longer to read than other content, so no more of a stream is read as dumps.
_MOST_DUMPED = 1 << 25
# Variables with these name endings are not secret, unless the value is a URL with a password.
PUBLIC_NAMES = ("URL", "HOST", "ENDPOINT", "REGION", "LOCATION", "MODEL", "PATH", "DIR", "VERSION")
_ESCAPE = re.compile("%[0-9A-F]{2}")


class Secrets:
    """The known secrets of a job: the credential for the forge, variables, and values that are secret whatever their
    name is."""

    def __init__(
        self,
        credential: str | None = None,
        environment: Mapping[str, str] | None = None,
        secret: Iterable[str] = (),
    ) -> None:
        values = {credential or "", *_secret_values(environment or {})}
        for value in secret:
            # A password in a URL is secret without the rest, too.
            values |= {value, *_secret_values({"": value})}
        # The credential may be `user:password`. Then the password alone is secret, too.
        values |= {(credential or "").partition(":")[2]}
        # A single line of a key is secret, too, except for the header and footer, which all keys share.
        lines = {line.strip() for value in values if "\n" in value for line in value.splitlines()}
        values |= {line for line in lines if " " not in line and not line.startswith("-----")}
        kept = [value for value in values if len(value.encode(errors="replace")) >= SHORTEST]
        encoded = {form for value in kept for form in (*_hexadecimal_forms(value), *_base64_forms(value))}
        self._wrapped = Wrapped(encoded)
        self._words = sorted(encoded.union(*map(_forms, kept)), key=len, reverse=True)
        self._hexadecimal = [form.encode() for value in kept for form in _hexadecimal_forms(value)]
        self._encoded = [form.encode() for form in encoded]
        self._encoded += [",".join(map(str, value.encode(errors="replace"))).encode() for value in kept]
        self._values = [value.encode(errors="replace") for value in kept]
        self._plain = [case.encode(errors="replace") for value in kept for case in _cases(value)]
        wide = {value.encode(coding, errors="replace") for value in kept for coding in ("utf-16-le", "utf-16-be")}
        # The encoded forms hold no space, so they are found where spaces are removed.
        self._bytes = [word.encode(errors="replace") for word in self._words if word not in encoded] + sorted(wide)
        self._longest = max((len(form) for form in (*self._bytes, *self._encoded)), default=0)
        self._folded = folding.folded_forms((*self._bytes, *self._encoded, *self._hexadecimal))
        # No token shape is shorter, either.
        self._shortest = min([SHORTEST, *map(len, self._words)])

    def redact(self, text: str) -> str:
        """`text` without known secrets and token shapes."""
        # Most texts of a line of a log, such as `status`, are shorter than any form of a secret.
        if len(text) < self._shortest:
            return text
        text = self._wrapped.redact(text, REPLACEMENT)
        for word in self._words:
            text = text.replace(word, REPLACEMENT)
        text = escapes.redact(text, self._plain, REPLACEMENT)
        text = dumps.redact(text, self._values, REPLACEMENT)
        return redact_shapes(text, REPLACEMENT)

    def are_in(self, chunks: Iterable[bytes]) -> bool:
        """Whether the stream holds a known secret, even one that is split between chunks."""
        # Twice the longest form, since line breaks may be inside.
        overlap = max(2 * self._longest, *(dumps.LONGEST * len(value) for value in self._plain), 0)
        rest, dumped = b"", 0
        for chunk in _joined(chunks):
            window = rest + chunk
            if folding.may_hold(window, self._folded) and self._are_in(window):
                return True
            unescaped = escapes.resolved(window)
            if unescaped != window and any(value in unescaped for value in self._plain):
                return True
            if dumped < _MOST_DUMPED and dumps.has_rows(window):
                dumped += len(window)
                if dumps.hold(window, self._values):
                    return True
            rest = window[-overlap:] if overlap else b""
        return False

    def _are_in(self, window: bytes) -> bool:
        """Whether these bytes hold a secret as it is, or encoded and split by spaces or what separates bytes."""
        if any(secret in window for secret in self._bytes):
            return True
        unbroken = window.translate(None, folding.SPACES)
        if any(secret in unbroken for secret in self._encoded):
            return True
        digits = unbroken.translate(None, folding.SEPARATORS).replace(folding.PREFIX, b"")
        return any(secret in digits for secret in self._hexadecimal)


@functools.lru_cache(maxsize=16)
def prepared(credential: str | None, environment: tuple[tuple[str, str], ...], secret: tuple[str, ...]) -> Secrets:
    """`Secrets`, made once for the same values: making them takes longer than searching a prompt."""
    return Secrets(credential, dict(environment), secret)


def _joined(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The stream in chunks that are not small."""
    piece = bytearray()
    for chunk in chunks:
        piece += chunk
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _secret_values(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if "://" in value:
            with contextlib.suppress(ValueError):
                yield from _secrets_of_url(urlsplit(value))
        if not name.upper().endswith(PUBLIC_NAMES):
            yield value


def _secrets_of_url(url: SplitResult) -> Iterator[str]:
    """The secrets in a URL, encoded and decoded: the password, and for HTTP also the query values, and the user if
    there is no password. The user and the options in a database URL are not secret."""
    secret, on_web = url.password or "", url.scheme in ("http", "https")
    if on_web and secret in ("", "x-oauth-basic"):
        secret = url.username or ""
    yield from (secret, unquote(secret))
    for pair in url.query.split("&") if on_web else ():
        name, _, value = pair.partition("=")
        if not name.upper().endswith(PUBLIC_NAMES):
            yield from (value, unquote_plus(value))


def _forms(value: str) -> Iterator[str]:
    """The forms of a value: plain, in upper and lower case, URL-encoded and in JSON."""
    yield from _cases(value)
    for escape, kept in itertools.product((quote, quote_plus), ("", "/")):
        escaped = escape(value, safe=kept)
        yield escaped
        yield _ESCAPE.sub(lambda found: found[0].lower(), escaped)
    in_json = json.dumps(value)[1:-1]
    yield in_json
    yield in_json.replace("/", r"\/")


def _cases(value: str) -> Iterator[str]:
    yield value
    if len(value) >= SHORTEST_IN_OTHER_CASE:
        yield value.upper()
        yield value.lower()


def _hexadecimal_forms(value: str) -> Iterator[str]:
    form = value.encode(errors="replace").hex()
    yield form
    yield form.upper()


def _base64_forms(value: str) -> Iterator[str]:
    """The strings that appear in the base64 of any text that contains the value."""
    data = value.encode(errors="replace")
    for before in range(3):
        # Base64 turns three bytes into four characters, so there are three alignments. The characters at both ends also
        # depend on the text next to the value, so they are cut off.
        encoded = base64.b64encode(b"\0" * before + data).decode()
        end = (before + len(data)) // 3 * 4
        core = encoded[-(-before * 4 // 3) : end]
        yield core
        yield core.translate(str.maketrans("+/", "-_"))


_of_thread: ContextVar[Secrets | None] = ContextVar("secrets", default=None)


@contextlib.contextmanager
def redacted_logs(secrets: Secrets) -> Iterator[None]:
    """While this context is open, logs of this thread are written without `secrets`."""
    token = _of_thread.set(secrets)
    try:
        yield
    finally:
        _of_thread.reset(token)


def current_secrets() -> Secrets | None:
    """The secrets that `redacted_logs` was given in this thread."""
    return _of_thread.get()
