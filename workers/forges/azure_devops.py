"""Azure DevOps Services and Azure DevOps Server: https://learn.microsoft.com/rest/api/azure/devops/git/pull-requests"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from workers.errors import EngineError
from workers.forges.azure_rest import AzureRepository, AzureRest, place_of
from workers.forges.base import STATUS_NAME, CommitStatus, PullRequest, State, checked
from workers.forges.http import Limits
from workers.forges.rest import Refusal
from workers.forges.texts import Texts
from workers.job import Host

HEADS = "refs/heads/"
# A list shows 400 characters of a description.
_PER_PAGE = 100
_STATES: dict[str, State] = {"active": "open", "abandoned": "closed", "completed": "merged"}
_TEXTS = Texts(400, 4_000, is_utf16=True)


class AzureDevOps:
    """`workers.forges.base.Forge` for one repository of Azure DevOps. Nothing is retried here."""

    # What is generated may have some emoji without being cut, which would lose the mark of its end.
    body_characters = _TEXTS.body_characters - 200

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._place = place_of(repo_url, api_url)
        self._access = (token, host, limits)
        self._rest = AzureRest(self._place.organization, *self._access)
        self._repository = AzureRepository(self._rest, self._place)

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """See `Forge`. https://learn.microsoft.com/rest/api/azure/devops/git/pull-requests/get-pull-requests

        The newest are listed first, and descriptions are cut there.
        """
        with self._rest.translated():
            found = (each for status in ("active", "all") for each in self._list(branch, status))
            own = next((each for each in found if each.get("forkSource") is None), None)
            return None if own is None else self._pull_request(self._get(int(own["pullRequestId"])))

    def _list(self, branch: str, status: str) -> Any:
        query: dict[str, str | int] = {
            "searchCriteria.sourceRefName": f"{HEADS}{branch}",
            "searchCriteria.status": status,
            "$top": _PER_PAGE,
        }
        return self._rest.get(self._path(), f"the pull requests of {self._place.full_name}", **query)["value"]

    def get_pull_request(self, number: int) -> PullRequest:
        """See `Forge`. https://learn.microsoft.com/rest/api/azure/devops/git/pull-requests/get-pull-request"""
        with self._rest.translated():
            return self._pull_request(self._get(number))

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """See `Forge`. https://learn.microsoft.com/rest/api/azure/devops/git/pull-requests/create"""
        given = {"sourceRefName": f"{HEADS}{branch}", "targetRefName": f"{HEADS}{base}", "isDraft": draft}
        given |= {"title": _TEXTS.title(title), "description": _TEXTS.body(body)}
        what = f"a pull request from {branch} to {base} in {self._place.full_name}"
        with self._rest.translated():
            try:
                return self._pull_request(self._rest.call("POST", self._path(), what, given))
            except Refusal as refusal:
                if refusal.status == 409 and "TF401179" in refusal.said:
                    raise EngineError("pull_request_exists", "publish", refusal.message) from None
                raise

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """See `Forge`. https://learn.microsoft.com/rest/api/azure/devops/git/pull-requests/update"""
        given: dict[str, str | bool] = {} if title is None else {"title": _TEXTS.title(title)}
        given |= {} if body is None else {"description": _TEXTS.body(body)}
        given |= {} if draft is None else {"isDraft": draft}
        with self._rest.translated():
            what = self._what(number)
            return self._pull_request(
                self._rest.call("PATCH", self._path(number), what, given) if given else self._get(number)
            )

    def add_labels(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. Adding one creates it, so they are looked for among the tags of the project, which labels are.

        https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-labels/create
        """
        with self._rest.translated():
            tags = self._rest.get(
                f"/{self._repository.project_id}/_apis/wit/tags", f"the tags of {self._place.project}"
            )["value"]
            known = {each["name"].lower() for each in tags}
            for name in names:
                if name.lower() in known:
                    path = f"{self._path(number)}/labels"
                    self._rest.call("POST", path, f"the labels of {self._what(number)}", {"name": name})
            return [name for name in names if name.lower() not in known]

    def request_reviews(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. A team is `project/team`. Somebody who reviews already keeps the vote.

        https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-reviewers/create-pull-request-reviewer
        """
        with self._rest.translated():
            present = {each["id"] for each in self._get(number)["reviewers"]}
            ids = {name: self._find_identity(name) for name in names}
            return [name for name, found in ids.items() if found not in present and not self._is_added(number, found)]

    def _is_added(self, number: int, identity: str | None) -> bool:
        if identity is None:
            return False
        path = f"{self._path(number)}/reviewers/{identity}"
        try:
            self._rest.call("PUT", path, f"the reviewers of {self._what(number)}", {"id": identity, "vote": 0})
        except Refusal as refusal:
            if refusal.status not in (400, 404):
                raise
            return False
        return True

    def _find_identity(self, name: str) -> str | None:
        """The id of the one person or team that is called that: the search also finds parts of names.

        https://learn.microsoft.com/rest/api/azure/devops/ims/identities/read-identities
        """
        container, mark, team = name.rpartition("/")
        wanted = f"[{container}]\\{team}" if mark else name
        query = {"searchFilter": "General", "filterValue": wanted, "queryMembership": "None"}
        with self._identities.translated():
            found = self._identities.get("/_apis/identities", f"the person {name}", **query)["value"]
            ids = {each["id"] for each in found if each and each["isActive"] and wanted.lower() in _names(each)}
            return ids.pop() if len(ids) == 1 else None

    @cached_property
    def _identities(self) -> AzureRest:
        url = self._place.identities
        return self._rest if url == self._place.organization else AzureRest(url, *self._access)

    def assign(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. Pull requests have no assignees."""
        return list(names)

    def set_status(self, sha: str, status: CommitStatus) -> None:
        """See `Forge`. https://learn.microsoft.com/rest/api/azure/devops/git/statuses/create"""
        given = {"state": "succeeded", "context": {"name": STATUS_NAME}}
        given |= {"targetUrl": status.url, "description": status.description}
        with self._rest.translated():
            self._rest.call("POST", f"{self._repository.path}/commits/{sha}/statuses", f"the status of {sha}", given)

    def _get(self, number: int) -> Any:
        return self._rest.get(self._path(number), self._what(number))

    def _what(self, number: int) -> str:
        return f"pull request {number} of {self._place.full_name}"

    def _path(self, number: int | None = None) -> str:
        return f"{self._repository.path}/pullrequests" + ("" if number is None else f"/{number}")

    def _pull_request(self, answer: Any) -> PullRequest:
        state, number = _STATES[answer["status"]], answer["pullRequestId"]
        return checked(
            PullRequest(
                number=number,
                url=f"{self._place.page}/pullrequest/{number}",
                state="draft" if state == "open" and answer["isDraft"] else state,
                branch=answer["sourceRefName"].removeprefix(HEADS),
                base=answer["targetRefName"].removeprefix(HEADS),
                head_sha=answer["lastMergeSourceCommit"]["commitId"],
                title=answer["title"],
                body=answer.get("description") or "",
            )
        )


def _names(identity: Any) -> set[str]:
    """What somebody is called, in lower case: the account, which may be an e-mail address, and the name that is shown."""
    properties = identity["properties"]
    account = [properties[name]["$value"] for name in ("Account", "Mail") if name in properties]
    shown = [identity.get("customDisplayName"), identity["providerDisplayName"]]
    return {each.lower() for each in (*account, *shown) if each}
