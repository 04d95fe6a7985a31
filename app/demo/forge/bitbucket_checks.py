"""The part of Bitbucket Cloud's REST API for build statuses, and for the steps of Pipelines and their logs."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, request
from werkzeug import Response
from werkzeug.exceptions import NotFound

from app.demo.forge import checks
from app.demo.forge.bitbucket import REPOSITORY, authorize, page, refuse, refuse_field, refuse_missing
from app.demo.forge.checks import Check
from app.demo.forge.checks_api import place_of_log

bitbucket_checks = Blueprint("bitbucket_checks", __name__, url_prefix="/2.0")
bitbucket_checks.url_value_preprocessor(authorize)
bitbucket_checks.register_error_handler(NotFound, refuse_missing)
_STEPS = f"{REPOSITORY}/pipelines/<int:number>/steps"
_STATES = {"": "INPROGRESS", "pending": "INPROGRESS", "success": "SUCCESSFUL", "failure": "FAILED", "error": "FAILED"}
_SETTABLE = {"INPROGRESS": "pending", "SUCCESSFUL": "success", "FAILED": "failure", "STOPPED": "cancelled"}
_FIELDS = {"key", "name", "state", "url", "description", "refname"}
_MOST_KEY_CHARACTERS = 40
_PASSED_STEPS = 10


@bitbucket_checks.get(f"{REPOSITORY}/commit/<sha>/statuses")
def list_statuses(sha: str) -> dict[str, Any]:
    """What Pipelines and other systems report, the latest of each key."""
    _check_commit(sha)
    both = (checks.of_commit(g.repository, sha, statuses=statuses) for statuses in (False, True))
    return page([_status(each) for found in both for each in found], set())


@bitbucket_checks.post(f"{REPOSITORY}/commit/<sha>/statuses/build")
def create_status(sha: str) -> tuple[dict[str, Any], int]:
    _check_commit(sha)
    given = request.get_json()
    if unknown := given.keys() - _FIELDS:
        refuse(400, f"Unknown fields: {', '.join(unknown)}")
    if given.get("state") not in _SETTABLE:
        refuse_field("state", "Invalid state")
    if not 0 < len(given.get("key", "")) <= _MOST_KEY_CHARACTERS:
        refuse_field("key", f"Ensure this value has at most {_MOST_KEY_CHARACTERS} characters.")
    if urlsplit(given.get("url", "")).scheme not in ("http", "https"):
        refuse_field("url", "Enter a valid URL.")
    more = {"summary": given.get("description"), "url": given["url"], "is_status": True}
    return _status(checks.report(g.repository, sha, given["key"], _SETTABLE[given["state"]], **more)), 201


@bitbucket_checks.get(_STEPS)
def list_steps(number: int) -> dict[str, Any]:
    """A pipeline may be named by its number. Each has steps that passed, a page full of them, and one with its result."""
    check = checks.find(g.repository, number)
    results = (*["SUCCESSFUL"] * _PASSED_STEPS, _STATES.get(check.state, "STOPPED"))
    return page([_ended_step(number, place, result) for place, result in enumerate(results)], set())


@bitbucket_checks.get(f"{_STEPS}/<step>/log")
def get_log(number: int, step: str) -> Response:
    """Redirects to a server that has the log of a step that has ended."""
    if not request.accept_mimetypes["application/octet-stream"]:
        refuse(406, "Not Acceptable")
    if step != _step(number, _PASSED_STEPS) or checks.find(g.repository, number).log is None:
        refuse(404, "The log file does not exist.")
    return redirect(place_of_log(g.repository, number), 307)


def _ended_step(number: int, place: int, result: str) -> dict[str, Any]:
    ended = {"type": f"pipeline_step_state_completed_{result.lower()}", "name": result}
    state = {"type": "pipeline_step_state_completed", "name": "COMPLETED", "result": ended}
    return {"type": "pipeline_step", "uuid": _step(number, place), "state": state}


def _step(number: int, place: int) -> str:
    return f"{{{uuid.uuid5(uuid.NAMESPACE_OID, f'{number}/{place}')}}}"


def _check_commit(sha: str) -> None:
    if g.repository.run("cat-file", "-e", f"{sha}^{{commit}}").returncode:
        refuse(404, "Commit not found")


def _status(check: Check) -> dict[str, Any]:
    of_pipeline = f"{request.host_url}{g.repository.full_name}/pipelines/results/{check.id}"
    return {
        "type": "build",
        "key": check.name,
        "name": check.name,
        "state": _STATES.get(check.state, "STOPPED"),
        "description": check.summary or "",
        "url": check.url or "" if check.is_status else of_pipeline,
        "created_on": check.at,
        "updated_on": check.at,
    }
