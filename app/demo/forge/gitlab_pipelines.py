"""The part of GitLab's REST API for pipelines of merge requests, and of the results of merging them.

https://docs.gitlab.com/api/merge_requests/#list-merge-request-pipelines and
https://docs.gitlab.com/api/commits/#list-merge-requests-associated-with-a-commit
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request
from werkzeug.exceptions import NotFound

from app.demo.forge import checks, pulls
from app.demo.forge.gitlab import authorize, page, refuse, refuse_missing, shape
from app.demo.forge.pulls import Pull
from app.demo.forge.repositories import Repository

gitlab_pipelines = Blueprint("gitlab_pipelines", __name__, url_prefix="/api/v4")
gitlab_pipelines.url_value_preprocessor(authorize)
gitlab_pipelines.register_error_handler(NotFound, refuse_missing)
_COMMIT = "/projects/<path:project>/repository/commits/<sha>"


def merge_result(repository: Repository, pull: Pull) -> str:
    """Make the commit that a pipeline for merged results runs on; its id. Jobs are reported for it as for others."""
    base = repository.branches()[pull.base]
    tree = repository.merged_tree(base, pull.head_sha)
    assert tree is not None, "it has conflicts"
    made = repository.git("commit-tree", tree, "-p", base, "-p", pull.head_sha, stdin=f"Merge {pull.head}\n")
    sha = made.strip()
    repository.move(f"refs/keep-around/{pull.number}/{sha}", sha)
    return sha


@gitlab_pipelines.get(f"{_COMMIT}/merge_requests")
def list_merge_requests_of_commit(sha: str) -> list[dict[str, Any]]:
    """Also those in which it is not the newest commit."""
    sha, state = checks.resolve(g.repository, sha), request.args.get("state", "all")
    found = [pull for pull in pulls.get_all(g.repository) if g.repository.is_ancestor(sha, pull.head_sha)]
    return page([each for each in map(shape, found) if state in ("all", each["state"])])


@gitlab_pipelines.get("/projects/<path:project>/merge_requests/<int:number>/pipelines")
def list_pipelines(number: int) -> list[dict[str, Any]]:
    """The newest first. It does not know what a merged result is the result of."""
    pull = pulls.get(g.repository, number)
    names = g.repository.git("for-each-ref", "--format=%(objectname)", f"refs/keep-around/{number}").split()
    refs = {pull.head_sha: "head", **dict.fromkeys(names, "merge")}
    found = [_pipeline(sha, f"refs/merge-requests/{number}/{ref}") for sha, ref in refs.items()]
    return page(sorted(filter(None, found), key=lambda each: int(each["id"]), reverse=True))


@gitlab_pipelines.get(_COMMIT)
def get_commit(sha: str) -> dict[str, Any]:
    if g.repository.run("cat-file", "-e", f"{sha}^{{commit}}").returncode:
        refuse(404, {"message": "404 Commit Not Found"})
    return {"id": sha, "parent_ids": g.repository.git("rev-list", "--parents", "-n", "1", sha).split()[1:]}


def _pipeline(sha: str, ref: str) -> dict[str, Any] | None:
    """The pipeline of a commit; None if it has no jobs."""
    jobs = checks.reports(g.repository, sha, statuses=False)
    return {"id": jobs[0].id, "sha": sha, "ref": ref, "source": "merge_request_event"} if jobs else None
