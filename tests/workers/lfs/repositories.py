"""Repositories with Git LFS on the demonstration forge."""

from __future__ import annotations

import hashlib

from tests.demo.forge import DemoForge, Repository

ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
BIG = bytes(range(256)) * 40


def oid_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pointer(content: bytes) -> str:
    """What is in a repository instead of the content, as `git lfs pointer` prints it."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid_of(content)}\nsize {len(content)}\n"


def store(repository: Repository, *contents: bytes) -> None:
    """Put objects on the LFS server of a repository."""
    (repository.folder / "lfs").mkdir(exist_ok=True)
    for content in contents:
        (repository.folder / "lfs" / oid_of(content)).write_bytes(content)


def stored(repository: Repository) -> set[str]:
    """The ids of the objects that are on the LFS server of a repository."""
    return {path.name for path in (repository.folder / "lfs").glob("*")}


def with_lfs(forge: DemoForge, name: str, *, on_server: bool = True) -> Repository:
    """A repository in which LFS keeps `assets/big.bin`, and the server has its content unless it is not `on_server`."""
    files = {".gitattributes": ATTRIBUTES, "assets/big.bin": pointer(BIG), "README": "hello\n"}
    repository = forge.make_repository("acme", name, files)
    if on_server:
        store(repository, BIG)
    return repository
