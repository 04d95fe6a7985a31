"""The part of the REST APIs of Gitea and Forgejo for the jobs of their Actions, and the logs of these.

Shapes are those of Gitea's `services/convert/convert.go` and Forgejo's `modules/structs/action.go`. Runs have an id that is
not the number in the addresses of their pages.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from flask import Blueprint, Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from app.demo.forge import checks
from app.demo.forge.checks import Check
from app.demo.forge.gitea import authorize, page_of_job, refuse_missing
from app.demo.forge.paging import page_of
from app.demo.forge.repositories import Repository

gitea_actions = Blueprint("gitea_actions", __name__, url_prefix="/api/v1")
gitea_actions.url_value_preprocessor(authorize)
gitea_actions.register_error_handler(NotFound, refuse_missing)
_ACTIONS = "/repos/<owner>/<name>/actions"
_FIRST_ID = 7000
Server = Literal["gitea", "forgejo", "old"]
"""Whose forms of runs and jobs are answered. Old servers of both know none."""


def serve_as(repository: Repository, server: Server) -> None:
    """Answer for the jobs of this repository as another server than Gitea."""
    (repository.folder / "actions").write_text(server)


@gitea_actions.get(f"{_ACTIONS}/runs")
def list_runs() -> dict[str, Any]:
    _check_age()
    sha = request.args["head_sha"]
    jobs = checks.of_commit(g.repository, sha, statuses=False)
    found = [_run(jobs[0])] if jobs else []
    return {"workflow_runs": page_of(found, size_name="limit", most=50), "total_count": len(found)}


@gitea_actions.get(f"{_ACTIONS}/runs/<int:run>/jobs")
def list_jobs(run: int) -> Response:
    """Forgejo ignores filters and pages."""
    _check_age()
    jobs = checks.of_run(g.repository, run - _FIRST_ID)
    if _server() == "forgejo":
        return jsonify([{"id": job.id, "name": _name(job), "status": job.state, "attempt": 1} for job in jobs])
    wanted = request.args.get("status")
    found = [_job(job, run) for job in jobs if wanted in (None, job.state)]
    return jsonify(jobs=page_of(found, size_name="limit", most=50), total_count=len(found))


@gitea_actions.get(f"{_ACTIONS}/jobs/<int:job_id>/logs")
def get_log(job_id: int) -> Response:
    _check_age()
    log = checks.find(g.repository, job_id).log
    if log is None:
        raise NotFound()
    return Response(log, content_type="text/plain; charset=utf-8")


def _server() -> Server:
    path = g.repository.folder / "actions"
    return cast(Server, path.read_text()) if path.exists() else "gitea"


def _check_age() -> None:
    if _server() == "old":
        raise NotFound()


def _run(job: Check) -> dict[str, Any]:
    number, _ = checks.numbers(g.repository, job)
    page = f"{request.host_url.rstrip('/')}{page_of_job(job).partition('/jobs/')[0]}"
    if _server() == "forgejo":
        more = {"index_in_repo": number, "commit_sha": job.sha}
    else:
        more = {"run_number": number, "head_sha": job.sha}
    return {"id": _FIRST_ID + number, "html_url": page, **more}


def _job(job: Check, run: int) -> dict[str, Any]:
    return {
        "id": job.id,
        "run_id": run,
        "html_url": f"{request.host_url.rstrip('/')}{page_of_job(job)}",
        "name": _name(job),
        "head_sha": job.sha,
        "status": "completed" if job.state else "in_progress",
        "conclusion": job.state,
    }


def _name(job: Check) -> str:
    """The name of the job, in that of its status: `workflow / job (event)`."""
    return job.name.partition(" / ")[2].rpartition(" (")[0] or job.name
