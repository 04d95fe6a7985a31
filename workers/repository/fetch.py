"""Fetching from one remote into the mirror. Failures are translated for a person."""

from __future__ import annotations

import contextlib
import difflib
import itertools
from collections.abc import Iterator

from workers.errors import EngineError
from workers.repository.git import Git, GitFailed
from workers.repository.remote import Remote

_TIP = "refs/fetched/tip"
_HEADS = "refs/heads/"
_FETCH = (
    *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance", "--no-write-fetch-head"),
    # The history of a remote may be cut off itself. Whoever borrows from the mirror learns where, see `borrow`.
    "--update-shallow",
)
_EMPTY = "It is empty: it has no commit yet. Push a first one, and try again."
# A missing branch is compared with so many that there are, and so many of them are named.
_COMPARED, _NAMED = 10_000, 3


class Fetch:
    """What can be fetched from one remote. The lock of the mirror is held meanwhile."""

    def __init__(self, git: Git, remote: Remote, timeout: float) -> None:
        self._git = git
        self._remote = remote
        self._timeout = timeout

    def default_branch(self) -> str:
        """The branch that the remote's HEAD names. Raises EngineError `branch_not_found` where there is none."""
        default, _ = self._list("HEAD")
        if default is not None:
            return default
        _, branches = self._list()
        message = "Its HEAD names no branch that exists. Set the site's default_branch." if branches else _EMPTY
        raise EngineError("branch_not_found", "checkout", f"The repository has no default branch. {message}")

    def branch(self, name: str) -> str:
        """Fetch a branch and return its commit. Raises EngineError `branch_not_found` with the names that there are."""
        try:
            self._fetch(f"{_HEADS}{name}")
        except EngineError as error:
            if error.code != "branch_not_found":
                raise
            raise self._missing(name) from error
        try:
            return self._git.line("rev-parse", "--verify", "--quiet", f"{_TIP}^{{commit}}")
        except GitFailed as failed:
            message = (
                f"Git read the repository without an error and got no commit for {name}. Run git fsck there; if it is a "
                "copy, use the repository that it was made from."
            )
            raise EngineError("repository_refused", "checkout", message) from failed

    def commit(self, sha: str) -> None:
        """Fetch one commit by its full id, if there is one; many servers hand out any that a branch leads to."""
        self._fetch(sha)

    def _fetch(self, what: str) -> None:
        # One fixed name takes every tip, so that branches `a` and `a/b` of two repositories cannot collide. Git ends
        # well, with a warning, where it refuses to set a ref; what an earlier fetch left there must not be taken for it.
        (self._git.directory / _TIP).unlink(missing_ok=True)
        self._speak(*_FETCH, *self._remote.options, "--", self._remote.url, f"+{what}:{_TIP}")

    def _missing(self, name: str) -> EngineError:
        """That there is no such branch, which one is the default there, and which names are like it."""
        default, branches = self._list()
        if not branches:
            return EngineError("branch_not_found", "checkout", f"The repository has no branch named {name}. {_EMPTY}")
        close = difflib.get_close_matches(name, itertools.islice(branches, _COMPARED), n=_NAMED)
        said = [f"The repository has no branch named {name}."]
        if default:
            said.append(f"Its default branch is {default}.")
        if close := [each for each in close if each != default]:
            said.append(f"There {'is' if len(close) == 1 else 'are'} {' and '.join(close)}.")
        return EngineError("branch_not_found", "checkout", " ".join(said))

    def _list(self, *refs: str) -> tuple[str | None, list[str]]:
        """The branch that the remote's HEAD names, if it exists, and all its branches, or those of `refs` alone."""
        patterns = refs or ("HEAD", f"{_HEADS}*")
        options = ("--symref", "--quiet", *self._remote.options)
        listed = self._speak("ls-remote", *options, "--", self._remote.url, *patterns)
        default, branches = None, []
        for line in listed.decode(errors="replace").splitlines():
            what, _, ref = line.partition("\t")
            if ref == "HEAD" and what.startswith(f"ref: {_HEADS}"):
                default = what.removeprefix(f"ref: {_HEADS}")
            elif ref.startswith(_HEADS):
                branches.append(ref.removeprefix(_HEADS))
        return default, branches

    def _speak(self, *arguments: str) -> bytes:
        try:
            with in_time():
                return self._git.run(*arguments, access=self._remote.access, timeout=self._timeout)
        except GitFailed as failed:
            raise self._remote.translate(failed) from None


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Say it so that a person understands when git, or waiting for its lock, took too long."""
    try:
        yield
    except TimeoutError:
        message = "The repository did not answer in time. Try again, or raise the time limit for a fetch."
        raise EngineError("fetch_timeout", "checkout", message, retryable=True) from None
