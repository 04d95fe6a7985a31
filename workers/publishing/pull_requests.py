"""Looking up, opening and changing the pull request of a runner's branch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from workers.errors import EngineError
from workers.forges.base import Forge, PullRequest
from workers.forges.registry import make_forge
from workers.job import Host
from workers.processes.lifeline import Lifeline
from workers.publishing import description
from workers.repository.host_check import find_addresses


@dataclass(frozen=True)
class Wish:
    """The pull request that is asked for. `number` is the one that there is already, as far as is known.

    `title`, `body` and `draft` are None where the caller did not name them: a new pull request then has the
    `default_title`, is no draft, and its body is `sessions`, what was asked for and done; one that there is keeps its
    title, stays a draft or not, and in its body only the part that was made of `sessions` is made anew.
    """

    forge: str
    api_url: str | None
    base: str
    default_title: str
    sessions: str
    title: str | None = None
    body: str | None = None
    draft: bool | None = None
    number: int | None = None


class PullRequestEnded(EngineError):
    """The pull request was closed or merged by somebody else; there will be no second one."""

    def __init__(self, pull_request: PullRequest) -> None:
        number, state = pull_request.number, pull_request.state
        remedy = "Reopen it to go on there" if state == "closed" else "Start a new runner to go on"
        super().__init__("pull_request_ended", "publish", f"Pull request #{number} is {state} already. {remedy}.")
        self.pull_request = pull_request


def refuse_ended(found: PullRequest) -> None:
    """Raise `PullRequestEnded` for one that is closed or merged."""
    if found.state in ("closed", "merged"):
        raise PullRequestEnded(found)


def connect(kind: str, repo_url: str, api_url: str | None, credential: str | None, host: Host) -> Forge:
    """The forge of a repository, at an address that this deployment may reach. Raises EngineError."""
    # The token goes there. What the API's client looks up later is not held on to.
    find_addresses(urlsplit(api_url or repo_url).hostname or "", host)
    return make_forge(kind, repo_url, api_url, credential or "")


def bring(forge: Forge, wish: Wish, branch: str, lifeline: Lifeline) -> PullRequest:
    """The pull request of the branch as it is wished for: opened, or found and changed where it differs."""
    found = forge.find_pull_request(branch)
    if found is None:
        # Whoever was frozen since the look does not know what became of the one that another attempt may have made.
        lifeline.check()
        try:
            return _open(forge, wish, branch)
        except EngineError as error:
            found = forge.find_pull_request(branch) if error.code == "pull_request_exists" else None
            if found is None:
                raise
    refuse_ended(found)
    changes = _changes(found, wish)
    if not changes:
        return found
    lifeline.check()
    return forge.update_pull_request(found.number, **changes)


def _open(forge: Forge, wish: Wish, branch: str) -> PullRequest:
    return forge.create_pull_request(
        branch=branch,
        base=wish.base,
        title=wish.default_title if wish.title is None else wish.title,
        body=description.fresh(wish.sessions) if wish.body is None else wish.body,
        draft=wish.draft or False,
    )


def _changes(found: PullRequest, wish: Wish) -> dict[str, Any]:
    """What of the pull request is not as it is wished for."""
    body = description.renewed(found.body, wish.sessions) if wish.body is None else wish.body
    wanted = {"title": wish.title, "body": body, "draft": wish.draft}
    is_now = {"title": found.title, "body": found.body.replace("\r\n", "\n"), "draft": found.state == "draft"}
    return {name: value for name, value in wanted.items() if value is not None and value != is_now[name]}
