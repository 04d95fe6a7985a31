"""Bringing a runner's diff to its forge: as a pull request, or as a commit on a branch.

Every step first looks whether it has been done, so that a publication may be taken up again after a crash between
any two of them, any number of times, and there is still one branch and one pull request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from workers.errors import EngineError
from workers.forges.base import PullRequest
from workers.job import Host, Secrets
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import Change, Commits, Landed, Merging, scratch
from workers.publishing.pull_requests import Wish, bring, connect, refuse_ended
from workers.repository.git import GitFailed
from workers.repository.mirror import Mirror
from workers.repository.remote import Remote

_TRIES = 5
_ASIDE = "refs/publication/target"


@dataclass(frozen=True)
class PublishJob:
    """One attempt at one publication, frozen when it was claimed.

    `branch` is what is pushed; without a `wish` the changes land on it directly, as one commit where `squash` is set.
    `planned_shas` is what earlier attempts were about to push, `own_shas` all that this runner ever was about to push
    there. `landed` is what this runner committed to the branch last. `on_push` is told of a commit before it is pushed.
    `base_sha` is None where a worker outside did not say what it worked on: then `sha`, which was asked for, or the
    branch as it is now, is the base.
    """

    site_id: str
    repo_url: str
    base_sha: str | None
    branch: str
    base_branch: str
    changes: tuple[Change, ...]
    last: Change
    """Who asks for this publication, when, and with which message; its diff is the one to publish."""
    secrets: Secrets
    lifeline: Lifeline
    on_push: Callable[[str], None]
    own_shas: frozenset[str] = frozenset()
    planned_shas: tuple[str, ...] = ()
    landed: Landed | None = None
    squash: bool = False
    message: str | None = None
    """What the last commit says in place of what is told of its session; None leaves that."""
    wish: Wish | None = None
    credential: str | None = field(default=None, repr=False)
    sha: str | None = None


@dataclass(frozen=True)
class Published:
    """What is on the forge now."""

    sha: str
    pull_request: PullRequest | None = None


def publish(job: PublishJob, host: Host) -> Published:
    """Push, and look the pull request up or open it. Every failure is an EngineError of the stage `publish`."""
    try:
        return _Publication(job, host).run()
    except EngineError as error:
        if error.stage == "publish":
            raise
        raise EngineError(error.code, "publish", error.message, retryable=error.retryable) from error


class _Publication:
    def __init__(self, job: PublishJob, host: Host) -> None:
        self._job, self._host = job, host
        self._remote = Remote(job.repo_url, job.credential, host)
        self._ref = f"refs/heads/{job.branch}"

    def run(self) -> Published:
        job, wish = self._job, self._job.wish
        forge = connect(wish.forge, job.repo_url, wish.api_url, job.credential, self._host) if wish else None
        if forge and wish and wish.number is not None:
            refuse_ended(forge.get_pull_request(wish.number))
        mirror = Mirror(self._host, job.site_id, job.lifeline)
        # Where a commit is not handed out by its id, it is looked for on the branch that the runner began on.
        base_sha, _ = mirror.obtain_base(replace(job, branch=job.base_branch))
        with scratch(self._host, mirror.directory, job.secrets, job.lifeline) as commits:
            changes = (job.last,) if job.squash else job.changes
            made = commits.chain(base_sha, changes, job.message)
            if forge is None or wish is None:
                return Published(self._land(commits, base_sha, made))
            self._push_own(commits, made)
        return Published(made, bring(forge, wish, job.branch, job.lifeline))

    def _push_own(self, commits: Commits, made: str) -> None:
        """Bring the runner's own branch to `made`, replacing nothing that the runner did not push."""
        tip = self._tip(commits)
        if tip == made:
            return
        if tip is not None and tip not in self._job.own_shas:
            is_bound = self._job.wish is not None and self._job.wish.number is not None
            message = (
                f"The branch {self._job.branch} holds commits on the forge that this runner did not make, so nothing was "
                f"pushed. Take them off it, or {'start a new runner' if is_bound else 'ask again with another branch'}."
            )
            raise EngineError("branch_moved", "publish", message)
        self._push(commits, made, tip)

    def _land(self, commits: Commits, base_sha: str, made: str) -> str:
        """Bring `made` onto the target branch, by a three-way merge where that has moved; its new commit."""
        for _ in range(_TRIES):
            tip = self._tip(commits)
            new = made
            if tip is not None:
                tip = self._fetch(commits)
                if landed := self._find_landed(commits, base_sha, made, tip):
                    return landed
                if self._job.squash or not commits.is_ancestor(tip, made):
                    new = self._merge(commits, base_sha, tip, made)
                if new == tip:
                    return tip
            try:
                self._push(commits, new, tip)
            except _Moved:
                continue
            return new
        message = (
            f"The branch {self._job.branch} was moved by others at each of {_TRIES} tries to push. Ask again later."
        )
        raise EngineError("branch_moved", "publish", message, retryable=True)

    def _find_landed(self, commits: Commits, base_sha: str, made: str, tip: str) -> str | None:
        """The commit below `tip` that brought all of `made` to the branch before; None where it is still to be done.

        An earlier attempt may have pushed `made` as part of a merge, so what it planned last comes first. A
        publication that landed the same tree before did so by the commit that it recorded.
        """
        candidates = [*reversed(self._job.planned_shas), made]
        landed = self._job.landed
        if landed and commits.tree(base_sha, landed.diff) == commits.tree_of(made):
            candidates.insert(0, landed.sha)
        return next((sha for sha in candidates if commits.is_ancestor(sha, tip)), None)

    def _merge(self, commits: Commits, base_sha: str, tip: str, made: str) -> str:
        landed = self._job.landed
        try:
            if landed and commits.is_ancestor(landed.sha, tip):
                # A squashed commit is none of the history of `made`, which would be merged once more all the same.
                tree = commits.merge_since(commits.tree(base_sha, landed.diff), tip, made, self._job.last)
            else:
                tree = commits.merge(tip, made)
        except Merging as conflict:
            files = ", ".join(conflict.files[:20]) + (" and more" if len(conflict.files) > 20 else "")
            message = (
                f"The branch {self._job.branch} has changed in the same places: {files}. Nothing was pushed. Start a new "
                "runner from that branch, or commit to another branch and merge it by hand."
            )
            raise EngineError("merge_conflict", "publish", message) from None
        if tree == commits.tree_of(tip):
            return tip
        return commits.commit(tree, [tip] if self._job.squash else [tip, made], self._job.last)

    def _tip(self, commits: Commits) -> str | None:
        """The commit that the branch is at on the forge; None where there is no such branch."""
        listed = self._speak(commits, "ls-remote", "--quiet", *self._remote.options, "--", self._remote.url, self._ref)
        return next((line.split("\t")[0] for line in listed.splitlines() if line.endswith(f"\t{self._ref}")), None)

    def _fetch(self, commits: Commits) -> str:
        """Fetch the branch and return its commit, which may be newer than the one that was listed."""
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow", *self._remote.options)
        self._speak(commits, "fetch", *options, "--", self._remote.url, f"+{self._ref}:{_ASIDE}")
        return commits.git.line("rev-parse", "--verify", _ASIDE)

    def _push(self, commits: Commits, sha: str, expected: str | None) -> None:
        """Push, if the branch is still at `expected` there. Raises `_Moved` where it is not."""
        self._job.on_push(sha)
        lease = f"--force-with-lease={self._ref}:{expected or ''}"
        receive = ["--receive-pack=git -c safe.directory=* receive-pack"] if self._remote.is_local else []
        try:
            self._speak(
                commits,
                *("push", "--porcelain", "--no-verify", lease, *receive),
                *("--", self._remote.url, f"{sha}:{self._ref}"),
            )
        except EngineError as error:
            # Git compares with what it was told as the push began. A forge has many words for a branch that moved
            # after that, by the push of a predecessor that is dead or of somebody else.
            if error.code == "push_rejected" and self._tip(commits) != expected:
                raise _Moved(self._job.branch) from error
            if error.code == "repository_auth":
                raise EngineError("forge_auth", "publish", self._missing_permission()) from None
            raise

    def _missing_permission(self) -> str:
        why = "the token may not write to it" if self._job.credential else "the site has no access token"
        return (
            f"The forge refused the push to the branch {self._job.branch}: {why}. Set the site's access_token to one that "
            'may push there (on GitHub, "Contents: read and write").'
        )

    def _speak(self, commits: Commits, *arguments: str) -> str:
        """Run a command that talks to the forge; what goes wrong is told in words for a person."""
        output = b""
        try:
            for chunk in commits.git.stream(
                *arguments, access=self._remote.access, timeout=self._host.fetch_timeout_seconds
            ):
                output += chunk
        except GitFailed as failed:
            raise self._translate(output.decode(errors="replace"), failed) from None
        return output.decode(errors="replace")

    def _translate(self, output: str, failed: GitFailed) -> EngineError:
        rejected = re.search(r"^!\t\S+\t\[(remote )?rejected\]\s*\((.*)\)$", output, re.MULTILINE)
        if rejected is None:
            return self._remote.translate(failed)
        if rejected[1] is None:
            return _Moved(self._job.branch)
        said = re.findall(r"^remote: (.*\S)\s*$", self._remote.scrub(failed.errors), re.MULTILINE)
        words = " ".join([rejected[2], *said])[:2000]
        return EngineError("push_rejected", "publish", f"The forge rejected the push to {self._job.branch}: {words}")


class _Moved(EngineError):
    """The branch moved between the look and the push."""

    def __init__(self, branch: str) -> None:
        super().__init__("branch_moved", "publish", f"The branch {branch} was moved meanwhile.", retryable=True)
