"""GitHub's JSON for users, repositories and pull requests: https://docs.github.com/en/rest/pulls/pulls

Most of it is URLs. The forge serves only a few of them, but the published description of the API requires them all.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

from flask import request

from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import Repository

LOGIN = "demo"
"""The one user, to whom all valid tokens belong."""

_EPOCH = "2020-01-01T00:00:00Z"
_LINKS = {
    "User": "avatar events followers following gists organizations received_events repos starred subscriptions",
    "Repository": "archive assignees blobs branches collaborators comments commits compare contents contributors "
    "deployments downloads events forks git_commits git_refs git_tags hooks issue_comment issue_events issues keys "
    "labels languages merges milestones notifications pulls releases stargazers statuses subscribers subscription tags "
    "teams trees",
    "PullRequest": "comments commits diff issue patch review_comment review_comments statuses",
}
# Values that are the same for all objects of a kind, and the fields that have them.
_VALUES: dict[str, list[tuple[Any, str]]] = {
    "User": [("User", "type"), (False, "site_admin"), ("", "gravatar_id")],
    "Repository": [
        (None, "description homepage language license mirror_url"),
        (0, "forks forks_count network_count open_issues open_issues_count size stargazers_count subscribers_count"),
        (0, "watchers watchers_count"),
        (False, "archived disabled fork has_discussions has_downloads has_issues has_pages has_projects has_wiki"),
        (_EPOCH, "created_at updated_at pushed_at"),
        ({"admin": False, "maintain": False, "push": True, "triage": True, "pull": True}, "permissions"),
    ],
    "PullRequest": [
        (None, "assignee milestone auto_merge"),
        ([], "assignees labels requested_reviewers requested_teams"),
        (False, "locked"),
        ("MEMBER", "author_association"),
    ],
}


def user(login: str) -> dict[str, Any]:
    """GitHub's `simple-user`."""
    return _common_fields("User", login, f"users/{login}", login) | {"login": login}


def public_user(login: str) -> dict[str, Any]:
    """GitHub's `public-user`, the answer for the owner of a token."""
    unknown = dict.fromkeys(["bio", "blog", "company", "email", "hireable", "location"])
    counts = dict.fromkeys(["followers", "following", "public_gists", "public_repos"], 0)
    more = {"name": login, "user_view_type": "public", "created_at": _EPOCH, "updated_at": _EPOCH}
    return user(login) | unknown | counts | more


def repository(of: Repository) -> dict[str, Any]:
    """GitHub's `full-repository`, which includes `repository`."""
    itself = _common_fields("Repository", of.full_name, f"repos/{of.full_name}", of.full_name)
    return {
        **itself,
        **dict.fromkeys(["clone_url", "git_url", "ssh_url", "svn_url"], f"{itself['html_url']}.git"),
        "name": of.name,
        "full_name": of.full_name,
        "owner": user(of.owner),
        "private": of.is_private,
        "visibility": "private" if of.is_private else "public",
        "default_branch": of.default_branch,
    }


def pull_in_list(of: Repository, pull: Pull) -> dict[str, Any]:
    """GitHub's `pull-request-simple`, used in lists."""
    path, number = of.full_name, pull.number
    itself = _common_fields("PullRequest", f"{path}#{number}", f"repos/{path}/pulls/{number}", f"{path}/pull/{number}")
    links = {"self" if name == "url" else name[:-4]: {"href": itself[name]} for name in itself if name.endswith("url")}
    shown = "number title body draft state created_at updated_at closed_at merged_at merge_commit_sha"
    return {
        **itself,
        **{name: getattr(pull, name) for name in shown.split()},
        "_links": links,
        "user": user(LOGIN),
        "head": _side(of, pull.head, pull.head_sha),
        "base": _side(of, pull.base, pull.base_sha),
    }


def pull_request(of: Repository, pull: Pull) -> dict[str, Any]:
    """GitHub's `pull-request`: the fields of lists, and those that need git."""
    added, deleted, files = of.changes(pull.base_sha, pull.head_sha)
    mergeable = of.merged_tree(pull.base_sha, pull.head_sha) is not None if pull.is_open else None
    state = {True: "clean", False: "dirty", None: "unknown"}[mergeable]
    return {
        **pull_in_list(of, pull),
        "commits": of.commits(pull.base_sha, pull.head_sha),
        "comments": 0,
        "review_comments": 0,
        "additions": added,
        "deletions": deleted,
        "changed_files": files,
        "merged": pull.merged_at is not None,
        "merged_by": user(LOGIN) if pull.merged_at else None,
        "mergeable": mergeable,
        "mergeable_state": "draft" if pull.label == "draft" else state,
        "maintainer_can_modify": False,
    }


def _side(of: Repository, branch: str, sha: str) -> dict[str, Any]:
    return {"label": f"{of.owner}:{branch}", "ref": branch, "sha": sha, "user": user(of.owner), "repo": repository(of)}


def _common_fields(kind: str, name: str, path: str, page: str) -> dict[str, Any]:
    """The fields that all objects of a kind have. URLs use the host name of the request."""
    url = f"{request.host_url}api/v3/{path}"
    links = {f"{link}_url": f"{url}/{link}" for link in _LINKS[kind].split()}
    values = {field: value for value, fields in _VALUES[kind] for field in fields.split()}
    return {**_identity(kind, name), **links, **values, "url": url, "html_url": f"{request.host_url}{page}"}


def node_id_of(of: Repository, pull: Pull) -> str:
    """The id of a pull request in GraphQL."""
    return str(_identity("PullRequest", f"{of.full_name}#{pull.number}")["node_id"])


def _identity(kind: str, name: str) -> dict[str, Any]:
    """Ids that are derived from the name, so they stay the same without being stored."""
    number = zlib.crc32(f"{kind} {name}".encode())
    return {"id": number, "node_id": base64.b64encode(f"{kind}{number}".encode()).decode()}
