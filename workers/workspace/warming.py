"""Prepares this host for the sessions of a site, so that none of them has to wait for a whole repository."""

from __future__ import annotations

from dataclasses import dataclass, field

from workers.job import Credential, Host, Limits
from workers.limits.git_limits import session_limits
from workers.processes.lifeline import Lifeline
from workers.repository.attributes import find_generated
from workers.repository.cone import Cone
from workers.repository.git import Git
from workers.repository.mirror import Mirror
from workers.workspace.base import has_base, open_base
from workers.workspace.base_files import open_files
from workers.workspace.overlay_probe import can_overlay


@dataclass(frozen=True)
class SiteRepository:
    """The repository of a site. Without a `branch`, its sessions start from the remote's default branch."""

    site_id: str
    repo_url: str
    branch: str | None
    sparse_paths: tuple[str, ...] = ()
    partial_clone: bool = False
    credential: Credential | None = field(default=None, repr=False)
    sha: None = None
    base_sha: None = None


@dataclass(frozen=True)
class Seen:
    """What a repository has: the names of its branches, None if it did not list them, and the patterns of its generated
    files, see `workers.repository.attributes`."""

    branches: list[str] | None
    generated: list[str]


def warm(host: Host, repository: SiteRepository, limits: Limits, lifeline: Lifeline) -> Seen | None:
    """Fetch the branch into the mirror of the site, and make a base of it if this host has none of the site yet.

    Later bases are left to the sessions that need them: most commits of a busy branch never have a session. Does nothing
    and returns None while another process fetches. Raises EngineError as `Mirror.obtain_base` and `open_base` do, and
    OSError.
    """
    mirror = Mirror(host, repository.site_id, lifeline)
    sha = mirror.refresh(repository)
    if sha is None:
        return None
    cone = Cone.of(repository.sparse_paths)
    mirror.contents(repository).of_tree(sha, cone)
    seen = Seen(mirror.list_branches(repository), find_generated(Git(mirror.directory, lifeline), sha))
    if not has_base(host, repository.site_id):
        git = Git(mirror.directory, lifeline, limits=session_limits(host, limits))
        with open_base(host, repository.site_id, sha, git, cone) as base:
            if can_overlay(host):
                open_files(host, base, git)
    return seen
