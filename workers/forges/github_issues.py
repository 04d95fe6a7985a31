"""Issues of GitHub and GitHub Enterprise: https://docs.github.com/en/rest/issues/issues"""

from __future__ import annotations

from workers.errors import EngineError
from workers.forges.github_discussions import GHOST, GitHubDiscussions
from workers.forges.issues import Issue

_PER_PAGE, _MOST_PAGES = 100, 5


class GitHubIssues(GitHubDiscussions):
    """`workers.forges.issues.Issues` for one repository of GitHub, where comments on both are the same."""

    permission = (
        'The token needs "Issues: read and write" and "Contents: read and write" on this repository (or, for a classic '
        "token, the scope `repo`)."
    )

    def get_issue(self, number: int) -> Issue:
        """See `Issues`. https://docs.github.com/en/rest/issues/issues#get-an-issue"""
        what = f"issue {number} of {self._full_name}"
        with self._rest.translated():
            found = self._rest.get(f"{self._repository()}/issues/{number}", what)
            if "pull_request" in found:
                raise EngineError("forge_not_found", "publish", f"{what} is a pull request.")
            author = found["user"] or GHOST
            labels = (each if isinstance(each, str) else each["name"] or "" for each in found["labels"])
            return Issue(
                number,
                found["title"],
                found["body"] or "",
                author["login"],
                author["type"] == "Bot",
                found["state"] == "open",
                tuple(labels),
            )

    def find_who_labelled(self, number: int, label: str) -> str | None:
        """See `Issues`. https://docs.github.com/en/rest/issues/events#list-issue-events"""
        actor = GHOST
        with self._rest.translated():
            for page in range(1, _MOST_PAGES + 1):
                path, what = f"{self._repository()}/issues/{number}/events", f"the events of issue {number}"
                found = self._rest.get(path, what, per_page=_PER_PAGE, page=page)
                for event in found:
                    if event["event"] == "labeled" and event["label"]["name"].lower() == label.lower():
                        actor = event["actor"] or GHOST
                if len(found) < _PER_PAGE:
                    return None if actor is GHOST or actor["type"] == "Bot" else actor["login"]
        # The last ones were not read.
        return None

    def acknowledge(self, number: int) -> None:
        """See `Issues`. https://docs.github.com/en/rest/reactions/reactions#create-reaction-for-an-issue"""
        with self._rest.translated():
            path = f"{self._repository()}/issues/{number}/reactions"
            self._rest.call("POST", path, f"a reaction to issue {number} of {self._full_name}", {"content": "eyes"})
