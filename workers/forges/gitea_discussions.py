"""Comments on pull requests and issues of Forgejo and Gitea: https://docs.gitea.com/api/

What they deliver of a review does not say which it is, so only comments on the pull request as a whole are followed.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from workers.errors import EngineError
from workers.forges.discussions import Discussion, Remark, WithoutReviews, has_key, marked
from workers.forges.gitea import PERMISSION
from workers.forges.http import Limits
from workers.forges.places import api_and_path
from workers.forges.rest import Refusal, Rest
from workers.job import Host

_MAY_WRITE = ("owner", "admin", "write")


class GiteaDiscussions(WithoutReviews):
    """`workers.forges.discussions.Discussions` for one repository of Forgejo or Gitea."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        api, self._path = api_and_path(repo_url, api_url, "/api/v1")
        self._rest = Rest("Forgejo or Gitea", api, token, host, limits, permission=PERMISSION)
        self._found: str | None = None

    def get_comment(self, number: int, comment_id: int) -> Discussion:
        """See `Discussions`. "Get a comment" """
        what = f"comment {comment_id} of {self._path}"
        with self._rest.translated():
            found = self._rest.get(f"{self._repository()}/issues/comments/{comment_id}", what)
            # They share their numbers.
            if not (found["pull_request_url"] or found["issue_url"]).endswith(
                (f"/pulls/{number}", f"/issues/{number}")
            ):
                raise EngineError("forge_not_found", "publish", f"{what} is not about number {number}.")
            author = found["user"]
            return Discussion(number, author["login"], is_bot(author), (Remark(author["login"], found["body"]),))

    def may_write(self, login: str) -> bool:
        """See `Discussions`. "Get repository permissions for a user"; the token's owner must administer the repository."""
        with self._rest.translated():
            path = f"{self._repository()}/collaborators/{quote(login, safe='')}/permission"
            try:
                found = self._rest.get(path, f"the permission of {login} for {self._path}")
            except Refusal as refusal:
                if refusal.status == 404:
                    return False
                raise
            return found["permission"] in _MAY_WRITE

    def write_comment(self, number: int, key: str, text: str) -> None:
        """See `Discussions`. The list of comments has no pages."""
        with self._rest.translated():
            path, what = (
                f"{self._repository()}/issues/{number}/comments",
                f"a comment on number {number} of {self._path}",
            )
            body = {"body": marked(text, key)}
            comments: list[Any] = self._rest.get(path, what)
            known = next((each for each in comments if has_key(each["body"], key)), None)
            if known is None:
                self._rest.call("POST", path, what, body)
            elif known["body"] != body["body"]:
                self._rest.call("PATCH", f"{self._repository()}/issues/comments/{int(known['id'])}", what, body)

    def _repository(self) -> str:
        """The API's path of the repository by its present name: one that moved is found by its old name for reading."""
        if self._found is None:
            found = self._rest.get(f"/repos/{quote(self._path)}", f"the repository {self._path}")
            self._found = f"/repos/{quote(found['full_name'])}"
        return self._found


def is_bot(user: Any) -> bool:
    """Whether it is a user of the server itself, such as that of its Actions, or a deleted one."""
    return int(user["id"]) <= 0
