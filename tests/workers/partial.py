"""Repositories for tests of partial clones, and what a mirror of one has."""

from __future__ import annotations

from pathlib import Path

from tests.workers.repositories import commit_all, git, make_origin, write
from workers.job import Host

TOO_LARGE = b"diff --git a/libs/x b/libs/x\nindex 1..2 100644\nGIT binary patch\nliteral %d\n" % 10**18
"""A patch that would make a file larger than any limit."""
OLD = "an old line that no session needs\n"


def make_large(folder: Path, files: dict[str, str | bytes]) -> Path:
    """An origin that filters what it sends. Each file has had another content before."""
    origin = make_origin(folder, {name: OLD + name for name in files})
    git(origin, "config", "uploadpack.allowFilter", "true")
    write(origin, files)
    commit_all(origin)
    return origin


def mirror_of(host: Host, site_id: str) -> Path:
    return host.work_dir / "mirrors" / site_id


def contents_in(mirror: Path, origin: Path) -> set[str]:
    """The paths of the files in the history of the origin whose content is in the mirror, each with `~` if it is an old one."""
    newest = dict(_files(git(origin, "ls-tree", "-r", "HEAD")))
    asked = {id: f"{path}~" for path, id in _files(git(origin, "ls-tree", "-r", "HEAD~1"))} if _has_old(origin) else {}
    asked |= {id: path for path, id in newest.items()}
    answers = git(mirror, "cat-file", "--batch-check", stdin="".join(f"{id}\n" for id in asked).encode())
    return {asked[line.split()[0]] for line in answers.splitlines() if not line.endswith(" missing")}


def _has_old(origin: Path) -> bool:
    return int(git(origin, "rev-list", "--count", "HEAD")) > 1


def _files(listed: str) -> list[tuple[str, str]]:
    return [(line.partition("\t")[2], line.split()[2]) for line in listed.splitlines()]
