"""Secrets of which some or all characters are escaped: `%61` as in URLs, `\\u0061` as in JSON, `\\x61` as in code.

Text is searched with its escapes resolved, and each byte of the result knows where it comes from. So it takes the same
time whichever characters are escaped, and however often.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# The characters of an escape that stands for one byte: a backslash is doubled where JSON is in JSON.
LONGEST = 7
_HEX = b"[0-9A-Fa-f]"
_ESCAPE = re.compile(rb"%%(%b{2})|\\\\?(?:u(%b{4})|x(%b{2}))" % (_HEX, _HEX, _HEX))


def resolved(data: bytes) -> bytes:
    """`data` with its escapes resolved, once. Text is in UTF-8."""
    # Most data has neither of these, and finding that out is quick.
    return _ESCAPE.sub(_meaning, data) if b"%" in data or b"\\" in data else data


def redact(text: str, secrets: Iterable[bytes], replacement: str) -> str:
    """`text` with each of `secrets` that has escaped characters replaced by `replacement`. Secrets are in UTF-8."""
    data = text.encode(errors="surrogatepass")
    if not _ESCAPE.search(data):
        return text
    plain, origins = _resolved_with_origins(data)
    found = sorted(span for secret in secrets for span in _spans(plain, secret))
    kept: list[bytes] = []
    end = 0
    for start, behind in found:
        if start >= end:
            kept += (data[origins[end] : origins[start]], replacement.encode())
        end = max(end, behind)
    return b"".join([*kept, data[origins[end] :]]).decode(errors="surrogatepass") if found else text


def _meaning(escape: re.Match[bytes]) -> bytes:
    url, unicode, code = escape.groups()
    if unicode is not None:
        return chr(int(unicode, 16)).encode(errors="surrogatepass")
    return bytes.fromhex((url or code).decode())


def _resolved_with_origins(data: bytes) -> tuple[bytes, list[int]]:
    """The result of `resolved`, and the place in `data` that each of its bytes comes from, and that of its end."""
    plain = bytearray()
    origins: list[int] = []
    end = 0
    for escape in _ESCAPE.finditer(data):
        meaning = _meaning(escape)
        plain += data[end : escape.start()] + meaning
        origins += [*range(end, escape.start()), *[escape.start()] * len(meaning)]
        end = escape.end()
    return bytes(plain + data[end:]), [*origins, *range(end, len(data) + 1)]


def _spans(data: bytes, word: bytes) -> Iterator[tuple[int, int]]:
    start = data.find(word)
    while start >= 0:
        yield start, start + len(word)
        start = data.find(word, start + len(word))
