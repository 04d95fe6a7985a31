"""Forgejo and Gitea, Codeberg among them, through the REST API that they share: https://docs.gitea.com/api/"""

from __future__ import annotations

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
    "The token needs the permissions `repository: Read and Write` and `issue: Read and Write`, and its owner must be able "
    "to write to this repository. Set the site's access_token to one that has them and is not expired."
)
# The API cannot search for a branch, so it is looked for in lists: among the open ones in all, and among the others
# in those that changed last.
_PER_PAGE, _MOST_PAGES = 20, {"open": 30, "closed": 2}
_TEXTS = Texts(255, 1_000_000, "WIP: ", re.compile(r"\s*(wip:|\[wip\])\s*", re.IGNORECASE))


class Gitea:
    """`workers.forges.base.Forge` for one repository of Forgejo or Gitea. Nothing is retried here."""

    body_characters = _TEXTS.body_characters

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        api, self._path = api_and_path(repo_url, api_url, "/api/v1")
        if self._path.count("/") != 1:
            raise no_repository("https://codeberg.org/owner/name")
        self._rest = Rest("Forgejo or Gitea", api, token, host, limits, permission=PERMISSION)
        self._found: str | None = None

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """See `Forge`."""
        with self._rest.translated():
            # Pull requests of forks may have a branch of that name, too.
            found = (each for state in _MOST_PAGES for each in self._list(state))
            own = (each for each in found if each["head"]["repo_id"] == each["base"]["repo_id"])
            mine = next((each for each in own if each["head"]["label"] == branch), None)
            return None if mine is None else _pull_request(mine)

    def _list(self, state: str) -> Iterator[Any]:
        """https://docs.gitea.com/api/ "List a repo's pull requests" """
        order = {"sort": "recentupdate"} if state == "closed" else {}
        for page in range(1, _MOST_PAGES[state] + 1):
            path, what = f"{self._repository()}/pulls", f"the pull requests of {self._path}"
            found = self._rest.get(path, what, state=state, **order, limit=_PER_PAGE, page=page)
            yield from found
            # A server may give fewer than it was asked for.
            if not found:
                return

    def get_pull_request(self, number: int) -> PullRequest:
        """See `Forge`."""
        with self._rest.translated():
            return _pull_request(self._get(number))

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """See `Forge`."""
        given = {"head": branch, "base": base, "title": _TEXTS.title(title, draft=draft), "body": _TEXTS.body(body)}
        what = f"a pull request from {branch} to {base} in {self._path}"
        with self._rest.translated():
            try:
                return _pull_request(self._rest.call("POST", f"{self._repository()}/pulls", what, given))
            except Refusal as refusal:
                if refusal.status == 409 and "already exists" in refusal.said:
                    raise EngineError("pull_request_exists", "publish", refusal.message) from None
                raise

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """See `Forge`. The title says whether it is a draft."""
        with self._rest.translated():
            current = self._get(number)
            given = _TEXTS.changes(current["title"], title=title, draft=draft)
            if body is not None:
                given["body"] = _TEXTS.body(body)
            path, what = f"{self._repository()}/pulls/{number}", f"pull request {number} of {self._path}"
            return _pull_request(self._rest.call("PATCH", path, what, given) if given else current)

    def add_labels(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. Labels are those of the repository, and of its organization."""
        with self._rest.translated():
            known = self._labels(f"{self._repository()}/labels") | self._labels(
                f"/orgs/{self._path.split('/')[0]}/labels"
            )
            if found := [known[name] for name in names if name in known]:
                what = f"the labels of pull request {number} of {self._path}"
                self._rest.call("POST", f"{self._repository()}/issues/{number}/labels", what, {"labels": found})
            return [name for name in names if name not in known]

    def _labels(self, path: str) -> dict[str, int]:
        """The ids of labels by their names; none if the owner is no organization."""
        labels: dict[str, int] = {}
        for page in range(1, _MOST_PAGES["open"] + 1):
            try:
                found = self._rest.get(path, f"the labels of {self._path}", limit=_PER_PAGE, page=page)
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
                break
            labels |= {each["name"]: each["id"] for each in found}
            if not found:
                break
        return labels

    def request_reviews(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. A team is `organization/team`. A name that is refused makes the forge refuse all, so each is sent
        alone."""
        with self._rest.translated():
            path, what = f"{self._repository()}/pulls/{number}/requested_reviewers", f"the reviewers of {self._path}"
            return [name for name in names if not self._is_taken("POST", path, what, _reviewer(name))]

    def assign(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. The API replaces all assignees."""
        with self._rest.translated():
            path, what = f"{self._repository()}/issues/{number}", f"the assignees of {self._path}"
            present = [each["login"] for each in self._get(number)["assignees"] or []]
            refused = []
            for name in names:
                if self._is_taken("PATCH", path, what, {"assignees": [*present, name]}):
                    present.append(name)
                else:
                    refused.append(name)
            return refused

    def set_status(self, sha: str, status: CommitStatus) -> None:
        """See `Forge`."""
        given = {"state": "success", "context": STATUS_NAME, "target_url": status.url}
        given["description"] = status.description
        with self._rest.translated():
            self._rest.call("POST", f"{self._repository()}/statuses/{sha}", f"the status of {sha}", given)

    def _is_taken(self, method: str, path: str, what: str, given: Mapping[str, Any]) -> bool:
        """Send a request; whether the forge knows the name in it and takes it."""
        try:
            self._rest.call(method, path, what, given)
        except Refusal as refusal:
            if refusal.status not in (404, 422):
                raise
            return False
        return True

    def _get(self, number: int) -> Any:
        return self._rest.get(f"{self._repository()}/pulls/{number}", f"pull request {number} of {self._path}")

    def _repository(self) -> str:
        """The API's path of the repository by its present name: one that moved is found by its old name for reading."""
        if self._found is None:
            found = self._rest.get(f"/repos/{quote(self._path)}", f"the repository {self._path}")
            self._found = f"/repos/{quote(found['full_name'])}"
        return self._found


def _reviewer(name: str) -> dict[str, list[str]]:
    return {"team_reviewers": [name.rpartition("/")[2]]} if "/" in name else {"reviewers": [name]}


def _pull_request(answer: Any) -> PullRequest:
    state: State = "open" if answer["state"] == "open" else "closed"
    if answer["merged"]:
        state = "merged"
    elif state == "open" and _TEXTS.is_draft(answer["title"]):
        state = "draft"
    head = answer["head"]
    return checked(
        PullRequest(
            number=answer["number"],
            url=answer["html_url"],
            state=state,
            # The ref of a branch that was deleted is another one.
            branch=head["label"],
            base=answer["base"]["ref"],
            head_sha=head["sha"],
            title=_TEXTS.plain_title(answer["title"]),
            body=answer["body"] or "",
        )
    )
