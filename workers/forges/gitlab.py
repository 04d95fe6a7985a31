"""GitLab, through its REST API: https://docs.gitlab.com/api/merge_requests/

Every kind of token is sent as a bearer token, which GitLab takes for access tokens of people, projects and groups as
well as for those of OAuth: https://docs.gitlab.com/api/rest/authentication/
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from workers.errors import EngineError
from workers.forges.base import STATUS_NAME, CommitStatus, PullRequest, State, checked
from workers.forges.http import Limits
from workers.forges.places import api_and_path, no_repository
from workers.forges.rest import Refusal, Rest
from workers.forges.texts import Texts
from workers.job import Host

PERMISSION = (
    "The token needs the scope `api` and at least the role Developer in this project. Set the site's access_token to one "
    "that has both and is not expired."
)
# A description may have a megabyte, and an answer four.
_PER_PAGE = 3
_STATES: dict[str, State] = {"opened": "open", "locked": "open", "closed": "closed", "merged": "merged"}
_TEXTS = Texts(255, 1_048_576, "Draft: ", re.compile(r"\s*(\[draft\]|\(draft\)|draft:)\s*", re.IGNORECASE))


class GitLab:
    """`workers.forges.base.Forge` for one project of GitLab. Nothing is retried here."""

    body_characters = _TEXTS.body_characters

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        api, self._path = api_and_path(repo_url, api_url, "/api/v4")
        if "/" not in self._path:
            raise no_repository("https://gitlab.com/group/project")
        self._rest = Rest("GitLab", api, token, host, limits, permission=PERMISSION)
        self._found: str | None = None

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """See `Forge`. https://docs.gitlab.com/api/merge_requests/#list-project-merge-requests"""
        with self._rest.translated():
            # The filter also matches branches of that name in forks.
            found = (each for state in ("opened", "all") for each in self._list(branch, state))
            own = next((each for each in found if each["source_project_id"] == each["target_project_id"]), None)
            return None if own is None else _pull_request(own)

    def _list(self, branch: str, state: str) -> Iterator[Any]:
        """The merge requests from branches of that name, the newest first."""
        query = {"source_branch": branch, "state": state, "order_by": "created_at", "sort": "desc"}
        for page in itertools.count(1):
            path, what = f"{self._project()}/merge_requests", f"the merge requests of {self._path}"
            found = self._rest.get(path, what, **query, per_page=_PER_PAGE, page=page)
            yield from found
            if len(found) < _PER_PAGE:
                return

    def get_pull_request(self, number: int) -> PullRequest:
        """See `Forge`. https://docs.gitlab.com/api/merge_requests/#get-single-mr"""
        with self._rest.translated():
            return _pull_request(self._get(number))

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """See `Forge`. https://docs.gitlab.com/api/merge_requests/#create-mr"""
        given = {"source_branch": branch, "target_branch": base}
        given |= {"title": _TEXTS.title(title, draft=draft), "description": _TEXTS.body(body)}
        what = f"a merge request from {branch} to {base} in {self._path}"
        with self._rest.translated():
            try:
                return _pull_request(self._rest.call("POST", f"{self._project()}/merge_requests", what, given))
            except Refusal as refusal:
                if refusal.status == 409 and "already exists" in refusal.said:
                    raise EngineError("pull_request_exists", "publish", refusal.message) from None
                raise

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """See `Forge`. The title says whether it is a draft. https://docs.gitlab.com/api/merge_requests/#update-mr"""
        with self._rest.translated():
            current = self._get(number)
            given = _TEXTS.changes(current["title"], title=title, draft=draft)
            if body is not None:
                given["description"] = _TEXTS.body(body)
            return _pull_request(self._change(number, given) if given else current)

    def add_labels(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. GitLab creates labels, so each is looked for before. https://docs.gitlab.com/api/labels/"""
        with self._rest.translated():
            missing = [name for name in names if not self._has_label(name)]
            if known := [name for name in names if name not in missing]:
                self._change(number, {"add_labels": ",".join(known)})
            return missing

    def _has_label(self, name: str) -> bool:
        if "," in name:
            # It would be two labels.
            return False
        try:
            self._rest.get(f"{self._project()}/labels/{quote(name, safe='')}", f"the label {name}")
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            return False
        return True

    def request_reviews(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. GitLab has no teams: a merge request has one reviewer on its free plan."""
        return self._add_people(number, "reviewer", names)

    def assign(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. A merge request has one assignee on GitLab's free plan."""
        return self._add_people(number, "assignee", names)

    def set_status(self, sha: str, status: CommitStatus) -> None:
        """See `Forge`. https://docs.gitlab.com/api/commits/#set-commit-pipeline-status"""
        given = {"state": "success", "name": STATUS_NAME, "target_url": status.url, "description": status.description}
        with self._rest.translated():
            try:
                self._rest.call("POST", f"{self._project()}/statuses/{sha}", f"the status of {sha}", given)
            except Refusal as refusal:
                # It is there already, from an earlier try to publish the same commit.
                if "Cannot transition status" not in refusal.said:
                    raise

    def _add_people(self, number: int, role: str, names: Sequence[str]) -> list[str]:
        """Add people as reviewers or assignees. GitLab leaves those out whom it does not take."""
        with self._rest.translated():
            present = [each["id"] for each in self._get(number)[f"{role}s"]]
            ids = [*present, *(found for name in names if (found := self._user_id(name)) not in (None, *present))]
            answer = self._change(number, {f"{role}_ids": ids}) if ids != present else self._get(number)
            taken = {each["username"].lower() for each in answer[f"{role}s"]}
            return [name for name in names if name.lower() not in taken]

    def _user_id(self, name: str) -> int | None:
        """https://docs.gitlab.com/api/users/#list-all-users"""
        found = self._rest.get("/users", f"the user {name}", username=name)
        return int(found[0]["id"]) if found else None

    def _change(self, number: int, given: Mapping[str, Any]) -> Any:
        path, what = f"{self._project()}/merge_requests/{number}", f"merge request {number} of {self._path}"
        return self._rest.call("PUT", path, what, given)

    def _get(self, number: int) -> Any:
        what = f"merge request {number} of {self._path}"
        return self._rest.get(f"{self._project()}/merge_requests/{number}", what)

    def _project(self) -> str:
        """The API's path of the project by its number: one that moved is found by its old path for reading only."""
        if self._found is None:
            project = self._rest.get(f"/projects/{quote(self._path, safe='')}", f"the project {self._path}")
            self._found = f"/projects/{int(project['id'])}"
        return self._found


def _pull_request(answer: Any) -> PullRequest:
    state = _STATES[answer["state"]]
    is_draft = state == "open" and _TEXTS.is_draft(answer["title"])
    return checked(
        PullRequest(
            number=answer["iid"],
            url=answer["web_url"],
            state="draft" if is_draft else state,
            branch=answer["source_branch"],
            base=answer["target_branch"],
            head_sha=answer["sha"],
            title=_TEXTS.plain_title(answer["title"]),
            body=answer["description"] or "",
        )
    )
