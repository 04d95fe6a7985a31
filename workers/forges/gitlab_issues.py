"""Issues of GitLab: https://docs.gitlab.com/api/issues/"""

from __future__ import annotations

from workers.errors import EngineError
from workers.forges.gitlab_discussions import MOST_FOUND, GitLabDiscussions, is_bot_name
from workers.forges.issues import Issue
from workers.forges.rest import Refusal


class GitLabIssues(GitLabDiscussions):
    """`workers.forges.issues.Issues` for one project of GitLab."""

    kind = "issues"

    def get_issue(self, number: int) -> Issue:
        """See `Issues`. https://docs.gitlab.com/api/issues/#single-project-issue"""
        what = f"issue {number} of {self._path}"
        with self._rest.translated():
            found = self._rest.get(self._place(number), what)
            if found["confidential"]:
                # The title of a pull request would show what it says to everybody.
                raise EngineError(
                    "forge_not_found", "publish", f"{what} is confidential, so nothing is started for it."
                )
            author = found["author"]["username"]
            return Issue(
                number,
                found["title"],
                found["description"] or "",
                author,
                is_bot_name(author),
                found["state"] == "opened",
                tuple(found["labels"]),
            )

    def find_who_labelled(self, number: int, label: str) -> str | None:
        """See `Issues`. https://docs.gitlab.com/api/resource_label_events/#list-project-issue-label-events"""
        actor: str | None = None
        with self._rest.translated():
            path, what = f"{self._place(number)}/resource_label_events", f"the labels of issue {number}"
            events = list(self._pages(path, what))
            for event in events:
                # A label that was deleted since has no name.
                name = (event["label"] or {}).get("name", "")
                if event["action"] == "add" and name.lower() == label.lower():
                    actor = event["user"]["username"]
        # Of so many the last ones may not have been read.
        is_known = actor is not None and len(events) < MOST_FOUND and not is_bot_name(actor)
        return actor if is_known else None

    def acknowledge(self, number: int) -> None:
        """See `Issues`. https://docs.gitlab.com/api/emoji_reactions/#add-an-emoji-reaction"""
        with self._rest.translated():
            try:
                path = f"{self._place(number)}/award_emoji"
                self._rest.call("POST", path, f"a reaction to issue {number} of {self._path}", {"name": "eyes"})
            except Refusal as refusal:
                # It is there already.
                if refusal.status != 404:
                    raise
