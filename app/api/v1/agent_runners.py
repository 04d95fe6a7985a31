"""The runners: `/agent_runners`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import EXCLUDE, ValidationError

from app.api import diff_response, examples, links, paging, presenters
from app.api.auth import caller
from app.api.blueprint import DIFF_HEADERS, LIST_HEADERS, WHOLE_DIFF_HEADERS, Blueprint, empty
from app.api.idempotency import idempotent
from app.api.requests import json_in_body
from app.api.transactions import prepared_by, reading, writing
from app.errors import AppError
from app.schemas.agent_runner import (
    CommitBody,
    CreateRunnerBody,
    PullRequestBody,
    RebaseBody,
    RevertBody,
    RunnerQuery,
    RunnerSchema,
    UpdateRunnerBody,
)
from app.schemas.agent_runner_session import SessionSchema
from app.schemas.diff import DiffFileSchema, DiffFilesQuery, RunnerDiffQuery
from app.services.artifacts import diffs
from app.services.publishing import base_drift, publications, sensitive
from app.services.runners import agent_runner_sessions, agent_runners, head, listing, purging
from app.services.runners.creation import NewRunner

blp = Blueprint(
    "Agent runners",
    __name__,
    description="Lasting lines of work, each on one branch of a site.",
    url_prefix="/api/v1/agent_runners",
)


_PREPARED = CreateRunnerBody(only=("site_id", "file_keys", "result_diff"), unknown=EXCLUDE)


def _prepare_runner() -> agent_runners.Prepared:
    """Find and store what comes with a new runner. A body that will be refused comes with nothing."""
    given = json_in_body()
    if not given.get("file_keys") and given.get("result_diff") is None:
        return agent_runners.Prepared()
    try:
        fields = _PREPARED.load(given)
    except (AppError, ValidationError):
        return agent_runners.Prepared()
    return agent_runners.prepare(caller(), fields["site_id"], fields.get("file_keys") or [], fields.get("result_diff"))


@blp.route("")
class AgentRunners(MethodView):
    @reading
    @blp.operation("listAgentRunners")
    @blp.arguments(RunnerQuery, location="query")
    @blp.response(200, RunnerSchema(many=True), headers=LIST_HEADERS, example=[examples.RUNNER])
    def get(self, filters: dict[str, Any]) -> Any:
        """List agent runners, the one with the newest session first.

        A follow-up moves a runner to the front. Archived runners are listed only where `state` names ARCHIVED, also with
        `since`. A runner whose only session was stopped is DONE, with `latest_session_state` CANCELLED. To follow changes by
        polling, walk the list by `cursor`, and ask next time with `since`: the `Date` of the first answer, less a minute.
        """
        page = listing.find(caller(), filters)
        return presenters.runners(page.items), paging.headers(page)

    @prepared_by(lambda: _prepare_runner())
    @idempotent()
    @blp.operation("createAgentRunner", links=links.RUNNER_LINKS)
    @blp.arguments(CreateRunnerBody, example=examples.CREATE_RUNNER)
    @blp.response(201, RunnerSchema, example=examples.RUNNER)
    def post(self, fields: dict[str, Any], prepared: agent_runners.Prepared) -> Any:
        """Create an agent runner with a prompt.

        The call returns immediately, and the first session waits for a worker. Follow its events, or poll it. Without
        `agent` the site's default agent is used, else the first agent of the deployment that takes plain language.
        """
        fields.pop("result_diff", None)  # `prepared` has it.
        runner, session = agent_runners.create(caller(), NewRunner(**fields), prepared)
        return presenters.created_runner(runner, session), {
            "Location": paging.public_url(f"/agent_runners/{runner.id}")
        }


@blp.route("/<uuid:agent_runner_id>")
class AgentRunner(MethodView):
    @reading
    @blp.operation("getAgentRunner", links=links.GOT_RUNNER_LINKS)
    @blp.response(200, RunnerSchema, example=examples.RUNNER)
    def get(self, agent_runner_id: uuid.UUID) -> Any:
        """Get an agent runner.

        While `pr_is_being_created` or `merge_commit_is_being_created` is true, poll until it is false. Then the result
        or the error is set.
        """
        runner = agent_runners.get(caller(), agent_runner_id)
        base_drift.refresh_if_stale(runner)
        return presenters.runner(runner)

    @blp.operation("updateAgentRunner", conflict="`already_started`, or `active_session_exists` for a diff")
    @blp.arguments(UpdateRunnerBody, example={"title": "Health endpoint"}, required=False)
    @prepared_by(
        lambda fields, agent_runner_id: agent_runners.store_replacement_diff(
            caller(), agent_runner_id, agent_runners.RunnerUpdate(**fields)
        )
    )
    @writing
    @blp.response(200, RunnerSchema, example=examples.RUNNER)
    def patch(
        self, fields: dict[str, Any], agent_runner_id: uuid.UUID, prepared: agent_runners.StoredDiff | None
    ) -> Any:
        """Change an agent runner.

        Title and deploy can be changed at any time, the commit to start from until the first session is claimed. A
        `result_diff` replaces the runner's diff, and the next session builds on it.
        """
        sent = agent_runners.RunnerUpdate(**fields)
        return presenters.runner(agent_runners.update(caller(), agent_runner_id, sent, prepared))

    @writing
    @blp.operation("stopAgentRunner", conflict="`no_active_session`")
    @blp.response(202)
    def delete(self, agent_runner_id: uuid.UUID) -> Response:
        """Stop the session in progress.

        It becomes CANCELLED, and its work so far is kept. Revert to that session to adopt the work.
        """
        agent_runner_sessions.stop_active(caller(), agent_runner_id)
        return empty(202)


@blp.route("/<uuid:agent_runner_id>/diff")
class AgentRunnerDiff(MethodView):
    @blp.operation("getAgentRunnerDiff", also=diff_response.ALSO)
    @blp.arguments(RunnerDiffQuery, location="query")
    @blp.response(200, {"type": "string"}, content_type="text/plain", headers=WHOLE_DIFF_HEADERS, example=examples.DIFF)
    def get(self, query: dict[str, Any], agent_runner_id: uuid.UUID) -> Response:
        """Get the runner's diff as text.

        It is sent byte for byte as it is stored. `git apply --binary` applies it to the base. With `page` or `per_page`
        the answer is one page of its files. `If-None-Match` and `Range` are supported.
        """
        return diff_response.diff(diffs.find_runner_diff(caller(), agent_runner_id), **query)


@blp.route("/<uuid:agent_runner_id>/diff/files")
class AgentRunnerDiffFiles(MethodView):
    @blp.operation("listAgentRunnerDiffFiles")
    @blp.arguments(DiffFilesQuery, location="query")
    @blp.response(200, DiffFileSchema(many=True), headers=DIFF_HEADERS, example=[examples.DIFF_FILE])
    def get(self, query: dict[str, Any], agent_runner_id: uuid.UUID) -> Any:
        """List the files of the runner's diff.

        They are in the order of the diff. To read one of them, request its bytes of the diff with `Range`.
        """
        page = diffs.find_runner_diff(caller(), agent_runner_id).files(**query)
        return page.items, paging.headers(page)


@blp.route("/<uuid:agent_runner_id>/archive")
class Archive(MethodView):
    @idempotent()
    @blp.operation("archiveAgentRunner", conflict="`active_session_exists`")
    @blp.response(202, RunnerSchema, example=examples.RUNNER)
    def post(self, agent_runner_id: uuid.UUID) -> Any:
        """Archive an agent runner.

        It is no longer listed and takes no further sessions. Archiving it again is not an error. It cannot be archived
        while a session is NEW or RUNNING.
        """
        return presenters.runner(agent_runners.archive(caller(), agent_runner_id))


@blp.route("/<uuid:agent_runner_id>/unarchive")
class Unarchive(MethodView):
    @idempotent()
    @blp.operation("unarchiveAgentRunner")
    @blp.response(200, RunnerSchema, example=examples.RUNNER)
    def post(self, agent_runner_id: uuid.UUID) -> Any:
        """Unarchive an agent runner.

        Its state follows from its sessions again. A runner that is not archived is returned unchanged.
        """
        return presenters.runner(agent_runners.unarchive(caller(), agent_runner_id))


@blp.route("/<uuid:agent_runner_id>/purge")
class Purge(MethodView):
    @idempotent()
    @blp.operation(
        "purgeAgentRunner", conflict="`active_session_exists`, `pull_request_in_progress` or `commit_in_progress`"
    )
    @blp.response(204)
    def post(self, agent_runner_id: uuid.UUID) -> Response:
        """Delete an agent runner for good, with all that it has.

        Its sessions, steps, events, publications, diffs and attached files go, and what others still use of these stays. Its
        pull request and commits stay where they are. It needs the scope `admin`, and cannot be undone. It cannot be purged
        while a session is NEW or RUNNING, or while its diff is being published.
        """
        purging.purge(caller(), agent_runner_id)
        return empty(204)


@blp.route("/<uuid:agent_runner_id>/revert")
class Revert(MethodView):
    @idempotent()
    @blp.operation("revertAgentRunner", conflict="`active_session_exists` or `runner_archived`")
    @blp.arguments(RevertBody, example={"session_id": examples.SESSION_ID})
    @blp.response(200, RunnerSchema, example=examples.RUNNER)
    def post(self, fields: dict[str, Any], agent_runner_id: uuid.UUID) -> Any:
        """Go back to an earlier session, or to the base.

        That session's cumulative diff becomes the runner's diff, and the next session builds on it. Null goes back to
        the base. Sessions that the diff no longer builds on are discarded; revert to one of them to restore it. Revert
        to a session that ended in ERROR or CANCELLED to adopt the work that it left.
        """
        return presenters.runner(head.revert(caller(), agent_runner_id, fields["session_id"]))


@blp.route("/<uuid:agent_runner_id>/refresh")
class Refresh(MethodView):
    @idempotent()
    @blp.operation("refreshAgentRunner", conflict="`no_base` or `runner_archived`")
    @blp.response(200, RunnerSchema, example=examples.RUNNER)
    def post(self, agent_runner_id: uuid.UUID) -> Any:
        """Compare an agent runner with its branch and its pull request.

        The call returns immediately; poll the runner until `is_being_refreshed` is false. Then `behind_by` says how far
        the branch has moved since the base, `mergeable` and `conflicts` whether the diff still merges into it, and
        `pr_state` is that of the forge.
        """
        return presenters.runner(base_drift.request_refresh(caller(), agent_runner_id))


@blp.route("/<uuid:agent_runner_id>/rebase")
class Rebase(MethodView):
    @idempotent()
    @blp.operation(
        "rebaseAgentRunner",
        conflict="`active_session_exists` or `runner_archived`",
        links=links.SESSION_LINKS,
    )
    @blp.arguments(RebaseBody, example={"resolve": "agent"}, required=False)
    @blp.response(201, SessionSchema, example=examples.SESSION)
    def post(self, fields: dict[str, Any], agent_runner_id: uuid.UUID) -> Any:
        """Reapply an agent runner's diff on the tip of its branch.

        A session of the mode `rebase` does it, by a three-way merge. If it ends DONE, the tip is the runner's `base_sha`, and
        its diff is against that; `POST .../pull_request` then updates the pull request. If the branch has changed in the
        same places, the session fails with `rebase_conflict`, which names the files. With `resolve: agent` the runner's
        agent gets the files with the conflicts marked instead, and the session fails with `conflicts_left` if a mark is
        left. A rebase that fails leaves the runner as it was. Revert to an earlier session to undo a rebase.
        """
        session = agent_runner_sessions.rebase(caller(), agent_runner_id, **fields)
        url = paging.public_url(f"/agent_runners/{agent_runner_id}/sessions/{session.id}")
        return presenters.session(session), {"Location": url}


@blp.route("/<uuid:agent_runner_id>/pull_request")
class PullRequest(MethodView):
    @prepared_by(lambda agent_runner_id: sensitive.find_refused(caller(), agent_runner_id))
    @idempotent()
    @blp.operation("createPullRequest", conflict="`pull_request_in_progress` or `runner_archived`")
    @blp.arguments(PullRequestBody, example={"title": "Add a health endpoint", "draft": True}, required=False)
    @blp.response(200, RunnerSchema, example=examples.RUNNER)
    def post(self, fields: dict[str, Any], agent_runner_id: uuid.UUID, prepared: list[str]) -> Any:
        """Open a pull request with the runner's diff, or update it.

        The call returns immediately; poll the runner until `pr_is_being_created` is false. After a follow-up the same
        call pushes to the same branch and updates the same pull request. `GET .../diff/files?sensitive=true` lists what a
        reviewer should not miss; sites may refuse it (`sensitive_files`).
        """
        return presenters.runner(publications.request_pull_request(caller(), agent_runner_id, fields, prepared))


@blp.route("/<uuid:agent_runner_id>/commit")
class Commit(MethodView):
    @prepared_by(lambda agent_runner_id: sensitive.find_refused(caller(), agent_runner_id))
    @idempotent()
    @blp.operation("commitAgentRunner", conflict="`commit_in_progress` or `runner_archived`")
    @blp.arguments(CommitBody, example={"target_branch": "staging", "message": "Add a health endpoint"})
    @blp.response(200, RunnerSchema, example=examples.RUNNER)
    def post(self, fields: dict[str, Any], agent_runner_id: uuid.UUID, prepared: list[str]) -> Any:
        """Commit the runner's diff to a branch.

        The call returns immediately; poll the runner until `merge_commit_is_being_created` is false. Protected branches are
        refused. If the branch has moved, the work is merged.
        """
        return presenters.runner(publications.request_commit(caller(), agent_runner_id, fields, prepared))
