"""Comments on pull requests of Bitbucket, also those at a line, each alone. It has no reviews as one thing.

People are named by their account id in braces, as they are mentioned there: anybody may take the nickname of another person.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from workers.forges.bitbucket_api import PERMISSION, Repository, query_of
from workers.forges.bitbucket_marks import with_marks_of_bitbucket, with_usual_marks
from workers.forges.discussions import Discussion, Remark, WithoutReviews, has_key, marked
from workers.forges.http import Limits
from workers.job import Host

_ADMINISTERS = (
    f"{PERMISSION} Only a token of somebody who administers the repository may read who may write to it; an access token "
    "needs the scope `repository:admin`."
)
_MAY_WRITE = ("admin", "write")
_MOST_PAGES = 10
# Bitbucket says nothing of people whose accounts were deleted.
_FORMER = {"type": "former_user", "display_name": "Former user", "uuid": ""}


class BitbucketDiscussions(WithoutReviews):
    """`workers.forges.discussions.Discussions` for one repository of Bitbucket Cloud."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._repository = Repository(repo_url, api_url, token, host, limits, _ADMINISTERS)
        self._rest = self._repository.rest

    def get_comment(self, number: int, comment_id: int) -> Discussion:
        """See `Discussions`."""
        what = f"comment {comment_id} on pull request {number} of {self._repository.name}"
        with self._rest.translated():
            found = self._rest.get(f"{self._comments(number)}/{comment_id}", what)
            before = self._find_before(number, found) if found.get("parent") else ()
            user = found["user"] or _FORMER
            is_bot = found["deleted"] or user["type"] != "user"
            return Discussion(number, _id(user), is_bot, (_remark(found, before),), _called(user))

    def may_write(self, login: str) -> bool:
        """See `Discussions`. Groups are taken into account.

        https://developer.atlassian.com/cloud/bitbucket/rest/api-group-workspaces/
        """
        account_id = login[1:-1]
        with self._rest.translated():
            slug = self._repository.present_name.partition("/")[2]
            path = f"{self._repository.workspace}/permissions/repositories/{quote(slug)}"
            query = ("q", query_of(("user.account_id", account_id)))
            found = self._repository.pages(path, f"who may write to {self._repository.name}", 1, query)
            return any(each["permission"] in _MAY_WRITE and _id(each["user"]) == login for each in found)

    def write_comment(self, number: int, key: str, text: str) -> None:
        """See `Discussions`."""
        with self._rest.translated():
            path, what = self._comments(number), f"a comment on pull request {number} of {self._repository.name}"
            body = {"content": {"raw": with_marks_of_bitbucket(marked(text, key))}}
            known = next((each for each in self._all(number) if has_key(_text(each), key)), None)
            if known is None:
                self._rest.call("POST", path, what, body)
            elif known["content"]["raw"] != body["content"]["raw"]:
                self._rest.call("PUT", f"{path}/{int(known['id'])}", what, body)

    def _find_before(self, number: int, comment: Any) -> tuple[Remark, ...]:
        """What was written in the same thread before. A reply names the comment that it is about, which may be one itself."""
        earlier = {each["id"]: each for each in self._all(number) if each["id"] < comment["id"]}
        first = _first(comment, earlier)
        before = [each for each in earlier.values() if not each["deleted"] and _first(each, earlier) == first]
        return tuple(Remark(_called(each["user"] or _FORMER), _text(each)) for each in before)

    def _all(self, number: int) -> list[Any]:
        """The comments, the oldest first."""
        what = f"the comments on pull request {number} of {self._repository.name}"
        return list(self._repository.pages(self._comments(number), what, _MOST_PAGES))

    def _comments(self, number: int) -> str:
        return f"{self._repository.path}/pullrequests/{number}/comments"


def _first(comment: Any, others: dict[int, Any]) -> Any:
    """The id of the comment that began a thread. An answer is older than what it answers to only if it is not true."""
    while (parent := comment.get("parent")) and parent["id"] in others and parent["id"] < comment["id"]:
        comment = others[parent["id"]]
    return comment["id"]


def _remark(comment: Any, before: tuple[Remark, ...]) -> Remark:
    place = comment.get("inline") or {}
    return Remark(
        _called(comment["user"] or _FORMER),
        _text(comment),
        path=place.get("path"),
        first_line=place.get("start_to") or place.get("start_from"),
        last_line=place.get("to") or place.get("from"),
        thread=before,
    )


def _text(comment: Any) -> str:
    return with_usual_marks(comment["content"]["raw"] or "")


def _called(user: Any) -> str:
    """Access tokens and apps have no nickname."""
    return str(user.get("nickname") or user["display_name"])


def _id(user: Any) -> str:
    return f"{{{user.get('account_id') or user['uuid']}}}"
