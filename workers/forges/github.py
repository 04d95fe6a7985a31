"""GitHub and GitHub Enterprise through PyGithub, and servers with a compatible API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from github import BadAttributeException, GithubException, UnknownObjectException
from github.GithubObject import NotSet
from github.PullRequest import PullRequest as Answer
from github.Repository import Repository

from workers.forges import github_errors
from workers.forges.base import STATUS_NAME, CommitStatus, PullRequest, State, checked
from workers.forges.failures import translated
from workers.forges.github_places import parse
from workers.forges.github_requester import PinnedRequester
from workers.forges.http import Client, Limits
from workers.forges.places import check_api_url
from workers.forges.texts import Texts
from workers.job import Host

# GitHub rejects longer texts.
_TEXTS = Texts(256, 65_536)


class GitHub:
    """`workers.forges.base.Forge` for one repository of GitHub.

    Nothing is retried here: the caller decides how long to wait, and checks whether a failed try had an effect.
    """

    body_characters = _TEXTS.body_characters

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._full_name, default_api = parse(repo_url)
        self._api_url = (api_url or default_api).rstrip("/")
        self._token = token
        check_api_url(self._api_url, token, github_errors.PERMISSION)
        self._requester = PinnedRequester(Client(self._api_url, host, limits), self._api_url, token)
        self._found: Repository | None = None

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """See `Forge`. A renamed repository is found by its old name, too.

        https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
        """
        with self._translated_errors(f"the pull requests of {self._full_name}"):
            repository = self._repository()
            head = f"{repository.owner.login}:{branch}"
            for state in ("open", "closed"):
                for answer in repository.get_pulls(state=state, sort="created", direction="desc", head=head):
                    # The filter also matches forks of the same owner.
                    if answer.head.repo is not None and answer.head.repo.full_name == repository.full_name:
                        return _pull_request(answer)
        return None

    def get_pull_request(self, number: int) -> PullRequest:
        """See `Forge`. https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request"""
        with self._translated_errors(f"pull request {number} of {self._full_name}"):
            return _pull_request(self._repository().get_pull(number))

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """See `Forge`. If the repository's plan has no drafts, an ordinary pull request is opened instead.

        A title or body that is too long for GitHub is shortened.
        https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request
        """
        title, body = _TEXTS.title(title), _TEXTS.body(body)
        with self._translated_errors(f"a pull request in {self._full_name}"):
            repository = self._repository()
            try:
                answer = repository.create_pull(base, branch, title=title, body=body, draft=draft)
            except GithubException as error:
                if not (draft and github_errors.has_no_drafts(error)):
                    raise
                answer = repository.create_pull(base, branch, title=title, body=body, draft=False)
            return _pull_request(answer)

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """See `Forge`. If the repository's plan has no drafts, it stays an ordinary pull request.

        A title or body that is too long for GitHub is shortened.
        https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request;
        the draft state can only be changed with
        https://docs.github.com/en/graphql/reference/mutations#convertpullrequesttodraft
        """
        with self._translated_errors(f"pull request {number} of {self._full_name}"):
            answer = self._repository().get_pull(number)
            if title is not None or body is not None:
                answer.edit(
                    title=NotSet if title is None else _TEXTS.title(title),
                    body=NotSet if body is None else _TEXTS.body(body),
                )
            if draft is not None and draft != answer.draft:
                _make_draft(answer, draft)
            return _pull_request(answer)

    def add_labels(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. https://docs.github.com/en/rest/issues/labels#add-labels-to-an-issue creates labels, so each is
        looked for before."""
        with self._translated_errors(f"the labels of {self._full_name}"):
            missing = [name for name in names if not self._has_label(name)]
            if known := [name for name in names if name not in missing]:
                self._post(f"/issues/{number}/labels", labels=known)
            return missing

    def _has_label(self, name: str) -> bool:
        try:
            self._repository().get_label(name)
        except UnknownObjectException:
            return False
        return True

    def request_reviews(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. A team is `organization/team`.

        One name that is refused makes GitHub refuse all: then each is tried alone.
        https://docs.github.com/en/rest/pulls/review-requests#request-reviewers-for-a-pull-request
        """
        with self._translated_errors(f"the reviewers of pull request {number} of {self._full_name}"):
            try:
                self._request_reviews(number, names)
            except GithubException as error:
                if error.status != 422:
                    raise
                return (
                    list(names) if len(names) == 1 else [each for each in names if self.request_reviews(number, [each])]
                )
            return []

    def _request_reviews(self, number: int, names: Sequence[str]) -> None:
        people = [name for name in names if "/" not in name]
        teams = [name.rpartition("/")[2] for name in names if "/" in name]
        self._post(f"/pulls/{number}/requested_reviewers", reviewers=people, team_reviewers=teams)

    def assign(self, number: int, names: Sequence[str]) -> list[str]:
        """See `Forge`. GitHub leaves those out whom it does not take.
        https://docs.github.com/en/rest/issues/assignees#add-assignees-to-an-issue"""
        with self._translated_errors(f"the assignees of pull request {number} of {self._full_name}"):
            answer = self._post(f"/issues/{number}/assignees", assignees=list(names))
            assigned = {each["login"].lower() for each in answer["assignees"]}
            return [name for name in names if name.lower() not in assigned]

    def set_status(self, sha: str, status: CommitStatus) -> None:
        """See `Forge`. https://docs.github.com/en/rest/commits/statuses#create-a-commit-status"""
        with self._translated_errors(f"the status of {sha} in {self._full_name}"):
            given = {"state": "success", "context": STATUS_NAME, "target_url": status.url}
            self._post(f"/statuses/{sha}", **given, description=status.description)

    def _post(self, path: str, **values: list[str] | str) -> Any:
        """Send a request about the repository that PyGithub makes only for objects that it has read."""
        repository = self._repository()
        _, answer = repository.requester.requestJsonAndCheck("POST", f"{repository.url}{path}", input=values)
        return answer

    def _repository(self) -> Repository:
        """The repository as the forge returns it. Its owner and name may have changed since the URL was set."""
        if self._found is None:
            self._found = Repository(self._requester, url=f"/repos/{self._full_name}")
        return self._found

    @contextmanager
    def _translated_errors(self, what: str) -> Iterator[None]:
        """Translate every failure of a request for `what` into an EngineError, without the token."""
        host = urlsplit(self._api_url).hostname or ""
        with translated(host, "GitHub", self._token):
            try:
                yield
            except BadAttributeException:
                # PyGithub raises this for answers that do not come from GitHub. Its message quotes them.
                raise ValueError("not an answer of GitHub") from None
            except GithubException as error:
                raise github_errors.engine_error(error, host, what) from None


def _make_draft(answer: Answer, draft: bool) -> None:
    try:
        if draft:
            answer.convert_to_draft()
        else:
            answer.mark_ready_for_review()
    except GithubException as error:
        if not (draft and github_errors.has_no_drafts(error)):
            raise


def _pull_request(answer: Answer) -> PullRequest:
    state: State = "open" if answer.state == "open" else "closed"
    if answer.merged_at is not None:
        state = "merged"
    elif state == "open" and answer.draft:
        state = "draft"
    return checked(
        PullRequest(
            number=answer.number,
            url=answer.html_url,
            state=state,
            branch=answer.head.ref,
            base=answer.base.ref,
            head_sha=answer.head.sha,
            title=answer.title,
            body=answer.body or "",
        )
    )
