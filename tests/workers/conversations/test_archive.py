"""The archive of the files in which an agent remembers its session: hostile files are not packed, nor hostile archives unpacked."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from workers.conversations.archive import pack, remove, unpack
from workers.job import ConversationLost

FILES = ((".agent/sessions", "*.jsonl"), (".agent/other", "mine*"))
LIMIT = 2_000_000
SECRET = "hunter2-hunter2-hunter2"


def home_in(folder: Path, *names: str) -> Path:
    home = folder / "home"
    for name in (".agent/sessions/deep", ".agent/other"):
        (home / name).mkdir(parents=True)
    for name in names:
        (home / name).write_text(f"{name}\n")
    return home


def packed(home: Path) -> io.BytesIO:
    made = io.BytesIO()
    pack(home, FILES, {"tokens": 7}, made, Secrets(None, {"KEY": SECRET}), LIMIT)
    made.seek(0)
    return made


def files_in(home: Path) -> dict[str, str]:
    return {str(each.relative_to(home)): each.read_text() for each in home.rglob("*") if each.is_file()}


def test_what_matches_is_restored_into_folders_of_other_names(tmp_path: Path) -> None:
    kept = (".agent/sessions/one.jsonl", ".agent/sessions/deep/two.jsonl", ".agent/other/mine")
    archive = packed(home_in(tmp_path / "a", *kept, ".agent/sessions/not", ".agent/other/hers", ".agent/settings"))
    home = home_in(tmp_path / "b")
    assert unpack(archive, home, ((".agent/moved", "*.jsonl"), FILES[1]), LIMIT, None) == {"tokens": 7}
    assert set(files_in(home)) == {each.replace("sessions", "moved") for each in kept}
    assert all((home / each).stat().st_mode & 0o777 == 0o600 for each in files_in(home))
    remove(home, ((".agent/moved", "*.jsonl"), FILES[1]))
    assert files_in(home) == {}


def write(home: Path, name: str, content: bytes) -> None:
    (home / name).write_bytes(content)


def sparse(home: Path) -> None:
    with open(home / ".agent/sessions/large.jsonl", "wb") as file:
        file.truncate(10**12)


def replaced(home: Path, name: str) -> None:
    (home / name).rename(home / "moved")
    (home / name).symlink_to(home / "moved")


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "large": (lambda home: write(home, ".agent/sessions/large.jsonl", b"0" * (LIMIT + 1)), "larger than 2,000,000"),
    "sparse": (sparse, "larger than"),
    "many": (lambda home: [write(home, f".agent/sessions/{n}.jsonl", b"") for n in range(1001)], "more than 1,000"),
    "secret": (lambda home: write(home, ".agent/sessions/one.jsonl", f"{{{SECRET}}}".encode()), "known secret"),
    "none": (lambda home: None, "left no files"),
    "a link": (lambda home: (home / ".agent/sessions/one.jsonl").symlink_to("/etc/passwd"), "left no files"),
    "a pipe": (lambda home: os.mkfifo(home / ".agent/sessions/one.jsonl"), "left no files"),
    "a linked folder": (
        lambda home: (replaced(home, ".agent/sessions"), write(home, "moved/a.jsonl", b"")),
        "no files",
    ),
    "a link above": (lambda home: (replaced(home, ".agent"), write(home, "moved/sessions/a.jsonl", b"")), "no files"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_kept_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    home = home_in(tmp_path)
    prepare, reason = UNUSABLE[kind]
    prepare(home)
    with pytest.raises(ConversationLost, match=reason):
        packed(home)


def archive_of(*members: tarfile.TarInfo, content: bytes = b"x\n") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


GOOD = member("0/colour.jsonl")
TAMPERED: dict[str, Callable[[], bytes]] = {
    "climbs": lambda: archive_of(GOOD, member("0/../../../escaped.jsonl")),
    "absolute": lambda: archive_of(GOOD, member("/escaped.jsonl")),
    "another folder": lambda: archive_of(GOOD, member("1/escaped.jsonl")),
    "no folder": lambda: archive_of(GOOD, member("escaped.jsonl")),
    "a link": lambda: archive_of(member("0/colour.jsonl", tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link": lambda: archive_of(GOOD, member("0/other.jsonl", tarfile.LNKTYPE, "0/colour.jsonl")),
    "a device": lambda: archive_of(member("0/colour.jsonl", tarfile.CHRTYPE)),
    "a folder": lambda: archive_of(GOOD, member("0/folder", tarfile.DIRTYPE)),
    "twice the same": lambda: archive_of(GOOD, GOOD),
    "below a file": lambda: archive_of(GOOD, member("0/colour.jsonl/below.jsonl")),
    "too large": lambda: archive_of(GOOD, content=b"0" * 3_000_000),
    "too many": lambda: archive_of(*(member(f"0/{number}.jsonl") for number in range(1100))),
    "cut off": lambda: archive_of(GOOD, content=os.urandom(40_000))[:-20_000],
    "nested totals": lambda: archive_of(member("totals.json"), content=b"[" * 4096),
    "no archive": lambda: b"hello",
    "empty": lambda: b"",
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_of_a_tampered_archive_nothing_is_left(tmp_path: Path, kind: str) -> None:
    home = home_in(tmp_path)
    with pytest.raises(ConversationLost, match="archive"):
        unpack(io.BytesIO(TAMPERED[kind]()), home, FILES, LIMIT, None)
    assert files_in(tmp_path) == {}


def test_links_in_the_home_are_not_followed(tmp_path: Path) -> None:
    archive = packed(home_in(tmp_path / "a", ".agent/sessions/deep/two.jsonl"))
    home, outside = home_in(tmp_path / "b"), tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (home / ".agent/sessions/deep").rmdir()
    (home / ".agent/sessions/deep").symlink_to(outside / "deep")
    with pytest.raises(ConversationLost):
        unpack(archive, home, FILES, LIMIT, None)
    assert files_in(outside) == {}
