"""How GitHub writes a user, a repository and a pull request in JSON.

Most of it is addresses that nobody asks for; they are here because the published description of the API requires
them, and a client may rely on that. https://docs.github.com/en/rest/pulls/pulls
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

from flask import request

from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import Repository

LOGIN = "demo"
"""Everybody with a good token is this one user."""

_EPOCH = "2020-01-01T00:00:00Z"
_USER_LINKS = "events followers following gists organizations received_events repos starred subscriptions"
_REPOSITORY_LINKS = (
    "archive assignees blobs branches collaborators comments commits compare contents contributors deployments "
    "downloads events forks git_commits git_refs git_tags hooks issue_comment issue_events issues keys labels "
    "languages merges milestones notifications pulls releases stargazers statuses subscribers subscription tags "
    "teams trees"
)
_COUNTS = (
    "forks forks_count network_count open_issues open_issues_count size stargazers_count subscribers_count watchers "
    "watchers_count"
)
_SWITCHES = "archived disabled fork has_discussions has_downloads has_issues has_pages has_projects has_wiki"
_PULL_FIELDS = "number title body draft state created_at updated_at closed_at merged_at merge_commit_sha"


def user(login: str) -> dict[str, Any]:
    """GitHub's `simple-user`."""
    url, page = _addresses(f"users/{login}", login)
    known = {"login": login, "type": "User", "site_admin": False, "gravatar_id": "", "avatar_url": f"{page}/avatar"}
    return _identity("User", login, url, page) | known | _links(url, _USER_LINKS)


def public_user(login: str) -> dict[str, Any]:
    """GitHub's `public-user`: the answer to who the token belongs to."""
    unknown = dict.fromkeys(["bio", "blog", "company", "email", "hireable", "location"])
    counts = dict.fromkeys(["followers", "following", "public_gists", "public_repos"], 0)
    more = {"name": login, "user_view_type": "public", "created_at": _EPOCH, "updated_at": _EPOCH}
    return user(login) | unknown | counts | more


def repository(of: Repository) -> dict[str, Any]:
    """GitHub's `full-repository`, which `repository` is a part of."""
    url, page = _addresses(f"repos/{of.full_name}", of.full_name)
    return {
        **_identity("Repository", of.full_name, url, page),
        **_links(url, _REPOSITORY_LINKS),
        **dict.fromkeys(["clone_url", "git_url", "ssh_url", "svn_url"], f"{page}.git"),
        **dict.fromkeys(["description", "homepage", "language", "license", "mirror_url"]),
        **dict.fromkeys(_COUNTS.split(), 0),
        **dict.fromkeys(_SWITCHES.split(), False),
        **dict.fromkeys(["created_at", "updated_at", "pushed_at"], _EPOCH),
        "name": of.name,
        "full_name": of.full_name,
        "owner": user(of.owner),
        "private": of.is_private,
        "visibility": "private" if of.is_private else "public",
        "default_branch": of.default_branch,
        "permissions": {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True},
    }


def pull_in_list(of: Repository, pull: Pull) -> dict[str, Any]:
    """GitHub's `pull-request-simple`, as lists hold it."""
    base, _ = _addresses(f"repos/{of.full_name}", "")
    url, page = _addresses(f"repos/{of.full_name}/pulls/{pull.number}", f"{of.full_name}/pull/{pull.number}")
    issue = f"{base}/issues/{pull.number}"
    links = {
        "issue": issue,
        "comments": f"{issue}/comments",
        "commits": f"{url}/commits",
        "review_comments": f"{url}/comments",
        "review_comment": f"{base}/pulls/comments{{/number}}",
        "statuses": f"{base}/statuses/{pull.head_sha}",
    }
    return {
        **_identity("PullRequest", f"{of.full_name}#{pull.number}", url, page),
        **{name: getattr(pull, name) for name in _PULL_FIELDS.split()},
        **{f"{name}_url": address for name, address in links.items()},
        **{f"{kind}_url": f"{page}.{kind}" for kind in ("diff", "patch")},
        **dict.fromkeys(["assignee", "milestone", "auto_merge", "active_lock_reason"]),
        **{name: [] for name in ("assignees", "labels", "requested_reviewers", "requested_teams")},
        "_links": {name: {"href": address} for name, address in (links | {"self": url, "html": page}).items()},
        "locked": False,
        "user": user(LOGIN),
        "author_association": "MEMBER",
        "head": _side(of, pull.head, pull.head_sha),
        "base": _side(of, pull.base, pull.base_sha),
    }


def pull_request(of: Repository, pull: Pull) -> dict[str, Any]:
    """GitHub's `pull-request`: what a list tells, and what takes git to find out."""
    added, deleted, files = of.changes(pull.base_sha, pull.head_sha)
    mergeable = of.merged_tree(pull.base_sha, pull.head_sha) is not None if pull.is_open else None
    state = {True: "clean", False: "dirty", None: "unknown"}[mergeable]
    return {
        **pull_in_list(of, pull),
        **dict.fromkeys(["comments", "review_comments"], 0),
        **dict.fromkeys(["rebaseable", "maintainer_can_modify"], False),
        "merged": pull.merged_at is not None,
        "merged_by": user(LOGIN) if pull.merged_at else None,
        "mergeable": mergeable,
        "mergeable_state": "draft" if pull.is_open and pull.draft else state,
        "commits": of.commits(pull.base_sha, pull.head_sha),
        "additions": added,
        "deletions": deleted,
        "changed_files": files,
    }


def _side(of: Repository, branch: str, sha: str) -> dict[str, Any]:
    return {"label": f"{of.owner}:{branch}", "ref": branch, "sha": sha, "user": user(of.owner), "repo": repository(of)}


def _addresses(api: str, page: str) -> tuple[str, str]:
    """In the API and for people, at this server as the caller names it: PyGithub takes no other name of it."""
    return f"{request.host_url}api/v3/{api}", f"{request.host_url}{page}"


def _links(url: str, names: str) -> dict[str, str]:
    return {f"{name}_url": f"{url}/{name}" for name in names.split()}


def _identity(kind: str, name: str, url: str, page: str) -> dict[str, Any]:
    """The addresses of something, and numbers that stay the same without being kept anywhere."""
    number = zlib.crc32(f"{kind} {name}".encode())
    return {"id": number, "node_id": _node_id(kind, number), "url": url, "html_url": page}


def node_id_of(of: Repository, pull: Pull) -> str:
    """The name of a pull request in GraphQL."""
    return _node_id("PullRequest", zlib.crc32(f"PullRequest {of.full_name}#{pull.number}".encode()))


def _node_id(kind: str, number: int) -> str:
    return base64.b64encode(f"{kind}{number}".encode()).decode()
