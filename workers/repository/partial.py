"""Partial mirrors: they have the commits and folders of a whole history, and of files only the contents that were needed.

Git knows nothing of that, except during a fetch: no remote is configured that promises what is missing. So no command
fetches by itself, and one that reads a content that is not here fails. What a commit needs is fetched before, by its id.
The mark of such a mirror is in its configuration, which repositories that borrow its objects have as well.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from workers.repository.access import Access
from workers.repository.git import Git
from workers.repository.remote import Remote

_MARK = ("agent-runners.partial", "true")
_MARKED = b"partial = true"
# Git takes the packs that have such a file beside them for those of a remote that has what they lack.
_PROMISED = ".promisor"
# The remote exists in the environment of one command only, see `source_of`.
_REMOTE, _FILTER = "origin", "blob:none"


def is_partial(directory: Path) -> bool:
    """Whether contents may be missing in a mirror, or in a repository that borrows its objects."""
    with suppress(OSError):
        return _MARKED in (directory / "config").read_bytes()
    return False


def prepare_fetch(git: Git, *, becomes_partial: bool) -> None:
    """Make the mirror a partial one, if it is to become one, and ready for a fetch if it is. The lock is held."""
    if becomes_partial and not is_partial(git.directory):
        git.run("config", *_MARK)
    if is_partial(git.directory):
        # All of it comes from a remote that has the rest. Merged packs have lost their files.
        promise_rest(git.directory / "objects" / "pack")


def promise_rest(packs: Path) -> None:
    """Let git know that a remote has what the packs in a folder lack."""
    for pack in packs.glob("*.pack"):
        pack.with_suffix(_PROMISED).touch()


def promises_rest(packs: Path) -> bool:
    """Whether the packs in a folder may lack objects."""
    return any(packs.glob(f"*{_PROMISED}"))


class Source(NamedTuple):
    """What a fetch needs to know of a remote: options, its name or URL, and what it may reach."""

    options: tuple[str, ...]
    name: str
    access: Access


def source_of(remote: Remote, directory: Path, *, has_haves: bool = True) -> Source:
    """How the repository in `directory` fetches from a remote. A server that knows no filters sends everything.

    Not `has_haves`: the server does not learn which commits are here, because it would leave out files that they have.
    """
    if not is_partial(directory):
        return Source((), remote.url, remote.access)
    settings = {"url": remote.url, "promisor": "true", "partialCloneFilter": _FILTER}
    config = tuple((f"remote.{_REMOTE}.{name}", value) for name, value in settings.items())
    if not has_haves:
        config += (("fetch.negotiationAlgorithm", "noop"),)
    access = replace(remote.access, config=(*remote.access.config, *config))
    return Source((f"--filter={_FILTER}",), _REMOTE, access)


def access_to_push(remote: Remote, directory: Path) -> Access:
    """What a push from the repository in `directory` may reach. A partial one cannot send history that the server has, also
    if no branch has it any more, so git asks for that."""
    if not is_partial(directory):
        return remote.access
    return replace(remote.access, config=(*remote.access.config, ("push.negotiate", "true")))


def write_tree(git: Git) -> str:
    """Store the tree of the index of `git`, whose objects exist: all, or in a partial repository the new ones."""
    return git.line("write-tree", *(["--missing-ok"] if is_partial(git.directory) else []))
