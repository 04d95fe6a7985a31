"""GitHub's JSON for users, repositories and pull requests: https://docs.github.com/en/rest/pulls/pulls

Most of it is URLs. The forge serves only a few of them, but the published description of the API requires them all.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

from flask import request

from app.demo.forge.discussions import Entry
from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import Repository

LOGIN = "demo"
"""The user to whom all valid tokens belong that have no other owner."""

EPOCH = "2020-01-01T00:00:00Z"
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
        (EPOCH, "created_at updated_at pushed_at"),
        ({"admin": False, "maintain": False, "push": True, "triage": True, "pull": True}, "permissions"),
    ],
    "PullRequest": [
        (None, "assignee milestone auto_merge"),
        (False, "locked"),
        ("MEMBER", "author_association"),
    ],
}


def user(login: str) -> dict[str, Any]:
    """GitHub's `simple-user`."""
    kind = {"type": "Bot"} if login.endswith("[bot]") else {}
    return _common_fields("User", login, f"users/{login}", login) | {"login": login} | kind


def public_user(login: str) -> dict[str, Any]:
    """GitHub's `public-user`, the answer for the owner of a token."""
    unknown = dict.fromkeys(["bio", "blog", "company", "email", "hireable", "location"])
    counts = dict.fromkeys(["followers", "following", "public_gists", "public_repos"], 0)
    more = {"name": login, "user_view_type": "public", "created_at": EPOCH, "updated_at": EPOCH}
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
        "user": user(pull.author),
        "labels": [label(of, name) for name in pull.labels],
        "assignees": [user(name) for name in pull.assignees],
        "requested_reviewers": [user(name) for name in pull.reviewers],
        "requested_teams": [team(name) for name in pull.teams],
        "head": _side(of, pull.head, pull.head_sha),
        "base": _side(of, pull.base, pull.base_sha),
    }


def label(of: Repository, name: str) -> dict[str, Any]:
    """GitHub's `label`."""
    url = f"{request.host_url}api/v3/repos/{of.full_name}/labels/{name}"
    look = {"name": name, "description": "", "color": "ededed", "default": False}
    return {**_identity("Label", f"{of.full_name} {name}"), **look, "url": url}


def team(slug: str) -> dict[str, Any]:
    """GitHub's `team`."""
    url = f"{request.host_url}api/v3/organizations/1/team/1"
    links = {"url": url, "members_url": f"{url}/members{{/member}}", "repositories_url": f"{url}/repos"}
    page = {"html_url": f"{request.host_url}orgs/acme/teams/{slug}", "parent": None}
    more = {"organization_id": 1, "type": "organization"}
    about = {"name": slug, "slug": slug, "description": None, "permission": "push", "privacy": "closed"}
    return {**_identity("Team", slug), **links, **page, **about, **more}


def issue(of: Repository, pull: Pull) -> dict[str, Any]:
    """GitHub's `issue`, which a pull request also is."""
    whole = pull_in_list(of, pull)
    url = f"{request.host_url}api/v3/repos/{of.full_name}/issues/{pull.number}"
    links = {f"{name}_url": f"{url}/{name}" for name in ("comments", "events")} | {
        "labels_url": f"{url}/labels{{/name}}"
    }
    kept = (
        "assignee assignees author_association body closed_at created_at draft html_url labels locked milestone number"
    )
    kept += " state title updated_at user"
    about = {"repository_url": f"{request.host_url}api/v3/repos/{of.full_name}", "comments": 0, "url": url}
    return {
        **_identity("Issue", f"{of.full_name}#{pull.number}"),
        **{n: whole[n] for n in kept.split()},
        **links,
        **about,
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


def comment(of: Repository, entry: Entry) -> dict[str, Any]:
    """GitHub's `issue-comment`."""
    path = f"repos/{of.full_name}/issues/comments/{entry.id}"
    page = f"{of.full_name}/pull/{entry.number}#issuecomment-{entry.id}"
    issue_url = f"{request.host_url}api/v3/repos/{of.full_name}/issues/{entry.number}"
    return {**_written(entry, "IssueComment", path, page), "issue_url": issue_url, "updated_at": entry.created_at}


def review(of: Repository, pull: Pull, entry: Entry) -> dict[str, Any]:
    """GitHub's `pull-request-review`."""
    number = pull.number
    path = f"repos/{of.full_name}/pulls/{number}/reviews/{entry.id}"
    itself = _written(entry, "Review", path, f"{of.full_name}/pull/{number}#review-{entry.id}")
    pull_url = f"{request.host_url}api/v3/repos/{of.full_name}/pulls/{number}"
    del itself["url"]
    links = {"html": {"href": itself["html_url"]}, "pull_request": {"href": pull_url}}
    more = {"state": "COMMENTED", "commit_id": pull.head_sha, "submitted_at": itself.pop("created_at")}
    return {**itself, **more, "pull_request_url": pull_url, "_links": links}


def review_comment(of: Repository, pull: Pull, entry: Entry) -> dict[str, Any]:
    """GitHub's `pull-request-review-comment`."""
    number = pull.number
    path = f"repos/{of.full_name}/pulls/comments/{entry.id}"
    itself = _written(entry, "ReviewComment", path, f"{of.full_name}/pull/{number}#discussion_r{entry.id}")
    pull_url = f"{request.host_url}api/v3/repos/{of.full_name}/pulls/{number}"
    hrefs = {"self": itself["url"], "html": itself["html_url"], "pull_request": pull_url}
    reply = {} if entry.in_reply_to_id is None else {"in_reply_to_id": entry.in_reply_to_id}
    return {
        **itself,
        **reply,
        **{name: getattr(entry, name) for name in ("path", "diff_hunk", "line", "start_line")},
        "pull_request_review_id": entry.review_id,
        "commit_id": pull.head_sha,
        "original_commit_id": pull.head_sha,
        "updated_at": entry.created_at,
        "pull_request_url": pull_url,
        "_links": {name: {"href": href} for name, href in hrefs.items()},
    }


def _written(entry: Entry, kind: str, path: str, page: str) -> dict[str, Any]:
    return {
        "id": entry.id,
        "node_id": _identity(kind, path)["node_id"],
        "url": f"{request.host_url}api/v3/{path}",
        "html_url": f"{request.host_url}{page}",
        "body": entry.body,
        "user": user(entry.user),
        "created_at": entry.created_at,
        "author_association": "MEMBER",
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
