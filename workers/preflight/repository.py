"""Whether a repository can be read and pushed to, and its forge asked. Nothing is fetched or pushed."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workers.errors import EngineError
from workers.forges.http import Limits
from workers.forges.registry import make_forge
from workers.job import Credential, Host
from workers.limits.git_limits import remote_limits
from workers.preflight import Check, failed
from workers.processes.lifeline import Lifeline
from workers.repository.fetch import Fetch, translate_timeout
from workers.repository.git import Git, GitFailed
from workers.repository.remote import Remote

_GIT_SECONDS = 20.0
_FORGE_LIMITS = Limits(call_seconds=5.0, total_seconds=10.0, calls=40)
_NO_TOKEN = "The site has no access token, so nothing can be pushed. Set it, or have the operator let your account use a GitHub App."
_PUSH_REFUSED = (
    'The token may read the repository but not push to it. Give it that permission (on GitHub "Contents: read and '
    'write", on GitLab `write_repository`, on Azure DevOps "Code: Read & write"), or set another access_token.'
)


@dataclass(frozen=True)
class Repository:
    """A site's repository. `branch` None is the remote's default branch, `git_credential` is for git alone."""

    url: str
    branch: str | None
    forge: str | None
    """Its kind, if it has pull requests."""
    forge_api_url: str | None
    token: Credential | None = field(repr=False)
    git_credential: Credential | None = field(repr=False)


def check_repository(repository: Repository, host: Host, lifeline: Lifeline) -> Iterator[Check]:
    """Check the repository, its branch, the right to push, and the forge's API."""
    try:
        remote = Remote(repository.url, repository.git_credential, host)
        if not remote.is_local and repository.token is None:
            yield Check("token", "failed", _NO_TOKEN, "no_token")
        elif remote.is_local:
            yield Check("token", "ok", "A local repository needs none.")
        else:
            own = isinstance(repository.token, str)
            yield Check("token", "ok", "The site has one." if own else "The GitHub App of this deployment makes one.")
        host.work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="preflight-", dir=host.work_dir) as folder:
            git = Git(Path(folder), lifeline, limits=remote_limits(host))
            git.run("init", "--quiet", "--bare", "--template=", folder)
            yield from _check_remote(repository, git, remote)
    except EngineError as error:
        yield failed("repository", error)
        yield from (Check(name, "skipped", "The repository could not be read.") for name in ("branch", "push"))
    yield _check_forge(repository, host)


def _check_remote(repository: Repository, git: Git, remote: Remote) -> Iterator[Check]:
    try:
        branch = Fetch(git, remote, _GIT_SECONDS).find_branch(repository.branch)
    except EngineError as error:
        if error.code != "branch_not_found":
            raise
        yield Check("repository", "ok", "It can be read.")
        yield failed("branch", error)
    else:
        yield Check("repository", "ok", "It can be read.")
        yield Check("branch", "ok", f"Sessions start from {branch}.")
    yield _check_push(git, remote)


def _check_push(git: Git, remote: Remote) -> Check:
    """Do all of a push except for the pushing: the server says at its beginning who may not."""
    tree = git.line("hash-object", "-t", "tree", "-w", "--stdin")
    author = ("-c", "user.name=Agent Runners", "-c", "user.email=agent-runners@localhost")
    commit = git.line(*author, "commit-tree", "-m", "Preflight", tree)
    branch = f"refs/heads/agent/preflight-{secrets.token_hex(6)}"
    receive = ["--receive-pack=git -c safe.directory=* receive-pack"] if remote.is_local else []
    try:
        with translate_timeout():
            arguments = (
                "push",
                "--dry-run",
                "--quiet",
                "--no-verify",
                *receive,
                "--",
                remote.url,
                f"{commit}:{branch}",
            )
            git.run(*arguments, access=remote.access, timeout=_GIT_SECONDS)
    except GitFailed as error:
        reason = remote.translate(error)
        if reason.code == "repository_auth":
            return Check("push", "failed", _PUSH_REFUSED, "push_refused")
        # The server has let us begin. Only then git compares the format of ids with that of our commit.
        if reason.code != "object_format_changed":
            return failed("push", reason)
    except EngineError as error:
        return failed("push", error)
    return Check("push", "ok", "New branches may be pushed.")


def _check_forge(repository: Repository, host: Host) -> Check:
    """Look for a pull request, which needs most of what opening one needs."""
    if repository.forge is None or repository.token is None:
        return Check("forge", "skipped", "There is no forge with pull requests, or no token for it.")
    place = (repository.forge, repository.url, repository.forge_api_url)
    try:
        make_forge(*place, repository.token, host, _FORGE_LIMITS).find_pull_request("agent/preflight")
    except EngineError as error:
        return failed("forge", error)
    return Check("forge", "ok", "Its API takes the token and shows the repository's pull requests.")
