"""How GitHub writes a user, a repository and a pull request in JSON.

Most of it is addresses that nobody asks for; they are here because the published description of the API requires
them, and a client may rely on that. https://docs.github.com/en/rest/pulls/pulls
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

from app.demo.forge.repositories import Repository
from app.demo.forge.store import Pull

_EPOCH = "2020-01-01T00:00:00Z"
_USER_LINKS = [
    "events",
    "followers",
    "following",
    "gists",
    "organizations",
    "received_events",
    "repos",
    "starred",
    "subscriptions",
]
_REPOSITORY_LINKS = [
    "archive",
    "assignees",
    "blobs",
    "branches",
    "collaborators",
    "comments",
    "commits",
    "compare",
    "contents",
    "contributors",
    "deployments",
    "downloads",
    "events",
    "forks",
    "git_commits",
    "git_refs",
    "git_tags",
    "hooks",
    "issue_comment",
    "issue_events",
    "issues",
    "keys",
    "labels",
    "languages",
    "merges",
    "milestones",
    "notifications",
    "pulls",
    "releases",
    "stargazers",
    "statuses",
    "subscribers",
    "subscription",
    "tags",
    "teams",
    "trees",
]
_COUNTS = [
    "forks",
    "forks_count",
    "open_issues",
    "open_issues_count",
    "size",
    "stargazers_count",
    "watchers",
    "watchers_count",
]


def user(origin: str, login: str) -> dict[str, Any]:
    """GitHub's `simple-user`."""
    url = f"{origin}/api/v3/users/{login}"
    return {
        "login": login,
        **_identity("User", login),
        "avatar_url": f"{origin}/avatars/{login}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{origin}/{login}",
        "type": "User",
        "site_admin": False,
        **{f"{name}_url": f"{url}/{name}" for name in _USER_LINKS},
    }


def public_user(origin: str, login: str) -> dict[str, Any]:
    """GitHub's `public-user`: the answer to who the token belongs to."""
    nothing = dict.fromkeys(["bio", "blog", "company", "email", "hireable", "location"])
    counts = dict.fromkeys(["followers", "following", "public_gists", "public_repos"], 0)
    moments = {"created_at": _EPOCH, "updated_at": _EPOCH}
    return {**user(origin, login), **nothing, **counts, **moments, "name": login, "user_view_type": "public"}


def repository(origin: str, of: Repository) -> dict[str, Any]:
    """GitHub's `full-repository`, which `repository` is a part of."""
    url, page = f"{origin}/api/v3/repos/{of.full_name}", f"{origin}/{of.full_name}"
    permissions = {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True}
    switches = dict.fromkeys(
        ["has_discussions", "has_downloads", "has_issues", "has_pages", "has_projects", "has_wiki"], False
    )
    return {
        **_identity("Repository", of.full_name),
        "name": of.name,
        "full_name": of.full_name,
        "owner": user(origin, of.owner),
        "private": of.is_private,
        "visibility": "private" if of.is_private else "public",
        "html_url": page,
        "url": url,
        "clone_url": f"{page}.git",
        "git_url": f"{page}.git",
        "ssh_url": f"{page}.git",
        "svn_url": page,
        "default_branch": of.default_branch(),
        **{f"{name}_url": f"{url}/{name}" for name in _REPOSITORY_LINKS},
        **dict.fromkeys(["description", "homepage", "language", "license", "mirror_url"]),
        **dict.fromkeys(_COUNTS, 0),
        **dict.fromkeys(["network_count", "subscribers_count"], 0),
        **dict.fromkeys(["archived", "disabled", "fork"], False),
        **switches,
        "permissions": permissions,
        **dict.fromkeys(["created_at", "updated_at", "pushed_at"], _EPOCH),
    }


def pull_in_list(origin: str, of: Repository, pull: Pull) -> dict[str, Any]:
    """GitHub's `pull-request-simple`, as lists hold it."""
    url, page = f"{origin}/api/v3/repos/{of.full_name}", f"{origin}/{of.full_name}/pull/{pull.number}"
    api = {
        "self": f"{url}/pulls/{pull.number}",
        "issue": f"{url}/issues/{pull.number}",
        "comments": f"{url}/issues/{pull.number}/comments",
        "review_comments": f"{url}/pulls/{pull.number}/comments",
        "review_comment": f"{url}/pulls/comments{{/number}}",
        "commits": f"{url}/pulls/{pull.number}/commits",
        "statuses": f"{url}/statuses/{pull.head_sha}",
    }
    links = {**api, "html": page}
    whole = repository(origin, of)
    return {
        **_identity("PullRequest", f"{of.full_name}#{pull.number}"),
        "number": pull.number,
        "url": api["self"],
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        **{f"{name}_url": address for name, address in api.items() if name != "self"},
        "_links": {name: {"href": address} for name, address in links.items()},
        "state": pull.state,
        "locked": False,
        "title": pull.title,
        "body": pull.body,
        "draft": pull.draft,
        "user": user(origin, pull.author),
        "author_association": "MEMBER",
        "created_at": pull.created_at,
        "updated_at": pull.updated_at,
        "closed_at": pull.closed_at,
        "merged_at": pull.merged_at,
        "merge_commit_sha": pull.merge_commit_sha,
        **dict.fromkeys(["assignee", "milestone", "auto_merge", "active_lock_reason"]),
        **{name: [] for name in ("assignees", "labels", "requested_reviewers", "requested_teams")},
        "head": _side(origin, of, whole, pull.head, pull.head_sha),
        "base": _side(origin, of, whole, pull.base, pull.base_sha),
    }


def pull_request(origin: str, of: Repository, pull: Pull) -> dict[str, Any]:
    """GitHub's `pull-request`: what a list tells, and what takes git to find out."""
    added, deleted, files = of.changes(pull.base_sha, pull.head_sha)
    mergeable = of.merged_tree(pull.base_sha, pull.head_sha) is not None if pull.is_open else None
    state = {True: "clean", False: "dirty", None: "unknown"}[mergeable]
    return {
        **pull_in_list(origin, of, pull),
        "merged": pull.merged_at is not None,
        "merged_by": user(origin, pull.author) if pull.merged_at else None,
        "mergeable": mergeable,
        "rebaseable": False,
        "mergeable_state": "draft" if pull.is_open and pull.draft else state,
        "comments": 0,
        "review_comments": 0,
        "maintainer_can_modify": False,
        "commits": of.commits(pull.base_sha, pull.head_sha),
        "additions": added,
        "deletions": deleted,
        "changed_files": files,
    }


def _side(origin: str, of: Repository, whole: dict[str, Any], branch: str, sha: str) -> dict[str, Any]:
    label = f"{of.owner}:{branch}"
    return {"label": label, "ref": branch, "sha": sha, "user": user(origin, of.owner), "repo": whole}


def _identity(kind: str, name: str) -> dict[str, Any]:
    """Numbers that stay the same without being kept anywhere."""
    number = zlib.crc32(f"{kind} {name}".encode())
    return {"id": number, "node_id": base64.b64encode(f"{kind}{number}".encode()).decode()}
