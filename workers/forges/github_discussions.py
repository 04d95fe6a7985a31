"""Comments and reviews of GitHub and GitHub Enterprise: https://docs.github.com/en/rest/pulls/reviews"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from workers.errors import EngineError
from workers.forges import github_errors
from workers.forges.discussions import Discussion, Remark, has_key, marked
from workers.forges.github_places import parse
from workers.forges.http import Limits
from workers.forges.rest import Refusal, Rest
from workers.job import Host

_MAY_WRITE = ("admin", "maintain", "write")
_PER_PAGE, _MOST_PAGES = 50, 10
GHOST = {"login": "ghost", "type": "User"}
"""Stands for the author of what a deleted user wrote."""


class GitHubDiscussions:
    """`workers.forges.discussions.Discussions` for one repository of GitHub."""

    permission = github_errors.PERMISSION

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._full_name, default_api = parse(repo_url)
        api = (api_url or default_api).rstrip("/")
        self._rest = Rest("GitHub", api, token, host, limits, permission=self.permission)
        self._found: str | None = None

    def get_comment(self, number: int, comment_id: int) -> Discussion:
        """See `Discussions`. https://docs.github.com/en/rest/issues/comments#get-an-issue-comment"""
        what = f"comment {comment_id} of {self._full_name}"
        with self._rest.translated():
            found = self._rest.get(f"{self._repository()}/issues/comments/{comment_id}", what)
            if not found["issue_url"].endswith(f"/issues/{number}"):
                raise EngineError("forge_not_found", "publish", f"{what} does not belong to pull request {number}.")
            author = found["user"] or GHOST
            return Discussion(number, author["login"], _is_bot(author), (_remark(found),))

    def get_review(self, number: int, review_id: int) -> Discussion:
        """See `Discussions`. https://docs.github.com/en/rest/pulls/reviews#get-a-review-for-a-pull-request"""
        what = f"review {review_id} of pull request {number} of {self._full_name}"
        with self._rest.translated():
            review = self._rest.get(f"{self._repository()}/pulls/{number}/reviews/{review_id}", what)
            # In this list, unlike in that of the review, comments have their lines, and threads are whole.
            comments = list(self._pages(f"{self._repository()}/pulls/{number}/comments", f"the comments of {what}"))
            author = review["user"] or GHOST
            own = [_place(each, comments) for each in comments if each["pull_request_review_id"] == review_id]
            whole = [_remark(review)] if (review["body"] or "").strip() else []
            return Discussion(number, author["login"], _is_bot(author), (*whole, *own))

    def may_write(self, login: str) -> bool:
        """See `Discussions`.

        https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user
        """
        with self._rest.translated():
            path = f"{self._repository()}/collaborators/{quote(login, safe='')}/permission"
            try:
                found = self._rest.get(path, f"the permission of {login} for {self._full_name}")
            except Refusal as refusal:
                if refusal.status == 404:
                    return False
                raise
            return found["permission"] in _MAY_WRITE

    def write_comment(self, number: int, key: str, text: str) -> None:
        """See `Discussions`. https://docs.github.com/en/rest/issues/comments#create-an-issue-comment"""
        with self._rest.translated():
            path, what = f"{self._repository()}/issues/{number}/comments", f"a comment on pull request {number}"
            body = {"body": marked(text, key)}
            known = next((each for each in self._pages(path, what) if has_key(each["body"] or "", key)), None)
            if known is None:
                self._rest.call("POST", path, what, body)
            elif known["body"] != body["body"]:
                self._rest.call("PATCH", f"{self._repository()}/issues/comments/{known['id']}", what, body)

    def _pages(self, path: str, what: str) -> Iterator[Any]:
        for page in range(1, _MOST_PAGES + 1):
            found = self._rest.get(path, what, per_page=_PER_PAGE, page=page)
            yield from found
            if len(found) < _PER_PAGE:
                return

    def _repository(self) -> str:
        """The API's path of the repository by its present name: one that moved is found by its old name for reading."""
        if self._found is None:
            found = self._rest.get(f"/repos/{quote(self._full_name)}", f"the repository {self._full_name}")
            self._found = f"/repos/{quote(found['full_name'])}"
        return self._found


def _place(comment: Any, comments: list[Any]) -> Remark:
    """A comment at a place in the diff, with what was written there before."""
    first = comment.get("in_reply_to_id")
    before = [each for each in comments if each["id"] == first or each.get("in_reply_to_id") == first] if first else []
    thread = tuple(
        _remark(each) for each in before if each["created_at"] < comment["created_at"] or each["id"] == first
    )
    last_line = comment.get("line") or comment.get("original_line")
    return Remark(
        *(_remark(comment).author, comment["body"] or ""),
        path=comment["path"],
        first_line=comment.get("start_line") or comment.get("original_start_line"),
        last_line=last_line,
        code=comment["diff_hunk"] or "",
        thread=thread,
    )


def _remark(given: Any) -> Remark:
    return Remark((given["user"] or GHOST)["login"], given["body"] or "")


def _is_bot(user: Any) -> bool:
    return bool(user["type"] == "Bot")
