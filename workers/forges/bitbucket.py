"""Bitbucket Cloud, through its REST API: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from workers.errors import EngineError
from workers.forges.base import STATUS_NAME, CommitStatus, PullRequest, State, checked
from workers.forges.bitbucket_api import Repository, people_of, query_of
from workers.forges.bitbucket_marks import with_marks_of_bitbucket, with_usual_marks
from workers.forges.http import Limits
from workers.forges.rest import Refusal
from workers.forges.texts import Texts
from workers.job import Host

# `DRAFT` and `QUEUED` are in the description of the API; drafts have been seen as open ones that are marked.
_STATES: dict[str, State] = {
    "OPEN": "open",
    "DRAFT": "draft",
    "QUEUED": "open",
    "MERGED": "merged",
    "DECLINED": "closed",
    "SUPERSEDED": "closed",
}
_LISTED = [("state", state) for state in ("OPEN", "MERGED", "DECLINED", "SUPERSEDED")]
_ENDED = ("MERGED", "DECLINED", "SUPERSEDED")
_MOST_PAGES = 4
# The limit of descriptions is not documented. This is what other tools send.
_TEXTS = Texts(255, 50_000)
_UUID = re.compile(r"\{[0-9a-f-]{36}\}")
_ACCOUNT_ID = re.compile(r"\d+:[0-9a-f-]{36}|[0-9a-f]{24}")


class Bitbucket:
    """`workers.forges.base.Forge` for one repository of Bitbucket Cloud. Nothing is retried here."""

    body_characters = _TEXTS.body_characters

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._repository = Repository(repo_url, api_url, token, host, limits)
        self._rest = self._repository.rest

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """See `Forge`."""
        with self._rest.translated():
            found = self._list(branch)
            newest = next((each for each in found if each["state"] not in _ENDED), found[0] if found else None)
            return None if newest is None else self._pull_request(newest)

    def _list(self, branch: str, *conditions: tuple[str, str]) -> list[Any]:
        """The pull requests from a branch of this repository, the newest first. With a query, `state` may have no effect."""
        own = (("source.repository.full_name", self._repository.present_name), ("source.branch.name", branch))
        query = [("q", query_of(*own, *conditions)), ("sort", "-created_on"), *_LISTED]
        path, what = f"{self._repository.path}/pullrequests", f"the pull requests of {self._repository.name}"
        # Bitbucket does not document how it reads a branch with quotes or backslashes in a query.
        found = self._repository.pages(path, what, _MOST_PAGES, *query)
        return [each for each in found if each["source"]["branch"]["name"] == branch]

    def get_pull_request(self, number: int) -> PullRequest:
        """See `Forge`."""
        with self._rest.translated():
            return self._pull_request(self._get(number))

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """See `Forge`. Bitbucket does not refuse a second one: it overwrites the texts of the first. So that is looked for."""
        ends = {"source": {"branch": {"name": branch}}, "destination": {"branch": {"name": base}}}
        given = {**ends, "title": _TEXTS.title(title), "description": _body(body), "draft": draft}
        what = f"a pull request from {branch} to {base} in {self._repository.name}"
        with self._rest.translated():
            present = self._list(branch, ("destination.branch.name", base))
            if any(each["state"] not in _ENDED for each in present):
                raise EngineError("pull_request_exists", "publish", f"There already is {what}.")
            return self._pull_request(self._rest.call("POST", f"{self._repository.path}/pullrequests", what, given))

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """See `Forge`."""
        with self._rest.translated():
            current = self._get(number)
            given = {
                "title": None if title is None else _TEXTS.title(title),
                "description": None if body is None else _body(body),
                "draft": draft,
            }
            changed = {name: value for name, value in given.items() if value is not None}
            try:
                present = people_of(current["reviewers"])
                return self._pull_request(self._change(number, present, changed) if changed else current)
            except Refusal as refusal:
                if "reviewers" not in refusal.said:
                    raise
                message = f"{refusal.message}. If a reviewer has left the workspace, remove that person from it."
                raise EngineError("forge_refused", "publish", message) from None

    def add_labels(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. Bitbucket has no labels."""
        return list(names)

    def request_reviews(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. One who is refused makes the forge refuse all, so each is sent alone. There are no teams."""
        with self._rest.translated():
            reviewers = self._get(number)["reviewers"]
            present, refused = people_of(reviewers), []
            for name in names:
                person = self._find_person(name)
                if person is None:
                    refused.append(name)
                    continue
                if any(person.items() <= each.items() for each in (*reviewers, *present)):
                    continue
                try:
                    self._change(number, [*present, person], {})
                except Refusal as refusal:
                    if refusal.status != 400:
                        raise
                    refused.append(name)
                else:
                    present.append(person)
            return refused

    def assign(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. Pull requests on Bitbucket have no assignees."""
        return list(names)

    def set_status(self, sha: str, status: CommitStatus) -> None:
        """See `Forge`. A status with the same key is replaced."""
        given = {"key": STATUS_NAME, "name": STATUS_NAME, "state": "SUCCESSFUL"}
        given |= {"url": status.url, "description": status.description}
        with self._rest.translated():
            path = f"{self._repository.path}/commit/{sha}/statuses/build"
            self._rest.call("POST", path, f"the status of {sha}", given)

    def _find_person(self, name: str) -> dict[str, str] | None:
        """A person by an id, or by a nickname that one member of the workspace has. None also if the token may not read who
        they are."""
        if _UUID.fullmatch(name):
            return {"uuid": name}
        if _ACCOUNT_ID.fullmatch(name):
            return {"account_id": name}
        query = ("q", query_of(("user.nickname", name)))
        try:
            members = self._repository.pages(f"{self._repository.workspace}/members", f"the user {name}", 1, query)
            [found] = people_of([each["user"] for each in members if each["user"].get("nickname") == name])
        except ValueError:
            return None
        except Refusal as refusal:
            if refusal.status not in (403, 404):
                raise
            return None
        return found

    def _change(self, number: int, reviewers: Sequence[Mapping[str, str]], given: Mapping[str, Any]) -> Any:
        """Change a pull request. Reviewers who are not sent are removed."""
        path, what = f"{self._repository.path}/pullrequests/{number}", self._name(number)
        return self._rest.call("PUT", path, what, {**given, "reviewers": reviewers})

    def _get(self, number: int) -> Any:
        return self._rest.get(f"{self._repository.path}/pullrequests/{number}", self._name(number))

    def _name(self, number: int) -> str:
        return f"pull request {number} of {self._repository.name}"

    def _pull_request(self, answer: Any) -> PullRequest:
        state = _STATES[answer["state"]]
        return checked(
            PullRequest(
                number=answer["id"],
                url=answer["links"]["html"]["href"],
                state="draft" if state == "open" and answer.get("draft") else state,
                branch=answer["source"]["branch"]["name"],
                base=answer["destination"]["branch"]["name"],
                head_sha=self._repository.get_sha(answer["source"]["commit"]["hash"]),
                title=answer["title"],
                body=with_usual_marks(answer["description"] or ""),
            )
        )


def _body(body: str) -> str:
    return with_marks_of_bitbucket(_TEXTS.body(body))
