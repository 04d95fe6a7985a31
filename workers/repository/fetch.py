"""Fetch from one remote into the mirror, and translate failures into errors that a person can act on."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import IO

from workers.errors import EngineError
from workers.repository.branch_names import is_branch_name
from workers.repository.git import Git, GitFailed, OverLimit
from workers.repository.mirror_files import has_base
from workers.repository.partial import source_of
from workers.repository.remote import Remote
from workers.repository.trees import fields_of

_TIP = "refs/fetched/tip"
_HEADS = "refs/heads/"
_ALL = f"{_HEADS}*"
_FETCH = (
    *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance", "--no-write-fetch-head"),
    # The remote may be a shallow repository itself. `init_with_alternates` copies its shallow boundary.
    "--update-shallow",
)
_EMPTY = "It is empty. Push a first commit, then try again."
_NO_CONTENT = (
    "The server lacks the content of a file that the repository names, or does not give it by its id. Run git fsck in the "
    "repository; if it is well, set the site's partial_clone to false."
)
# How many branches a missing name is compared with, and how many similar ones the error lists.
MOST_LISTED = 5_000
_MAX_COMPARED, _MAX_SUGGESTED = 10_000, 3


class Fetch:
    """Fetches from one remote. The caller holds the lock of the mirror."""

    def __init__(self, git: Git, remote: Remote, timeout: float) -> None:
        self._git = git
        self._remote = remote
        self._timeout = timeout
        # The tip is missing if the last fetch failed. Otherwise the server is likely to answer, and is not asked twice.
        self._is_first = not (git.directory / _TIP).exists()

    def default_branch(self) -> str:
        """The branch that the remote's HEAD names. Raises EngineError `branch_not_found` if there is none."""
        with closing(self._list("HEAD")) as listed:
            if default := next(filter(None, map(_named_by_head, listed)), None):
                return default
        with closing(self._list(_ALL)) as listed:
            is_empty = next(listed, None) is None
        message = _EMPTY if is_empty else "Its HEAD names a branch that does not exist. Set the site's default_branch."
        raise EngineError("branch_not_found", "checkout", f"The repository has no default branch. {message}")

    def find_branch(self, name: str | None) -> str:
        """The branch of that name, or the default branch, without fetching it. Raises EngineError `branch_not_found`."""
        if name is None:
            return self.default_branch()
        with closing(self._list(f"{_HEADS}{name}")) as listed:
            if name in map(_branch_of, listed):
                return name
        raise self._branch_not_found(name)

    def branches(self) -> list[str]:
        """The names of the remote's branches, at most `MOST_LISTED`, in their order."""
        with closing(self._list(_ALL)) as listed:
            return list(itertools.islice(filter(is_branch_name, map(_branch_of, listed)), MOST_LISTED))

    def branch(self, name: str) -> str:
        """Fetch a branch and return its commit. Raises EngineError `branch_not_found`, which suggests similar names."""
        try:
            self._fetch(f"{_HEADS}{name}")
        except EngineError as error:
            if error.code != "branch_not_found":
                raise
            raise self._branch_not_found(name) from error
        if (tip := self._tip_that_is_a_base()) is not None:
            return tip
        try:
            return self._git.line("rev-parse", "--verify", "--quiet", f"{_TIP}^{{commit}}")
        except GitFailed as failed:
            message = (
                f"Git fetched the branch {name} without an error but received no commit. Run git fsck in the "
                "repository; if it is a copy, use the original repository instead."
            )
            raise EngineError("repository_refused", "checkout", message) from failed

    def _tip_that_is_a_base(self) -> str | None:
        """The tip, if it is a base of the mirror already: then it is a commit, and git need not be asked."""
        with contextlib.suppress(FileNotFoundError):
            tip = (self._git.directory / _TIP).read_text().strip()
            return tip if has_base(self._git.directory, tip) else None
        return None

    def commit(self, sha: str) -> None:
        """Fetch one commit by its full id. Many servers allow this for any commit that a branch reaches."""
        self._fetch(sha)

    def contents(self, ids: Iterable[bytes]) -> None:
        """Fetch files by their ids into a partial mirror. Raises EngineError `content_missing` if the server refuses one."""
        with tempfile.TemporaryFile(dir=self._git.directory) as stdin:
            stdin.writelines(id + b"\n" for id in ids)
            stdin.seek(0)
            try:
                self._run(stdin=stdin)
            except EngineError as error:
                if error.code != "base_gone":
                    raise
                raise EngineError("content_missing", "checkout", _NO_CONTENT) from error

    def _fetch(self, what: str) -> None:
        # Every tip is stored under one fixed name, so that branches `a` and `a/b` of two repositories cannot collide.
        # Git exits with 0 and a warning when it refuses to set a ref, so the tip of an earlier fetch is removed first.
        (self._git.directory / _TIP).unlink(missing_ok=True)
        self._run(f"+{what}:{_TIP}")

    def _run(self, *what: str, stdin: IO[bytes] | None = None) -> None:
        """Run `git fetch` for these refs, or with the option to read them from `stdin`."""
        with self._translated():
            source = source_of(self._remote, self._git.directory, has_haves=stdin is None)
            options = [*source.options, *self._remote.options, *(["--stdin"] if stdin else [])]
            arguments = (*_FETCH, *options, "--", source.name, *what)
            self._git.run(*arguments, stdin=stdin, access=source.access, timeout=self._timeout)

    def _branch_not_found(self, name: str) -> EngineError:
        """The error for a missing branch, with the default branch and similar names."""
        default: str | None = None
        branches: list[str] = []
        with closing(self._list("HEAD", _ALL)) as listed:
            for line in listed:
                default = default or _named_by_head(line)
                branches += filter(None, [_branch_of(line)])
                if len(branches) == _MAX_COMPARED:
                    break
        if not branches:
            return EngineError("branch_not_found", "checkout", f"The repository has no branch named {name}. {_EMPTY}")
        close = difflib.get_close_matches(name, branches, n=_MAX_SUGGESTED)
        parts = [f"The repository has no branch named {name}."]
        if default:
            parts.append(f"Its default branch is {default}.")
        if close := [each for each in close if each != default]:
            parts.append(f"Similar branches: {', '.join(close)}.")
        return EngineError("branch_not_found", "checkout", " ".join(parts))

    def _list(self, *patterns: str) -> Generator[str, None, None]:
        """The lines of `git ls-remote`, as they arrive: a repository may have any number of refs."""
        # Without HEAD, a server that speaks version 2 of the protocol sends no other refs than branches.
        heads = [] if "HEAD" in patterns else ["--heads"]
        options = ("--symref", "--quiet", *heads, *self._remote.options)
        arguments = ("ls-remote", *options, "--", self._remote.url, *patterns)
        with self._translated():
            listed = self._git.stream(*arguments, access=self._remote.access, timeout=self._timeout)
            with closing(listed):
                for line in fields_of(listed, b"\n"):
                    yield line.decode(errors="replace")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Check that the remote answers, unless it did before, and translate the failures of a command that contacts it."""
        if self._is_first:
            self._remote.check_answers()
            self._is_first = False
        try:
            with translate_timeout():
                yield
        except GitFailed as failed:
            raise self._remote.translate(failed) from None
        except OverLimit as error:
            for unfinished in self._git.directory.glob("objects/pack/tmp_*"):
                unfinished.unlink(missing_ok=True)
            error.message += " The settings are AGENT_RUNNERS_MAX_FETCH_BYTES and AGENT_RUNNERS_MAX_GIT_MEMORY_BYTES."
            raise


def _named_by_head(line: str) -> str | None:
    """The branch that the remote's HEAD names, if this line of `git ls-remote --symref` says so."""
    what, _, ref = line.partition("\t")
    found = what.removeprefix(f"ref: {_HEADS}")
    return found if ref == "HEAD" and found != what else None


def _branch_of(line: str) -> str:
    """The branch that this line lists; empty if it lists something else."""
    ref = line.partition("\t")[2]
    return ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else ""


@contextlib.contextmanager
def translate_timeout() -> Iterator[None]:
    """Turn a TimeoutError, of git or of waiting for the mirror's lock, into EngineError `fetch_timeout`."""
    try:
        yield
    except TimeoutError:
        message = "The repository did not answer in time. Try again, or raise AGENT_RUNNERS_FETCH_TIMEOUT_SECONDS."
        raise EngineError("fetch_timeout", "checkout", message, retryable=True) from None


@contextlib.contextmanager
def ignoring(code: str) -> Iterator[None]:
    """Ignore an EngineError with this code."""
    try:
        yield
    except EngineError as error:
        if error.code != code:
            raise
