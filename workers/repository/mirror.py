"""The bare mirror of one site's repository on this host, shared by all attempts.

It stores no address, so a site may change its repository at any time. What attempts stand on is kept by
`refs/base/<sha>`; nothing is ever pruned, because workspaces borrow objects from here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from workers.errors import EngineError
from workers.job import Host
from workers.limits.budget import Budget
from workers.processes.launch import Launch, supervised
from workers.processes.lifeline import Lifeline
from workers.repository.git import Git, GitFailed
from workers.repository.remote import Remote

_TIP = "refs/fetched/tip"
_FULL_SHA = re.compile(r"[0-9a-f]{40}")
_ANY_SHA = re.compile(r"[0-9a-fA-F]{7,40}")
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance", "--no-write-fetch-head")
_POLL_SECONDS = 0.05
_FOR_EVER = ("tail", "-f", os.devnull)
# From this many packs on, looking an object up becomes slow, and small packs are merged.
_MANY_PACKS = 24


class Wish(Protocol):
    """Which commit of which repository is wanted, as a `Job` says it: `base_sha`, else `sha`, else the branch's tip."""

    @property
    def repo_url(self) -> str: ...
    @property
    def credential(self) -> str | None: ...
    @property
    def branch(self) -> str: ...
    @property
    def sha(self) -> str | None: ...
    @property
    def base_sha(self) -> str | None: ...


class Mirror:
    """The mirror of `site_id`. Safe to use from several processes at once; only fetching takes turns."""

    def __init__(self, host: Host, site_id: str, lifeline: Lifeline, budget: Budget | None = None) -> None:
        self._host = host
        self._folder = host.work_dir / "mirrors"
        self.directory = self._folder / plain_name(site_id)
        self._lifeline = lifeline
        self._git = Git(self.directory, lifeline, budget=budget)

    def obtain(self, wish: Wish) -> str:
        """The full id of the commit that is wanted, which is in the mirror and will stay there.

        A known commit costs no network. Raises EngineError `branch_not_found`, `base_gone`, `repository_auth`,
        `repository_unreachable`, `repository_refused` or `fetch_timeout`.
        """
        wanted = (wish.base_sha or wish.sha or "").lower()
        if wanted and not _ANY_SHA.fullmatch(wanted):
            raise EngineError("base_gone", "checkout", "The commit asked for is not the id of a commit.")
        if wanted and self._has(f"refs/base/{wanted}"):
            return wanted
        remote = Remote(wish.repo_url, wish.credential, self._host)
        self._check_branch(wish.branch)
        with self._locked():
            self._create()
            fetch = _Fetch(self._git, remote, self._host.fetch_timeout_seconds)
            base_sha = self._find(wanted, wish.branch, fetch) if wanted else fetch.branch(wish.branch)
            self._git.run("update-ref", f"refs/base/{base_sha}", base_sha)
            self._merge_packs()
        return base_sha

    def _find(self, wanted: str, branch: str, fetch: _Fetch) -> str:
        """The commit `wanted`: from here, else by its id, else by its branch, as some servers hand out only tips."""
        with contextlib.suppress(GitFailed):
            return self._commit(wanted)
        try:
            if _FULL_SHA.fullmatch(wanted):
                with _ignoring("base_gone"):
                    fetch.commit(wanted)
                    return self._commit(wanted)
            with _ignoring("branch_not_found"):
                fetch.branch(branch)
            return self._commit(wanted)
        except GitFailed as failed:
            message = f"The repository no longer has the commit {wanted}, or it is no commit."
            raise EngineError("base_gone", "checkout", message) from failed

    def _commit(self, name: str) -> str:
        return self._git.line("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")

    def _has(self, name: str) -> bool:
        with contextlib.suppress(GitFailed):
            return self.directory.is_dir() and bool(self._commit(name))
        return False

    def _check_branch(self, branch: str) -> None:
        """Refuse what git itself would not accept as the name of a branch, and what it would take for an option."""
        try:
            if branch.startswith("-") or not branch.isprintable():
                raise ValueError(branch)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace(self._git, directory=self._folder).run("check-ref-format", f"refs/heads/{branch}")
        except (ValueError, GitFailed):
            message = "The name of the branch is not one that git allows."
            raise EngineError("repository_refused", "checkout", message) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the mirror's lock, through a process that ends with the lifeline as a fetch does: a worker that dies or
        is frozen keeps nobody from the mirror for longer than its lease."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            with open(f"{self.directory}.lock", "ab") as lock:
                self._wait_for(lock.fileno())
                keeper = Launch(
                    _FOR_EVER, {"PATH": os.environ.get("PATH", os.defpath)}, str(self._folder), locks=(lock.fileno(),)
                )
                held.enter_context(supervised(keeper, self._lifeline, subprocess.DEVNULL))
            yield

    def _wait_for(self, lock: int) -> None:
        deadline = time.monotonic() + self._host.fetch_timeout_seconds
        with _in_time():
            while not _try_lock(lock):
                self._git.check_time(deadline)
                time.sleep(_POLL_SECONDS)

    def _create(self) -> None:
        """Make the mirror where there is none, and clear away what a killed git left. The lock is held."""
        if not self.directory.exists():
            new = self.directory.with_name(self.directory.name + ".new")
            shutil.rmtree(new, ignore_errors=True)
            replace(self._git, directory=new).run("init", "--quiet", "--bare", "--template=", str(new))
            new.rename(self.directory)
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*"):
            for leftover in self.directory.glob(pattern):
                leftover.unlink(missing_ok=True)

    def _merge_packs(self) -> None:
        if sum(1 for _ in self.directory.glob("objects/pack/*.pack")) >= _MANY_PACKS:
            self._git.run("repack", "--geometric=2", "-d", "--quiet")


class _Fetch:
    """What can be fetched from one remote while the lock is held. Failures are translated for a person."""

    def __init__(self, git: Git, remote: Remote, timeout: float) -> None:
        self._git = git
        self._remote = remote
        self._timeout = timeout

    def branch(self, name: str) -> str:
        """Fetch a branch and return its commit."""
        try:
            self._fetch(f"refs/heads/{name}")
        except EngineError as error:
            if error.code != "branch_not_found":
                raise
            empty = not self._speak("ls-remote", "--quiet", *self._remote.options, "--", self._remote.url)
            what = "is empty: it has no commit yet" if empty else f"has no branch named {name}"
            raise EngineError("branch_not_found", "checkout", f"The repository {what}.") from error
        return self._git.line("rev-parse", "--verify", "--quiet", f"{_TIP}^{{commit}}")

    def commit(self, sha: str) -> None:
        """Fetch one commit by its full id; many servers hand out any that a branch leads to."""
        self._fetch(sha)

    def _fetch(self, what: str) -> None:
        # One fixed name takes every tip, so that branches `a` and `a/b` of two repositories cannot collide.
        self._speak(*_FETCH, *self._remote.options, "--", self._remote.url, f"+{what}:{_TIP}")

    def _speak(self, *arguments: str) -> bytes:
        try:
            with _in_time():
                return self._git.run(*arguments, access=self._remote.access, timeout=self._timeout)
        except GitFailed as failed:
            raise self._remote.translate(failed) from None


def plain_name(identifier: str) -> str:
    """`identifier`, which becomes the name of a folder. Ids are made by us, so a bad one is a mistake of ours."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", identifier):
        raise ValueError(f"not a plain identifier: {identifier!r}")
    return identifier


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Say it so that a person understands when git, or waiting for its lock, took too long."""
    try:
        yield
    except TimeoutError:
        message = "The repository did not answer in time. Try again, or raise the time limit for a fetch."
        raise EngineError("fetch_timeout", "checkout", message, retryable=True) from None


@contextlib.contextmanager
def _ignoring(code: str) -> Iterator[None]:
    """Go on after an EngineError of `code`."""
    try:
        yield
    except EngineError as error:
        if error.code != code:
            raise


def _try_lock(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
