"""GitHub and GitHub Enterprise through PyGithub, and whatever answers as they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
from github import Auth, Github, GithubException
from github.GithubObject import NotSet
from github.PullRequest import PullRequest as Answer
from github.Repository import Repository

from workers.errors import EngineError
from workers.forges import github_errors
from workers.forges.base import PullRequest, State

_TIMEOUT_SECONDS = 15
# Longer ones are refused by GitHub, and a pull request with a cut text is worth more than none.
_TITLE_CHARACTERS = 256
_BODY_CHARACTERS = 65_536
_CUT = "\n\n[The rest was left out: a description may have 65,536 characters.]"
_PATH = re.compile(r"/*(?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(\.git)?/*", re.ASCII)
_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+):(?P<path>[^/].*)", re.ASCII)


class GitHub:
    """`workers.forges.base.Forge` for one repository of GitHub.

    Nothing is retried here: the caller knows how long it may wait, and whether the first try had an effect.
    """

    def __init__(self, repo_url: str, api_url: str | None, token: str) -> None:
        self._full_name, default_api = parse(repo_url)
        self._api_url = (api_url or default_api).rstrip("/")
        self._token = token
        if not re.match(r"https?://[^/\s@]+(/|$)", self._api_url):
            message = "The site's forge_api_url must be an http:// or https:// address without a user name."
            raise EngineError("forge_refused", "publish", message)
        if not token:
            message = f"The site has no access token, and pull requests need one. {github_errors.PERMISSION}"
            raise EngineError("forge_auth", "publish", message)
        self._github = Github(
            auth=Auth.Token(token),
            base_url=self._api_url,
            timeout=_TIMEOUT_SECONDS,
            retry=None,
            per_page=100,
            seconds_between_requests=None,
            seconds_between_writes=None,
        )
        self._found: Repository | None = None

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """See `Forge`. A renamed repository is found as well, under the name of today.

        https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
        """
        with self._words_of_ours(f"the pull requests of {self._full_name}"):
            repository = self._repository()
            head = f"{repository.owner.login}:{branch}"
            for state in ("open", "closed"):
                for answer in repository.get_pulls(state=state, sort="created", direction="desc", head=head):
                    # The filter also lets forks of the same owner through.
                    if answer.head.repo is not None and answer.head.repo.full_name == repository.full_name:
                        return _pull_request(answer)
        return None

    def get_pull_request(self, number: int) -> PullRequest:
        """See `Forge`. https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request"""
        with self._words_of_ours(f"pull request {number} of {self._full_name}"):
            return _pull_request(self._repository().get_pull(number))

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """See `Forge`. Where the repository's plan knows no drafts, an ordinary pull request is opened instead.

        A title or body longer than GitHub takes is cut.
        https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request
        """
        title, body = _cut_title(title), _cut_body(body)
        with self._words_of_ours(f"a pull request in {self._full_name}"):
            repository = self._repository()
            try:
                answer = repository.create_pull(base, branch, title=title, body=body, draft=draft)
            except GithubException as error:
                if not (draft and github_errors.knows_no_drafts(error)):
                    raise
                answer = repository.create_pull(base, branch, title=title, body=body, draft=False)
            return _pull_request(answer)

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """See `Forge`. Where the repository's plan knows no drafts, it stays an ordinary pull request.

        A title or body longer than GitHub takes is cut.
        https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request; whether it is a draft can only be changed at
        https://docs.github.com/en/graphql/reference/mutations#convertpullrequesttodraft
        """
        with self._words_of_ours(f"pull request {number} of {self._full_name}"):
            answer = self._repository().get_pull(number)
            if title is not None or body is not None:
                answer.edit(
                    title=NotSet if title is None else _cut_title(title),
                    body=NotSet if body is None else _cut_body(body),
                )
            if draft is not None and draft != answer.draft:
                _make_draft(answer, draft)
            return _pull_request(answer)

    def _repository(self) -> Repository:
        """As the forge describes it: its owner and name may have changed since somebody wrote the URL down."""
        if self._found is None:
            self._found = self._github.get_repo(self._full_name)
        return self._found

    @contextmanager
    def _words_of_ours(self, what: str) -> Iterator[None]:
        """Translate every failure of asking for `what` into an EngineError; the token never gets into one."""
        host = urlsplit(self._api_url).hostname or ""
        try:
            yield
        except GithubException as error:
            failure = github_errors.engine_error(error, host, what)
        except requests.RequestException as error:
            failure = github_errors.unreachable(f"{host} did not answer: {github_errors.reason(error)}.")
        except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            # This is how PyGithub takes an answer that no GitHub gives: a proxy's page, or URLs of another host.
            said = self._without_token(f"{type(error).__name__}: {error}")[:200]
            failure = github_errors.unreachable(
                f"{host} did not answer as GitHub does; is the API's URL right? ({said})"
            )
        else:
            return
        message = self._without_token(failure.message)
        raise EngineError(failure.code, failure.stage, message, retryable=failure.retryable) from None

    def _without_token(self, text: str) -> str:
        return text.replace(self._token, "[redacted]")


def parse(repo_url: str) -> tuple[str, str]:
    """`owner/name` and the default address of the API, from a clone URL of https or ssh.

    An Enterprise server has its API below `/api/v3`:
    https://docs.github.com/en/enterprise-server/rest/enterprise-admin. Raise EngineError `forge_refused`.
    """
    scp = _SCP.fullmatch(repo_url) if "://" not in repo_url else None
    if scp:
        scheme, place, path = "ssh", scp["host"], scp["path"]
    else:
        parts = urlsplit(repo_url)
        # A port of ssh is not that of the API, and a user name in a URL is nobody's address.
        place = parts.netloc.rpartition("@")[2] if parts.scheme in ("http", "https") else parts.hostname or ""
        scheme, path = parts.scheme, parts.path
    names = _PATH.fullmatch(path)
    if scheme not in ("http", "https", "ssh") or not place or not names:
        message = "The site's repo_url names no owner and repository, as https://github.com/owner/name does."
        raise EngineError("forge_refused", "publish", message)
    full_name = f"{names['owner']}/{names['name']}"
    if place.lower() in ("github.com", "www.github.com", "ssh.github.com"):
        return full_name, "https://api.github.com"
    return full_name, f"{'http' if scheme == 'http' else 'https'}://{place}/api/v3"


def _cut_title(title: str) -> str:
    return title if len(title) <= _TITLE_CHARACTERS else title[: _TITLE_CHARACTERS - 1] + "…"


def _cut_body(body: str) -> str:
    return body if len(body) <= _BODY_CHARACTERS else body[: _BODY_CHARACTERS - len(_CUT)] + _CUT


def _make_draft(answer: Answer, draft: bool) -> None:
    try:
        if draft:
            answer.convert_to_draft()
        else:
            answer.mark_ready_for_review()
    except GithubException as error:
        if not (draft and github_errors.knows_no_drafts(error)):
            raise


def _pull_request(answer: Answer) -> PullRequest:
    state: State = "open" if answer.state == "open" else "closed"
    if answer.merged_at is not None:
        state = "merged"
    elif state == "open" and answer.draft:
        state = "draft"
    return PullRequest(
        number=answer.number,
        url=answer.html_url,
        state=state,
        branch=answer.head.ref,
        base=answer.base.ref,
        head_sha=answer.head.sha,
        title=answer.title,
        body=answer.body or "",
    )
