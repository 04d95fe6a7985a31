"""What compressed files hold is found, in bounds."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import random
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.workers.repositories import git, make_origin
from workers.repository.compressed import Budget, decompressed
from workers.repository.git import Git
from workers.repository.objects import Objects
from workers.repository.trees import changes, holds_secret

SECRET = "a-token-that-may-write"
NOISE = random.Random(1).randbytes(140_000)
TEXT = NOISE[:1000] + SECRET.encode() + NOISE[1000:]


def zipped(*contents: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"folder/{number}", content)
    return file.getvalue()


KINDS = {
    "gzip": lambda: gzip.compress(TEXT),
    "the second of two members": lambda: gzip.compress(NOISE) + gzip.compress(TEXT),
    "gzip within a file": lambda: b"\x1f\x8b\x08 x\x9c PK\x03\x04" + NOISE + gzip.compress(TEXT) + NOISE,
    "zip": lambda: zipped(NOISE, b"", TEXT),
    "zlib": lambda: zlib.compress(TEXT),
    "bzip2": lambda: bz2.compress(TEXT),
    "xz": lambda: lzma.compress(TEXT),
    "zip with bzip2": lambda: zipped(NOISE, TEXT, method=zipfile.ZIP_BZIP2),
    "the second of three kinds": lambda: bz2.compress(NOISE) + lzma.compress(TEXT) + gzip.compress(NOISE),
    "a member that is cut off": lambda: gzip.compress(SECRET.encode() + NOISE)[:-1000],
}


NESTED = {
    "a member in a member": lambda: zipped(b"", gzip.compress(TEXT)),
    "three deep": lambda: bz2.compress(NOISE[:99] + zipped(lzma.compress(TEXT))),
    "four deep": lambda: bz2.compress(bz2.compress(bz2.compress(bz2.compress(TEXT)))),
}


@functools.cache
def content_of(kind: str) -> bytes:
    """A file of that kind. Only processes that test it compress it, and once."""
    return {**KINDS, **NESTED}[kind]()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 1 << 17])
def test_a_secret_in_a_member_is_found_however_the_content_is_split(kind: str, size: int) -> None:
    data = content_of(kind)
    # Tiny pieces are tried around the marks only, because they take long.
    cuts = range(0, len(data), size) if size > 7 else [*range(0, 200, size), *range(200, len(data), 4096)]
    pieces = [data[start:end] for start, end in zip(cuts, [*cuts[1:], len(data)], strict=True)]
    assert SECRET.encode() in b"".join(decompressed(pieces, Budget()))


BOMBS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_is_decompressed_is_limited(kind: str) -> None:
    bomb = BOMBS[kind](bytes(1 << 24))
    budget = Budget(size=1 << 25)
    tracemalloc.start()
    try:
        read = sum(map(len, decompressed([bomb] * 100, budget)))
        assert read < 1.1 * (1 << 25) and tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    assert not list(decompressed([bomb], budget)), "the budget is that of all files"
    mark = {"gzip": b"\x1f\x8b\x08", "bzip2": b"BZh91AY&SY", "xz": b"\xfd7zXZ\0"}[kind]
    marks = mark * 100_000
    budget = Budget(members=100)
    assert not b"".join(decompressed([marks], budget)) and budget.members < 100, "members that are none count, too"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    origin = make_origin(tmp_path_factory.mktemp("compressed") / "origin", {"a": "a\n"})
    clean = {"x.txt": b"x^2 is not compressed", "clean.zip": zipped(NOISE)}
    stream = b"reset refs/heads/main\nfrom refs/heads/main^0\n\n" + _commit(clean)
    for number, data in enumerate(map(content_of, {**KINDS, **NESTED})):
        stream += _commit({"held": data}) + b"reset refs/tags/%d\nfrom refs/heads/main\n\n" % number
    git(origin, "fast-import", "--quiet", stdin=stream)
    return origin


def _commit(files: dict[str, bytes]) -> bytes:
    """A commit on `main`, for `git fast-import`."""
    written = (b"M 644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data) for name, data in files.items())
    return b"commit refs/heads/main\ncommitter A <a@example.org> 0 +0000\ndata 0\n" + b"".join(written)


@pytest.fixture
def objects(repository: Path) -> Iterator[Objects]:
    with closing(Objects(Git(repository / ".git"))) as made:
        yield made


def test_a_change_with_a_secret_in_a_member_is_flagged(repository: Path, objects: Objects) -> None:
    def tree(name: str) -> str:
        return git(repository, "rev-parse", f"{name}^{{tree}}")

    def holds(old: str, new: str) -> bool:
        return holds_secret(objects, changes(objects, tree(old), tree(new)), Secrets(SECRET))

    first = "0~1"
    assert not holds("0~2", first)
    for number, kind in enumerate({**KINDS, **NESTED}):
        assert holds(first, str(number)) == (kind != "four deep"), kind
    assert not holds("0", first), "what a change removes does not count"


def test_a_file_of_xz_that_needs_much_memory_is_left_out() -> None:
    made = lzma.compress(TEXT)
    # The header of its block (The .xz file format, 3.1), with the largest dictionary there is.
    header = bytes([2, 0, 0x21, 1, 40, 0, 0, 0])
    greedy = made[:12] + header + zlib.crc32(header).to_bytes(4, "little") + made[24:]
    budget = Budget()
    assert made[12:16] == header[:4] and not list(decompressed([greedy], budget)) and budget.size < Budget().size
