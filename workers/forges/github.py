"""GitHub and GitHub Enterprise through PyGithub, and servers with a compatible API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from github import BadAttributeException, GithubException
from github.GithubObject import NotSet
from github.PullRequest import PullRequest as Answer
from github.Repository import Repository

from workers.errors import EngineError
from workers.forges import github_errors
from workers.forges.base import PullRequest, State, checked
from workers.forges.github_requester import PinnedRequester
from workers.forges.http import BadAnswer, Client, Limits, Unreachable
from workers.job import Host

# GitHub rejects longer texts. A pull request with a shortened text is better than none.
_TITLE_CHARACTERS = 256
_BODY_CHARACTERS = 65_536
_SHORTENED = "\n\n[Shortened: a description may have at most 65,536 characters.]"
# PyGithub raises these for answers that do not come from GitHub, such as a proxy's error page.
_NOT_OF_GITHUB = (AssertionError, AttributeError, BadAttributeException, KeyError, RuntimeError, TypeError, ValueError)
_PATH = re.compile(r"/*(?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(\.git)?/*", re.ASCII)
_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+):(?P<path>[^/].*)", re.ASCII)


class GitHub:
    """`workers.forges.base.Forge` for one repository of GitHub.

    Nothing is retried here: the caller decides how long to wait, and checks whether a failed try had an effect.
    """

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._full_name, default_api = parse(repo_url)
        self._api_url = (api_url or default_api).rstrip("/")
        self._token = token
        if not re.match(r"https?://[^/\s@]+(/|$)", self._api_url):
            message = "The site's forge_api_url must be an http:// or https:// URL without a user name."
            raise EngineError("forge_refused", "publish", message)
        if not token:
            message = f"The site has no access token, and pull requests need one. {github_errors.PERMISSION}"
            raise EngineError("forge_auth", "publish", message)
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
        title, body = _shorten_title(title), _shorten_body(body)
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
                    title=NotSet if title is None else _shorten_title(title),
                    body=NotSet if body is None else _shorten_body(body),
                )
            if draft is not None and draft != answer.draft:
                _make_draft(answer, draft)
            return _pull_request(answer)

    def _repository(self) -> Repository:
        """The repository as the forge returns it. Its owner and name may have changed since the URL was set."""
        if self._found is None:
            self._found = Repository(self._requester, url=f"/repos/{self._full_name}")
        return self._found

    @contextmanager
    def _translated_errors(self, what: str) -> Iterator[None]:
        """Translate every failure of a request for `what` into an EngineError, without the token."""
        host = urlsplit(self._api_url).hostname or ""
        try:
            yield
        except GithubException as error:
            failure = github_errors.engine_error(error, host, what)
        except Unreachable as error:
            failure = github_errors.unreachable(f"{host} did not answer: {error}.")
        except BadAnswer as error:
            failure = EngineError("forge_refused", "publish", f"{host} {error}. Check the site's forge_api_url.")
        except _NOT_OF_GITHUB:
            # What PyGithub says may quote the answer, which may be that of an internal service.
            failure = github_errors.unreachable(
                f"{host} did not answer like GitHub. Check the site's repo_url and forge_api_url."
            )
        else:
            return
        message = self._without_token(failure.message)
        raise EngineError(failure.code, failure.stage, message, retryable=failure.retryable) from None

    def _without_token(self, text: str) -> str:
        return text.replace(self._token, "[redacted]")


def parse(repo_url: str) -> tuple[str, str]:
    """`owner/name` and the default URL of the API, from an https or ssh clone URL.

    The API of an Enterprise server is below `/api/v3`:
    https://docs.github.com/en/enterprise-server/rest/enterprise-admin. Raises EngineError `forge_refused`.
    """
    scp = _SCP.fullmatch(repo_url) if "://" not in repo_url else None
    if scp:
        scheme, host, path = "ssh", scp["host"], scp["path"]
    else:
        parts = urlsplit(repo_url)
        # The port of ssh is not that of the API, and a user name is not part of the host.
        host = parts.netloc.rpartition("@")[2] if parts.scheme in ("http", "https") else parts.hostname or ""
        scheme, path = parts.scheme, parts.path
    names = _PATH.fullmatch(path)
    if scheme not in ("http", "https", "ssh") or not host or not names:
        message = "The site's repo_url has no owner and repository. Set it to a URL like https://github.com/owner/name."
        raise EngineError("forge_refused", "publish", message)
    full_name = f"{names['owner']}/{names['name']}"
    if host.lower() in ("github.com", "www.github.com", "ssh.github.com"):
        return full_name, "https://api.github.com"
    return full_name, f"{'http' if scheme == 'http' else 'https'}://{host}/api/v3"


def _shorten_title(title: str) -> str:
    return title if len(title) <= _TITLE_CHARACTERS else title[: _TITLE_CHARACTERS - 1] + "…"


def _shorten_body(body: str) -> str:
    return body if len(body) <= _BODY_CHARACTERS else body[: _BODY_CHARACTERS - len(_SHORTENED)] + _SHORTENED


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
