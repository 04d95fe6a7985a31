"""Comments on pull requests of Bitbucket Data Center: https://developer.atlassian.com/server/bitbucket/rest/

A review is no thing of its own there: each remark is a comment. Comments are listed as activities only, with the place that
they are about, and replies within what they reply to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workers.forges.bitbucket_data_center_server import Server
from workers.forges.bitbucket_marks import with_marks_of_bitbucket, with_usual_marks
from workers.forges.discussions import Discussion, Remark, WithoutReviews, has_key, marked
from workers.forges.http import Limits
from workers.job import Host


class BitbucketDataCenterDiscussions(WithoutReviews):
    """`workers.forges.discussions.Discussions` for one repository of Bitbucket Data Center."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._server = Server(repo_url, api_url, token, host, limits)
        self._rest = self._server.rest

    def get_comment(self, number: int, comment_id: int) -> Discussion:
        """See `Discussions`. "Get a pull request comment" """
        what = f"comment {comment_id} on pull request {number} of {self._server.full_name}"
        with self._rest.translated():
            comment = self._rest.get(f"{self._path(number)}/comments/{comment_id}", what)
            author = comment["author"]
            # A token of a project or a repository acts as a user of its own.
            is_bot = author["type"] == "SERVICE"
            return Discussion(number, author["name"], is_bot, (self._remark(number, comment),))

    def may_write(self, login: str) -> bool:
        """See `Discussions`. "Get all users" with the permission, however they have it; `filter` finds parts of names."""
        with self._rest.translated():
            self._server.repository()
            asked = {"filter": login, "permission.1": "REPO_WRITE", "permission.1.projectKey": self._server.project}
            asked["permission.1.repositorySlug"] = self._server.slug
            what = f"the permission of {login} for {self._server.full_name}"
            found = self._server.pages("/api/latest/users", what, **asked)
            return any(each["name"].lower() == login.lower() and each["active"] for each in found)

    def write_comment(self, number: int, key: str, text: str) -> None:
        """See `Discussions`. "Add pull request comment" and "Update pull request comment" """
        with self._rest.translated():
            path, what = f"{self._path(number)}/comments", f"a comment on pull request {number}"
            wanted = marked(text, key)
            comments = (comment for comment, _ in self._threads(number))
            known = next((each for each in comments if has_key(with_usual_marks(each["text"]), key)), None)
            if known is None:
                self._rest.call("POST", path, what, {"text": with_marks_of_bitbucket(wanted)})
            elif with_usual_marks(known["text"]) != wanted:
                given = {"text": with_marks_of_bitbucket(wanted), "version": known["version"]}
                self._rest.call("PUT", f"{path}/{int(known['id'])}", what, given)

    def _remark(self, number: int, comment: Any) -> Remark:
        """The comment with its place, and what was written there before."""
        for first, anchor in self._threads(number):
            thread = sorted(_with_replies(first), key=lambda each: int(each["id"]))
            ids = [each["id"] for each in thread]
            if comment["id"] in ids:
                before = tuple(_plain(each) for each in thread[: ids.index(comment["id"])])
                marker = anchor.get("multilineMarker") or {}
                lines = {"first_line": marker.get("startLine"), "last_line": anchor.get("line")}
                return Remark(*_said(comment), path=anchor.get("path"), **lines, thread=before if anchor else ())
        return _plain(comment)

    def _threads(self, number: int) -> Iterator[tuple[Any, Any]]:
        """The first comment of each thread, the newest thread first, and the place in the diff; empty if it has none."""
        what = f"the comments on pull request {number} of {self._server.full_name}"
        for each in self._server.pages(f"{self._path(number)}/activities", what):
            if each["action"] == "COMMENTED" and each["commentAction"] == "ADDED":
                yield each["comment"], each.get("commentAnchor") or {}

    def _path(self, number: int) -> str:
        return f"{self._server.repository()}/pull-requests/{number}"


def _with_replies(comment: Any) -> Iterator[Any]:
    yield comment
    for reply in comment["comments"]:
        yield from _with_replies(reply)


def _said(comment: Any) -> tuple[str, str]:
    return comment["author"]["name"], with_usual_marks(comment["text"])


def _plain(comment: Any) -> Remark:
    return Remark(*_said(comment))
