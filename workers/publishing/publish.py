"""Publishes a runner's diff on its forge: as a pull request, or as a commit on a branch.

Every step first checks whether it is done already. So a publication can resume after a crash between any two steps,
any number of times, and there is still one branch and one pull request.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from workers.errors import EngineError
from workers.forges.base import Forge, PullRequest
from workers.forges.registry import make_forge
from workers.job import Credential, Host, Secrets
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import Chain, Change, Commits, Landed, MergeConflict, named, temporary_repository
from workers.publishing.lfs_upload import upload_objects
from workers.publishing.pull_requests import Opener, PullRequestSpec, add_to, mark, open_or_update, refuse_ended
from workers.repository.access import Access
from workers.repository.git import GitFailed
from workers.repository.mirror import Mirror
from workers.repository.partial import access_to_push, source_of
from workers.repository.remote import Remote

_MAX_PUSHES = 5
_FETCHED_REF = "refs/publication/target"


@dataclass(frozen=True)
class PublishJob:
    """One attempt at one publication, frozen when it was claimed.

    `branch` is the branch to push. Without a `pull_request` the changes are committed to it directly, as one commit if
    `squash` is set. `planned_shas` are the commits that earlier attempts of this publication were about to push,
    `own_shas` all that this runner was ever about to push there. `landed` is this runner's last commit to the branch.
    `on_push` is called with each commit before it is pushed. `sensitive_kinds` names what the description of a pull request
    points reviewers to, among the paths that change; nothing is pushed if `refuses_sensitive` and there are any. `base_sha` is None if an external worker did not report
    what it worked on: then the requested `sha`, or the tip of the branch, is the base.
    """

    site_id: str
    repo_url: str
    base_sha: str | None
    branch: str
    base_branch: str
    changes: tuple[Change, ...]
    last: Change
    """The publication's own commit: who asked for it, when, its message, and the diff to publish."""
    secrets: Secrets
    lifeline: Lifeline
    on_push: Callable[[str], None]
    sensitive_kinds: Callable[[Iterable[str]], list[str]] = lambda paths: []
    refuses_sensitive: bool = False
    own_shas: frozenset[str] = frozenset()
    planned_shas: tuple[str, ...] = ()
    landed: Landed | None = None
    squash: bool = False
    message: str | None = None
    """Replaces the message of the last commit, which is made from its session, but not its trailers. None: keep that."""
    pull_request: PullRequestSpec | None = None
    credential: Credential | None = field(default=None, repr=False)
    sha: str | None = None
    partial_clone: bool = False
    read_lfs_object: Callable[[str], Iterator[bytes]] | None = field(default=None, repr=False)
    """Reads the content of a file of Git LFS that a session of the runner stored, see `Job`."""


@dataclass(frozen=True)
class Published:
    """What is on the forge now."""

    sha: str
    pull_request: PullRequest | None = None
    warnings: tuple[str, ...] = ()
    """Sentences on what the pull request lacks."""


def publish(job: PublishJob, host: Host) -> Published:
    """Push, then find or open the pull request. Every failure is an EngineError of the stage `publish`."""
    try:
        return _Publication(job, host).run()
    except TimeoutError as error:
        message = (
            "Git took too long to prepare or to push the change. Publish again, or ask the operator to raise "
            "AGENT_RUNNERS_FETCH_TIMEOUT_SECONDS."
        )
        raise EngineError("fetch_timeout", "publish", message, retryable=True) from error
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
        job, spec = self._job, self._job.pull_request
        # The API's address is judged before anything is pushed.
        forge = self._connect(spec) if spec else None
        if forge and spec and spec.number is not None:
            refuse_ended(forge.get_pull_request(spec.number))
        self._remote.check_answers()
        mirror = Mirror(self._host, job.site_id, job.lifeline)
        # A server that does not serve commits by id may have it on the branch that the runner started from.
        base_sha, _ = mirror.obtain_base(replace(job, branch=job.base_branch))
        if job.landed is not None:
            # The runner may have been rebased since.
            mirror.obtain_base(replace(job, branch=job.base_branch, base_sha=job.landed.base_sha))
        contents = mirror.contents(job)
        with temporary_repository(self._host, contents, job.secrets, job.lifeline) as commits:
            # The check of what is published reads some of them.
            contents.of_git(base_sha)
            changes = (job.last,) if job.squash else job.changes
            chain = commits.chain(base_sha, changes, job.message)
            kinds = self._sensitive_kinds(chain)
            lacks = upload_objects(commits, chain.added, self._remote, self._host, job.secrets, job.read_lfs_object)
            if forge is None or spec is None:
                return Published(self._land(commits, chain), warnings=tuple(lacks))
            self._push_own(commits, chain.tip)
            warning = f"> **Look closely:** this changes {', '.join(kinds)}.\n\n" if kinds else ""
            spec = replace(spec, sessions=warning + spec.sessions)
        as_opener = functools.partial(self._connect_as, spec)
        found, doubts = open_or_update(forge, as_opener, spec, job.branch, job.lifeline)
        warnings = [*lacks, *doubts, *add_to(forge, found.number, spec.additions), *mark(forge, chain.tip, spec.status)]
        return Published(chain.tip, found, tuple(warnings))

    def _sensitive_kinds(self, chain: Chain) -> list[str]:
        """What reviewers should not miss; raises EngineError `sensitive_files` if that must not be published."""
        kinds = self._job.sensitive_kinds(map(os.fsdecode, chain.changed))
        if kinds and self._job.refuses_sensitive:
            message = (
                f"The change touches {', '.join(kinds)}, which the site refuses. Nothing was pushed. Have another session "
                "undo that, or have an administrator set the site's sensitive_files to warn."
            )
            raise EngineError("sensitive_files", "publish", message)
        return kinds

    def _connect(self, spec: PullRequestSpec) -> Forge:
        return make_forge(spec.forge, self._job.repo_url, spec.api_url, spec.token, self._host)

    def _connect_as(self, spec: PullRequestSpec, opener: Opener) -> Forge:
        return self._connect(replace(spec, token=opener.token))

    def _push_own(self, commits: Commits, made: str) -> None:
        """Move the runner's own branch to `made`, replacing only commits that the runner pushed."""
        tip = self._tip(commits)
        if tip == made:
            return
        if tip is not None and tip not in self._job.own_shas:
            spec = self._job.pull_request
            other_way = "start a new runner" if spec and spec.number is not None else "try again with another branch"
            message = (
                f"The branch {self._job.branch} has commits on the forge that this runner did not make, so nothing was "
                f"pushed. Remove them from the branch, or {other_way}."
            )
            raise EngineError("branch_moved", "publish", message)
        self._push(commits, made, tip)

    def _land(self, commits: Commits, chain: Chain) -> str:
        """Commit a chain to the target branch, by a three-way merge if that has moved; returns the branch's new commit."""
        for _ in range(_MAX_PUSHES):
            tip = self._tip(commits)
            new = made = chain.tip
            if tip not in (None, chain.base):
                tip = self._fetch(commits)
                if landed := self._find_landed(commits, made, tip):
                    return landed
                if self._job.squash or not commits.is_ancestor(tip, made):
                    new = self._merge(commits, tip, made)
                if new == tip:
                    return tip
            try:
                self._push(commits, new, tip)
            except _BranchMoved:
                continue
            return new
        message = f"Others pushed to the branch {self._job.branch} during each of {_MAX_PUSHES} attempts to push. Try again later."
        raise EngineError("branch_moved", "publish", message, retryable=True)

    def _find_landed(self, commits: Commits, made: str, tip: str) -> str | None:
        """The commit in the history of `tip` that already put all of `made` on the branch; None if there is none.

        An earlier attempt may have pushed `made` as part of a merge, so its last planned commit comes first. If an
        earlier publication committed the same tree, the commit that it recorded is the one.
        """
        candidates = [*reversed(self._job.planned_shas), made]
        landed = self._job.landed
        if landed and commits.tree(landed.base_sha, landed.diff) == commits.tree_of(made):
            candidates.insert(0, landed.sha)
        return next((sha for sha in candidates if commits.is_ancestor(sha, tip)), None)

    def _merge(self, commits: Commits, tip: str, made: str) -> str:
        landed = self._job.landed
        try:
            if landed and commits.is_ancestor(landed.sha, tip):
                # A squashed commit is not in the history of `made`, so a plain merge would apply its changes again.
                tree = commits.merge_since(commits.tree(landed.base_sha, landed.diff), tip, made, self._job.last)
            else:
                tree = commits.merge(tip, made)
        except MergeConflict as conflict:
            message = (
                f"The branch {self._job.branch} has changed in the same places: {named(conflict.files)}. Nothing was pushed. Start a new "
                "runner from that branch, or commit to another branch and merge it by hand."
            )
            raise EngineError("merge_conflict", "publish", message) from None
        if tree == commits.tree_of(tip):
            return tip
        return commits.commit(tree, [tip] if self._job.squash else [tip, made], self._job.last)

    def _tip(self, commits: Commits) -> str | None:
        """The tip of the branch on the forge; None if there is no such branch."""
        listed = self._run_remote(
            commits, "ls-remote", "--quiet", *self._remote.options, "--", self._remote.url, self._ref
        )
        return next((line.split("\t")[0] for line in listed.splitlines() if line.endswith(f"\t{self._ref}")), None)

    def _fetch(self, commits: Commits) -> str:
        """Fetch the branch and return its tip, which may be newer than the one that was listed."""
        source = source_of(self._remote, commits.git.directory)
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow", *self._remote.options)
        arguments = ("fetch", *options, *source.options, "--", source.name, f"+{self._ref}:{_FETCHED_REF}")
        self._run_remote(commits, *arguments, access=source.access)
        return commits.git.line("rev-parse", "--verify", _FETCHED_REF)

    def _push(self, commits: Commits, sha: str, expected: str | None) -> None:
        """Push if the branch is still at `expected` on the forge. Raises `_BranchMoved` if it is not."""
        self._job.on_push(sha)
        lease = f"--force-with-lease={self._ref}:{expected or ''}"
        receive = ["--receive-pack=git -c safe.directory=* receive-pack"] if self._remote.is_local else []
        try:
            self._run_remote(
                commits,
                *("push", "--porcelain", "--no-verify", lease, *receive),
                *("--", self._remote.url, f"{sha}:{self._ref}"),
                access=access_to_push(self._remote, commits.git.directory),
            )
        except EngineError as error:
            # Git compares with the tip that the server sent as the push began. If the branch moved after that, by the
            # push of a lost attempt or of somebody else, the wording of the error depends on the forge.
            if error.code == "push_rejected" and self._tip(commits) != expected:
                raise _BranchMoved(self._job.branch) from error
            if error.code == "repository_auth":
                raise EngineError("forge_auth", "publish", self._missing_permission()) from None
            raise

    def _missing_permission(self) -> str:
        why = "the token may not write to it" if self._job.credential else "the site has no access token"
        return (
            f"The forge refused the push to the branch {self._job.branch}: {why}. Set the site's access_token to one that "
            'may push there (on GitHub "Contents: read and write", on GitLab `write_repository`, on Azure DevOps "Code: Read '
            '& write").'
        )

    def _run_remote(self, commits: Commits, *arguments: str, access: Access | None = None) -> str:
        """Run a git command that contacts the forge; raises EngineError with a message for a person."""
        output = b""
        try:
            for chunk in commits.git.stream(
                *arguments, access=access or self._remote.access, timeout=self._host.fetch_timeout_seconds
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
            return _BranchMoved(self._job.branch)
        remote_lines = re.findall(r"^remote: (.*\S)\s*$", self._remote.scrub(failed.errors), re.MULTILINE)
        detail = " ".join([rejected[2], *remote_lines])[:2000]
        message = (
            f"The forge rejected the push to {self._job.branch}: {detail}. Use another branch, or change what the forge "
            "allows there."
        )
        return EngineError("push_rejected", "publish", message)


class _BranchMoved(EngineError):
    """The branch moved after its tip was read and before the push."""

    def __init__(self, branch: str) -> None:
        message = f"The branch {branch} moved during the push. Try again later."
        super().__init__("branch_moved", "publish", message, retryable=True)
