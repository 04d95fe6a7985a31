"""Comments on pull requests of Azure DevOps: https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-threads

Each comment belongs to a thread, and is numbered there. An id here is that of the thread, followed by that number.
"""

from __future__ import annotations

from typing import Any

from workers.errors import EngineError
from workers.forges.azure_rest import AzureRepository, AzureRest, place_of
from workers.forges.discussions import Discussion, Remark, WithoutReviews, has_key, marked
from workers.forges.http import Limits
from workers.job import Host

_BITS = 16
# Services and applications. People are `aad`, `msa` or `win`.
_BOTS = ("svc.", "s2s.", "aadsp.", "imp.")


class AzureDiscussions(WithoutReviews):
    """`workers.forges.discussions.Discussions` for one repository of Azure DevOps."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._place = place_of(repo_url, api_url)
        self._rest = AzureRest(self._place.organization, token, host, limits)
        self._repository = AzureRepository(self._rest, self._place)

    def get_comment(self, number: int, comment_id: int) -> Discussion:
        """See `Discussions`. https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-threads/get"""
        thread_id, within = comment_id >> _BITS, comment_id % (1 << _BITS)
        what = f"comment {within} of thread {thread_id} on pull request {number} of {self._place.full_name}"
        with self._rest.translated():
            thread = self._rest.get(f"{self._threads(number)}/{thread_id}", what)
            comments = [each for each in thread["comments"] if not each.get("isDeleted")]
            found = next((each for each in comments if each["id"] == within), None)
            if found is None:
                raise EngineError("forge_not_found", "publish", f"There is no {what}.")
            before = tuple(_remark(each) for each in comments if each["id"] < within and not _is_by_system(each))
            remark = _remark(found, thread.get("threadContext") or {}, before)
            return Discussion(number, remark.author, _is_by_bot(found), (remark,))

    def may_write(self, login: str) -> bool | None:
        """See `Discussions`. Only tokens that may change what others may do can read it."""
        return None

    def write_comment(self, number: int, key: str, text: str) -> None:
        """See `Discussions`. https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-threads/create"""
        what, content = f"a comment on pull request {number} of {self._place.full_name}", marked(text, key)
        with self._rest.translated():
            path = self._threads(number)
            threads = self._rest.get(path, what)["value"]
            written = [(thread["id"], each) for thread in threads for each in thread["comments"]]
            own = next((found for found in written if has_key(found[1].get("content") or "", key)), None)
            if own is None:
                comment = {"parentCommentId": 0, "content": content, "commentType": "text"}
                # A branch policy may ask for every thread to be resolved, and this one asks for nothing.
                self._rest.call("POST", path, what, {"comments": [comment], "status": "closed"})
            elif own[1]["content"] != content:
                place = f"{path}/{int(own[0])}/comments/{int(own[1]['id'])}"
                self._rest.call("PATCH", place, what, {"content": content})

    def _threads(self, number: int) -> str:
        return f"{self._repository.path}/pullrequests/{number}/threads"


def _is_by_system(comment: Any) -> bool:
    """Whether it only says what has happened, such as a push or a vote."""
    return bool(comment["commentType"] != "text")


def _is_by_bot(comment: Any) -> bool:
    return _is_by_system(comment) or str(comment["author"].get("descriptor") or "").startswith(_BOTS)


def _remark(comment: Any, place: Any = None, before: tuple[Remark, ...] = ()) -> Remark:
    place = place or {}
    first, last = (place.get(f"rightFile{end}") or place.get(f"leftFile{end}") or {} for end in ("Start", "End"))
    return Remark(
        comment["author"]["uniqueName"],
        comment.get("content") or "",
        path=place["filePath"].lstrip("/") if place else None,
        first_line=first.get("line"),
        last_line=last.get("line"),
        thread=before,
    )
