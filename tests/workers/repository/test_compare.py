"""Several diffs of one process are kept apart, however its output arrives."""

from __future__ import annotations

import pytest

from workers.repository.compare import split

LINES = [f"{str(number) * 40} {'f' * 40}\n".encode() for number in range(3)]
DIFFS = [b"diff --git a/x b/x\n-%s+%s \n" % (LINES[1], LINES[2]), b"diff\n", b"diff\n\\ No newline at end of file\n"]
OUTPUT = b"".join(line + diff for line, diff in zip(LINES, DIFFS, strict=True))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 80, 81, 82, 83, 84, 85, 86, 200, 1000])
def test_diffs_are_told_apart_wherever_the_output_is_cut(size: int) -> None:
    found = [b"", b"", b""]
    for number, piece in split((OUTPUT[at : at + size] for at in range(0, len(OUTPUT), size)), LINES):
        found[number] += piece
    assert found == DIFFS
