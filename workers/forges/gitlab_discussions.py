"""Comments on merge requests and issues of GitLab: https://docs.gitlab.com/api/notes/

GitLab has no reviews as one thing: each remark is a comment, and those at one place in the diff are a discussion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from workers.forges.discussions import Discussion, Remark, WithoutReviews, has_key, marked
from workers.forges.gitlab import PERMISSION
from workers.forges.http import Limits
from workers.forges.places import api_and_path
from workers.forges.rest import Rest
from workers.job import Host

_DEVELOPER = 30
_PER_PAGE, _MOST_PAGES = 50, 10
MOST_FOUND = _PER_PAGE * _MOST_PAGES
"""Of a list no more are read."""
# The names that GitLab gives to the users of tokens: https://docs.gitlab.com/user/project/settings/project_access_tokens/
_BOT = re.compile(r"(project|group)_\d+_bot(_\w+)?|service_account_\w+", re.IGNORECASE)


class GitLabDiscussions(WithoutReviews):
    """`workers.forges.discussions.Discussions` for one project of GitLab."""

    kind = "merge_requests"
    """What is commented, as paths of the API name it. Merge requests and issues may have the same number."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        api, self._path = api_and_path(repo_url, api_url, "/api/v4")
        self._rest = Rest("GitLab", api, token, host, limits, permission=PERMISSION)
        self._found: str | None = None

    def get_comment(self, number: int, comment_id: int) -> Discussion:
        """See `Discussions`. https://docs.gitlab.com/api/notes/#get-a-single-merge-request-note"""
        what = f"comment {comment_id} on {self._name(number)} of {self._path}"
        with self._rest.translated():
            note = self._rest.get(f"{self._place(number)}/notes/{comment_id}", what)
            before = self._find_before(number, comment_id, what) if note.get("position") else ()
            is_bot = note["system"] or is_bot_name(note["author"]["username"])
            return Discussion(number, note["author"]["username"], is_bot, (_remark(note, before),))

    def may_write(self, login: str) -> bool:
        """See `Discussions`. https://docs.gitlab.com/api/project_members/#list-all-members-of-a-project"""
        with self._rest.translated():
            path, what = f"{self._project()}/members/all", f"the role of {login} in {self._path}"
            return any(
                each["access_level"] >= _DEVELOPER and each["state"] == "active"
                for each in self._pages(path, what, query=login)
                if each["username"].lower() == login.lower()
            )

    def write_comment(self, number: int, key: str, text: str) -> None:
        """See `Discussions`. https://docs.gitlab.com/api/notes/#create-new-merge-request-note"""
        with self._rest.translated():
            path, what = f"{self._place(number)}/notes", f"a comment on {self._name(number)}"
            body = {"body": marked(text, key)}
            known = next((each for each in self._pages(path, what, sort="asc") if has_key(each["body"], key)), None)
            if known is None:
                self._rest.call("POST", path, what, body)
            elif known["body"] != body["body"]:
                self._rest.call("PUT", f"{path}/{int(known['id'])}", what, body)

    def _find_before(self, number: int, comment_id: int, what: str) -> tuple[Remark, ...]:
        """What was written at the same place before. https://docs.gitlab.com/api/discussions/"""
        for discussion in self._pages(f"{self._place(number)}/discussions", f"the discussion of {what}"):
            ids = [note["id"] for note in discussion["notes"]]
            if comment_id in ids:
                before = discussion["notes"][: ids.index(comment_id)]
                return tuple(Remark(note["author"]["username"], note["body"]) for note in before if not note["system"])
        return ()

    def _pages(self, path: str, what: str, **query: str) -> Iterator[Any]:
        for page in range(1, _MOST_PAGES + 1):
            found = self._rest.get(path, what, **query, per_page=_PER_PAGE, page=page)
            yield from found
            if len(found) < _PER_PAGE:
                return

    def _place(self, number: int) -> str:
        return f"{self._project()}/{self.kind}/{number}"

    def _name(self, number: int) -> str:
        return f"{self.kind.removesuffix('s').replace('_', ' ')} {number}"

    def _project(self) -> str:
        """The API's path of the project by its number: one that moved is found by its old path for reading only."""
        if self._found is None:
            project = self._rest.get(f"/projects/{quote(self._path, safe='')}", f"the project {self._path}")
            self._found = f"/projects/{int(project['id'])}"
        return self._found


def is_bot_name(login: str) -> bool:
    """Whether it is the name of the user of a token of a project or a group, or of a service account."""
    return bool(_BOT.fullmatch(login))


def _remark(note: Any, before: tuple[Remark, ...]) -> Remark:
    position = note.get("position") or {}
    span = position.get("line_range") or {}
    return Remark(
        note["author"]["username"],
        note["body"],
        path=position.get("new_path") or position.get("old_path"),
        first_line=(span.get("start") or {}).get("new_line"),
        last_line=position.get("new_line") or position.get("old_line"),
        thread=before,
    )
