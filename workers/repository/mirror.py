"""The bare mirror of one site's repository on this host, shared by all attempts.

It stores no URL, so a site may change its repository at any time. The base commits of attempts are kept by
`refs/base/<sha>`. Nothing is ever pruned, because workspaces use its objects through alternates.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from workers.errors import EngineError
from workers.job import Host
from workers.limits.budget import Budget
from workers.limits.git_limits import remote_limits
from workers.processes.lifeline import Lifeline
from workers.repository.alternates import is_borrowed
from workers.repository.branch_names import check_branch
from workers.repository.commit_request import Base, CommitRequest
from workers.repository.contents import Contents, find_missing
from workers.repository.damage import can_read, may_be_damage
from workers.repository.fetch import Fetch, ignoring
from workers.repository.git import Git, GitFailed
from workers.repository.mirror_files import has_base, init_mirror, merge_packs, remove_leftovers, remove_path
from workers.repository.mirror_lock import mirror_lock
from workers.repository.object_format import ID, ID_LENGTHS, other_format
from workers.repository.partial import is_partial, prepare_fetch
from workers.repository.plain_name import plain_name
from workers.repository.remote import Remote

log = logging.getLogger(__name__)

_FULL_SHA = re.compile(ID)
_ANY_SHA = re.compile(r"[0-9a-fA-F]{7,64}")
Fetched = TypeVar("Fetched")


class Mirror:
    """The mirror of `site_id`. Safe to use from several processes at once; fetches run one at a time."""

    def __init__(
        self,
        host: Host,
        site_id: str,
        lifeline: Lifeline,
        budget: Budget | None = None,
        patience: float | None = None,
    ) -> None:
        self._host = host
        self._patience = patience
        self._folder = host.work_dir / "mirrors"
        self.directory = self._folder / plain_name(site_id)
        self._lifeline = lifeline
        self._git = Git(self.directory, lifeline, budget=budget, limits=remote_limits(host))
        self.was_damaged = False
        """Whether the mirror could not be read, and was recreated."""

    def obtain_base(self, request: CommitRequest) -> Base:
        """The requested commit, by its full id, and its branch. Fetches it if it is not in the mirror.

        No network is used if the commit is known and the branch is named. Raises EngineError `branch_not_found`,
        `base_gone`, `object_format_changed`, `repository_auth`, `repository_unreachable`, `repository_refused` or
        `fetch_timeout`; FetchBusy if another process has fetched for longer than the mirror's `patience`.
        """
        wanted = (request.base_sha or request.sha or "").lower()
        if wanted and not _ANY_SHA.fullmatch(wanted):
            raise EngineError(
                "base_gone",
                "checkout",
                f"{wanted!r} is not a commit id. Use the full or abbreviated id of a commit.",
            )
        if wanted and request.branch is not None and self._keeps(wanted) and not self._becomes_whole(request):
            return Base(wanted, request.branch)
        remote = Remote(request.repo_url, request.credential, self._host)
        if request.branch is not None:
            check_branch(request.branch)
        with self._lock():
            if self._becomes_whole(request):
                return self._make_anew(wanted, request, remote)
            try:
                return self._obtain(wanted, request, remote)
            except (EngineError, OSError) as error:
                if isinstance(error, EngineError) and not may_be_damage(error):
                    raise
                return self._replace(wanted, request, remote, error)

    def repair(self, request: CommitRequest, failed: GitFailed) -> None:
        """Recreate the mirror if what it has of the requested base cannot be read. Otherwise raise `failed`.

        `obtain_base` does not read a base that it finds in the mirror.
        """
        assert request.base_sha is not None
        if can_read(self._git, request.base_sha):
            raise failed
        remote = Remote(request.repo_url, request.credential, self._host)
        with self._lock():
            self._replace(request.base_sha, request, remote, failed)

    def contents(self, request: CommitRequest) -> Contents:
        """Obtains what a partial mirror lacks of commits that it has."""
        return Contents(self._git, partial(self._obtain_contents, request))

    def refresh(self, request: CommitRequest) -> str | None:
        """Fetch the branch, so that an attempt that follows has little to fetch. Returns its commit.

        None if the mirror is being fetched by another process. Raises EngineError as `obtain_base` does.
        """
        remote = Remote(request.repo_url, request.credential, self._host)
        with self._lock(wait=False) as is_ours:
            if not is_ours:
                return None
            if self._becomes_whole(request):
                return self._make_anew("", request, remote).sha

            def fetched() -> str:
                fetch = Fetch(self._git, remote, self._host.fetch_timeout_seconds)
                return fetch.branch(request.branch or fetch.default_branch())

            commit = self._in_its_format(fetched, request)
            merge_packs(self._git)
            return commit

    def remove(self) -> bool:
        """Remove the mirror of a site that has no sessions any more. False if a process uses it: then nothing is removed."""
        if not self.evict():
            return False
        Path(f"{self.directory}.lock").unlink(missing_ok=True)
        return True

    def evict(self) -> bool:
        """As `remove`, for a site whose next session fetches it again: the lock stays, for those who wait for it."""
        with self._lock(wait=False) as is_ours:
            if not is_ours or is_borrowed(self._host, self.directory):
                return False
            gone = self.directory.with_name(f"{self.directory.name}.damaged")
            for path in (gone, self.directory.with_name(f"{self.directory.name}.new"), self._beside().directory):
                remove_path(path)
            with contextlib.suppress(FileNotFoundError):
                self.directory.rename(gone)
            remove_path(gone)
        return True

    def find_default_branch(self, request: CommitRequest) -> str | None:
        """The branch that the remote's HEAD names; None if it names none or the remote does not answer.

        Call it after `obtain_base`.
        """
        remote = Remote(request.repo_url, request.credential, self._host)
        with contextlib.suppress(EngineError):
            return Fetch(self._git, remote, self._host.fetch_timeout_seconds).default_branch()
        return None

    def list_branches(self, request: CommitRequest) -> list[str] | None:
        """The remote's branches; None if it does not answer. Call it after `refresh`."""
        remote = Remote(request.repo_url, request.credential, self._host)
        with contextlib.suppress(EngineError):
            return Fetch(self._git, remote, self._host.fetch_timeout_seconds).branches()
        return None

    def _obtain_contents(self, request: CommitRequest, ids: Sequence[bytes]) -> None:
        remote = Remote(request.repo_url, request.credential, self._host)
        with self._lock():
            # Another process may have fetched them meanwhile.
            if missing := find_missing(self._git, ids):
                prepare_fetch(self._git, becomes_partial=False)
                Fetch(self._git, remote, self._host.fetch_timeout_seconds).contents(missing)
                merge_packs(self._git)
                if find_missing(self._git, missing):
                    raise GitFailed("fetch", 0, "the mirror still lacks contents that the server has sent", "checkout")

    def _obtain(self, wanted: str, request: CommitRequest, remote: Remote) -> Base:
        """As `obtain_base`, for a base that is not in the mirror. The lock is held."""

        def fetched() -> Base:
            fetch = Fetch(self._git, remote, self._host.fetch_timeout_seconds)
            name = fetch.default_branch() if request.branch is None else request.branch
            return Base(self._find(wanted, name, fetch) if wanted else fetch.branch(name), name)

        base = self._in_its_format(fetched, request)
        if not self._keeps(base.sha):
            self._git.run("update-ref", f"refs/base/{base.sha}", base.sha)
        merge_packs(self._git)
        return base

    def _in_its_format(self, fetch: Callable[[], Fetched], request: CommitRequest) -> Fetched:
        """What `fetch` returns. A mirror without a base is made again if the remote has the other object format.

        The lock is held. Raises EngineError `object_format_changed` if there is a base, and what `fetch` does.
        """
        self._create()
        prepare_fetch(self._git, becomes_partial=request.partial_clone)
        try:
            return fetch()
        except EngineError as error:
            if error.code != "object_format_changed" or any(self.directory.glob("refs/base/*")):
                raise
        self._git = init_mirror(self._git, other_format(self._git.object_format))
        prepare_fetch(self._git, becomes_partial=request.partial_clone)
        return fetch()

    def _becomes_whole(self, request: CommitRequest) -> bool:
        """Whether this is a partial mirror of a site that no longer wants one, and no one uses it."""
        is_unwanted = not request.partial_clone and is_partial(self.directory)
        return is_unwanted and not is_borrowed(self._host, self.directory)

    def _replace(self, wanted: str, request: CommitRequest, remote: Remote, error: EngineError | OSError) -> Base:
        """Recreate a damaged mirror, which `error` comes from. Raises `error` if that fails as well. The lock is held."""
        try:
            base = self._make_anew(wanted, request, remote)
        except EngineError:
            raise error from None
        log.warning("a damaged mirror was recreated", extra={"mirror": self.directory.name})
        self.was_damaged = True
        return base

    def _make_anew(self, wanted: str, request: CommitRequest, remote: Remote) -> Base:
        """Make the mirror again, beside what is there. Raises what `_obtain` does, and then nothing has changed.

        The lock is held. Bases of other attempts are fetched too, as far as the remote still has them.
        """
        beside = self._beside()
        beside._git = replace(self._git, directory=beside.directory)
        old = self.directory.with_name(f"{self.directory.name}.damaged")
        remove_path(beside.directory)
        remove_path(old)
        try:
            base = beside._obtain(wanted, request, remote)
        except EngineError:
            remove_path(beside.directory)
            raise
        fetch = Fetch(beside._git, remote, self._host.fetch_timeout_seconds)
        for kept in self.directory.glob("refs/base/*"):
            if _FULL_SHA.fullmatch(kept.name) and not beside._keeps(kept.name):
                with contextlib.suppress(EngineError):
                    fetch.commit(kept.name)
                    beside._git.run("update-ref", f"refs/base/{kept.name}", kept.name)
        self.directory.rename(old)
        beside.directory.rename(self.directory)
        remove_path(old)
        return base

    def _beside(self) -> Mirror:
        """The mirror that takes the place of a damaged one when it is complete."""
        return Mirror(self._host, f"{self.directory.name}-anew", self._lifeline)

    def _find(self, wanted: str, branch: str, fetch: Fetch) -> str:
        """The commit `wanted`: from the mirror, else fetched by its id, else through its branch.

        Some servers allow only the tips of branches to be fetched.
        """
        with contextlib.suppress(GitFailed):
            return self._commit(wanted)
        try:
            if len(wanted) == ID_LENGTHS[self._git.object_format]:
                with ignoring("base_gone"):
                    fetch.commit(wanted)
                    return self._commit(wanted)
            with ignoring("branch_not_found"):
                fetch.branch(branch)
            return self._commit(wanted)
        except GitFailed as failed:
            is_other = _FULL_SHA.fullmatch(wanted) and len(wanted) != ID_LENGTHS[self._git.object_format]
            reason = "It is an id of another object format" if is_other else "It may have been removed by a force push"
            message = f"The repository has no commit {wanted}. {reason}."
            raise EngineError("base_gone", "checkout", message) from failed

    def _commit(self, name: str) -> str:
        return self._git.line("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")

    def _keeps(self, sha: str) -> bool:
        """Whether the commit is a base already."""
        return has_base(self.directory, sha)

    def _lock(self, *, wait: bool = True) -> contextlib.AbstractContextManager[bool]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seconds = self._host.fetch_timeout_seconds if wait else None
        return mirror_lock(self._git, self._lifeline, seconds, self._patience)

    def _create(self) -> None:
        """Create the mirror if it does not exist, and remove temporary files of killed commands. The lock is held.

        Raises OSError if it is damaged.
        """
        if not self.directory.is_dir():
            self._git = init_mirror(self._git, "sha1")
        # Git does without it, and those who borrow the mirror's objects do not.
        (self.directory / "config").stat()
        remove_leftovers(self.directory)
