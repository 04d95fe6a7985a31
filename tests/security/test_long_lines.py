"""A diff of one long line is read in linear time by everything that reads diffs in the web process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from app.services.artifacts.diff_files import without_binary
from app.services.artifacts.diff_index import Builder
from app.services.artifacts.patch_check import whole_diff

PIECES, PIECE_BYTES = 2048, 64 * 1024
BEGINNINGS = {
    "a line of text": b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+",
    "the name of a file": b"diff --git a/",
    "a hunk": b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ ",
    "what follows a binary file": b"diff --git a/f b/f\nindex 1..2 100644\nGIT binary patch\nliteral 1\n",
}
READERS: dict[str, Callable[[Iterable[bytes]], Iterable[bytes]]] = {
    "its index": lambda chunks: Builder().watch(chunks),
    "its check": lambda chunks: whole_diff(chunks, 1 << 40, 1000),
    "without binaries": without_binary,
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("reader", READERS)
def test_a_long_line_is_read_in_linear_time(reader: str, beginning: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield BEGINNINGS[beginning]
        yield from (piece for _ in range(PIECES))

    piece, begun = b"x" * PIECE_BYTES, time.thread_time()
    # What is no diff is refused at its end, or before.
    try:
        for _ in READERS[reader](chunks()):
            pass
    except ValueError:
        assert reader == "its check"
    # It takes a second at most; a reader that goes back for each piece takes minutes.
    assert time.thread_time() - begun < 30
