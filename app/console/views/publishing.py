"""Publishing a runner's changes, and what to look at closely before."""

from __future__ import annotations

import hashlib
import uuid
from itertools import groupby
from typing import Any

from flask import Response, request

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.console.views import runners
from app.schemas.agent_runner import CommitBody, PullRequestBody
from app.sensitive_files import kind_of
from app.services.artifacts import diffs
from app.services.publishing import commit_messages, publications, sensitive, written_texts
from app.services.runners import agent_runners

MOST_TITLE = 500
ADDITIONS = ("labels", "reviewers", "assignees")


@bp.get("/runners/<uuid:runner_id>/sensitive")
def sensitive_files(runner_id: uuid.UUID) -> Response:
    """A part of the page: the files that a reviewer should not miss."""
    diff = diffs.find_runner_diff(caller(), runner_id)
    files = diff.files(1, diff.total, sensitive=True).items
    found = {(kind, path) for file in files for path in (file.path, file.old_path) if path and (kind := kind_of(path))}
    kinds = {kind: [path for _, path in group] for kind, group in groupby(sorted(found), key=lambda each: each[0])}
    return page("runners/sensitive.html", kinds=kinds)


@bp.get("/runners/<uuid:runner_id>/pull-request")
def written_pull_request(runner_id: uuid.UUID) -> Response:
    """A part of the page: the fields of the form for a new pull request, with what it would say."""
    with db.transaction(read_only=True):
        row = agent_runners.get(caller(), runner_id)
        text = written_texts.find(caller(), runner_id)
        written = {"title": text.title[:MOST_TITLE].strip(), "body": text.body.strip()}
        digests = {name: _digest(value) for name, value in written.items()}
        return page("runners/pull_request.html", site=row.site, written=written, digests=digests)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@bp.post("/runners/<uuid:runner_id>/pull-request")
def pull_request(runner_id: uuid.UUID) -> Response:
    refused = sensitive.find_refused(caller(), runner_id)

    def ask() -> None:
        given: dict[str, Any] = forms.filled("branch")
        given |= {name: text for name in ("title", "body") if (text := _edited(name))}
        given |= {name: forms.names(name) for name in ADDITIONS if name in request.form}
        # Without it an existing pull request stays a draft, or not, as it is.
        if forms.flag("draft"):
            given["draft"] = True
        publications.request_pull_request(caller(), runner_id, forms.load(PullRequestBody(), given), refused)

    return runners.change(runner_id, ask)


def _edited(name: str) -> str:
    """The text that somebody wrote. One that is as it was written ahead is left out: then it is written when the work is
    published, and follows the runner until then."""
    text = forms.text(name).strip()
    return "" if _digest(text) == forms.text(f"{name}_digest") else text


@bp.get("/runners/<uuid:runner_id>/commit")
def written_commit(runner_id: uuid.UUID) -> Response:
    """A part of the page: the fields of the form for a commit, with what it would say."""
    with db.transaction(read_only=True):
        text = commit_messages.find(caller(), runner_id)
    written = {"message": text.last, "squashed_message": text.squashed}
    digests = {name: _digest(value) for name, value in written.items()}
    return page("runners/commit.html", written=written, digests=digests)


@bp.post("/runners/<uuid:runner_id>/commit")
def commit(runner_id: uuid.UUID) -> Response:
    refused = sensitive.find_refused(caller(), runner_id)

    def ask() -> None:
        squash = forms.flag("squash")
        given: dict[str, Any] = {**forms.filled("target_branch"), "squash": squash}
        # Without scripts the form has one field for both.
        field = "squashed_message" if squash and "squashed_message" in request.form else "message"
        if text := _edited(field):
            given["message"] = text
        publications.request_commit(caller(), runner_id, forms.load(CommitBody(), given), refused)

    return runners.change(runner_id, ask)
