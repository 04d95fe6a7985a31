"""Pull requests of Bitbucket Data Center, through its REST API: https://developer.atlassian.com/server/bitbucket/rest/"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workers.errors import EngineError
from workers.forges.base import STATUS_NAME, CommitStatus, PullRequest, State, checked
from workers.forges.bitbucket_data_center_server import Server, errors_of, is_exception
from workers.forges.bitbucket_marks import MARK_CHARACTERS, with_marks_of_bitbucket, with_usual_marks
from workers.forges.http import Limits
from workers.forges.rest import Refusal
from workers.forges.texts import Texts
from workers.job import Host

_STATES: dict[str, State] = {"OPEN": "open", "MERGED": "merged", "DECLINED": "closed"}
_BRANCH = "refs/heads/"
# A description has two marks.
_TEXTS = Texts(255, 32_768 - 2 * MARK_CHARACTERS)
_DRAFTS_SINCE = (8, 18)
_STATUS_CHARACTERS = 255
_MOST_TRIES = 3
Changes = Callable[[Any], Mapping[str, Any]]


class BitbucketDataCenter:
    """`workers.forges.base.Forge` for one repository of Bitbucket Data Center."""

    body_characters = _TEXTS.body_characters

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._server = Server(repo_url, api_url, token, host, limits)
        self._rest = self._server.rest

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """See `Forge`. "Get pull requests for repository": the newest come first."""
        query = {"at": _BRANCH + branch, "direction": "OUTGOING", "order": "NEWEST"}
        with self._rest.translated():
            path, what = f"{self._server.repository()}/pull-requests", f"the pull requests of {self._server.full_name}"
            found = (each for state in ("OPEN", "ALL") for each in self._server.pages(path, what, **query, state=state))
            # The branch of a fork may have one in the repository that it was forked from.
            own = next(
                (each for each in found if _repository_id(each["fromRef"]) == _repository_id(each["toRef"])), None
            )
            return None if own is None else _pull_request(own)

    def get_pull_request(self, number: int) -> PullRequest:
        """See `Forge`. "Get pull request" """
        with self._rest.translated():
            return _pull_request(self._get(number))

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """See `Forge`. "Create pull request". Raises EngineError `forge_refused` if the server has no drafts."""
        with self._rest.translated():
            path = f"{self._server.repository()}/pull-requests"
            if draft:
                self._check_drafts()
            texts = {"title": _TEXTS.title(title), "description": with_marks_of_bitbucket(_TEXTS.body(body))}
            refs = {"fromRef": self._ref(branch), "toRef": self._ref(base)}
            given = {**texts, **refs, **({"draft": True} if draft else {})}
            try:
                what = f"a pull request from {branch} to {base} in {self._server.full_name}"
                return _pull_request(self._rest.call("POST", path, what, given))
            except Refusal as refusal:
                if is_exception(refusal, "DuplicatePullRequestException"):
                    raise EngineError("pull_request_exists", "publish", refusal.message) from None
                raise

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """See `Forge`. "Update pull request" """
        given: dict[str, Any] = {} if title is None else {"title": _TEXTS.title(title)}
        given |= {} if body is None else {"description": with_marks_of_bitbucket(_TEXTS.body(body))}
        with self._rest.translated():
            if draft:
                self._check_drafts()
            given |= {} if draft is None else {"draft": draft}
            return _pull_request(self._change(number, lambda _: given))

    def add_labels(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. Its pull requests have no labels."""
        return list(names)

    def request_reviews(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. One name that is refused makes the server refuse all, and it says which."""
        refused: list[str] = []
        with self._rest.translated():
            while left := [name for name in names if name not in refused]:
                try:
                    self._change(number, lambda current, left=left: _more_reviewers(current, left))  # type: ignore[misc]
                    break
                except Refusal as refusal:
                    if not is_exception(refusal, "InvalidPullRequestReviewersException"):
                        raise
                    refused += _refused_reviewers(refusal, left)
        return [name for name in names if name in refused]

    def assign(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. Its pull requests have no assignees."""
        return list(names)

    def set_status(self, sha: str, status: CommitStatus) -> None:
        """See `Forge`. "Store a build status" """
        given = {"key": STATUS_NAME, "name": STATUS_NAME, "state": "SUCCESSFUL", "url": status.url}
        given["description"] = status.description[:_STATUS_CHARACTERS]
        with self._rest.translated():
            self._rest.call("POST", f"{self._server.repository()}/commits/{sha}/builds", f"the status of {sha}", given)

    def _change(self, number: int, changes: Changes) -> Any:
        """Change a pull request, which must not have changed since it was read. What is left out would be emptied."""
        for tries_left in reversed(range(_MOST_TRIES)):
            current = self._get(number)
            given = {name: value for name, value in changes(current).items() if value != current.get(name)}
            if not given:
                return current
            what = f"a change of pull request {number} of {self._server.full_name}"
            try:
                return self._rest.call("PUT", self._path(number), what, {**_kept(current), **given})
            except Refusal as refusal:
                if not tries_left or not is_exception(refusal, "PullRequestOutOfDateException"):
                    raise
        raise AssertionError("the last try returns or raises")

    def _get(self, number: int) -> Any:
        return self._rest.get(self._path(number), f"pull request {number} of {self._server.full_name}")

    def _path(self, number: int) -> str:
        return f"{self._server.repository()}/pull-requests/{number}"

    def _ref(self, branch: str) -> dict[str, Any]:
        repository = {"slug": self._server.slug, "project": {"key": self._server.project}}
        return {"id": _BRANCH + branch, "repository": repository}

    def _check_drafts(self) -> None:
        """An older server would open an ordinary pull request instead, and say nothing."""
        version = self._rest.get("/api/latest/application-properties", "the server's version")["version"]
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if numbers is None or (int(numbers[1]), int(numbers[2])) < _DRAFTS_SINCE:
            message = f"Bitbucket {version} has no draft pull requests, which came with 8.18. Publish without `draft`."
            raise EngineError("forge_refused", "publish", message)


def _kept(pull_request: Any) -> dict[str, Any]:
    """What a request has to repeat, so that it stays as it is."""
    kept = {name: pull_request[name] for name in ("id", "version", "title", "draft") if name in pull_request}
    reviewers = [{"user": {"name": each["user"]["name"]}} for each in pull_request["reviewers"]]
    return {**kept, "description": pull_request.get("description", ""), "reviewers": reviewers}


def _more_reviewers(pull_request: Any, names: Sequence[str]) -> dict[str, Any]:
    present = _kept(pull_request)["reviewers"]
    known = {each["user"]["name"].lower() for each in present}
    new = [{"user": {"name": name}} for name in names if name.lower() not in known]
    return {"reviewers": [*present, *new]} if new else {}


def _refused_reviewers(refusal: Refusal, names: Sequence[str]) -> list[str]:
    """The names that the server does not take; all if it does not say which."""
    said = {
        str(each.get("context")).lower() for error in errors_of(refusal) for each in error.get("reviewerErrors", ())
    }
    return [name for name in names if name.lower() in said] or list(names)


def _repository_id(ref: Any) -> int:
    return int(ref["repository"]["id"])


def _pull_request(answer: Any) -> PullRequest:
    state = _STATES[answer["state"]]
    return checked(
        PullRequest(
            number=answer["id"],
            url=answer["links"]["self"][0]["href"],
            # Servers before 8.18 have no drafts.
            state="draft" if state == "open" and answer.get("draft") else state,
            branch=answer["fromRef"]["id"].removeprefix(_BRANCH),
            base=answer["toRef"]["id"].removeprefix(_BRANCH),
            head_sha=answer["fromRef"]["latestCommit"],
            title=answer["title"],
            # An empty one is left out.
            body=with_usual_marks(answer.get("description", "")),
        )
    )
