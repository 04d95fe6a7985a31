"""Issues of Forgejo and Gitea: https://docs.gitea.com/api/"""

from __future__ import annotations

from workers.errors import EngineError
from workers.forges.gitea_discussions import GiteaDiscussions, is_bot
from workers.forges.issues import Issue
from workers.forges.rest import Refusal

_PER_PAGE, _MOST_PAGES = 50, 10


class GiteaIssues(GiteaDiscussions):
    """`workers.forges.issues.Issues` for one repository of Forgejo or Gitea, where comments on both are the same."""

    def get_issue(self, number: int) -> Issue:
        """See `Issues`. "Get an issue" """
        what = f"issue {number} of {self._path}"
        with self._rest.translated():
            found = self._rest.get(f"{self._repository()}/issues/{number}", what)
            if found["pull_request"]:
                raise EngineError("forge_not_found", "publish", f"{what} is a pull request.")
            return Issue(
                number,
                found["title"],
                found["body"] or "",
                found["user"]["login"],
                is_bot(found["user"]),
                found["state"] == "open",
                tuple(each["name"] for each in found["labels"] or ()),
            )

    def find_who_labelled(self, number: int, label: str) -> str | None:
        """See `Issues`. "List all comments and events on an issue" """
        actor = None
        with self._rest.translated():
            for page in range(1, _MOST_PAGES + 1):
                path, what = f"{self._repository()}/issues/{number}/timeline", f"the events of issue {number}"
                found = self._rest.get(path, what, limit=_PER_PAGE, page=page)
                # A page beyond the last is null, and a server may give fewer than it was asked for.
                if not found:
                    return None if actor is None or is_bot(actor) else str(actor["login"])
                for event in found:
                    # Of a label that was removed the text is empty, and one that was deleted since is null.
                    if event["type"] == "label" and event["body"] and event["label"]:
                        actor = event["user"] if event["label"]["name"].lower() == label.lower() else actor
        # The last ones were not read.
        return None

    def acknowledge(self, number: int) -> None:
        """See `Issues`. "Add a reaction to an issue" """
        with self._rest.translated():
            try:
                path = f"{self._repository()}/issues/{number}/reactions"
                self._rest.call("POST", path, f"a reaction to issue {number} of {self._path}", {"content": "eyes"})
            except Refusal as refusal:
                # The operator of the server chooses which there are. If the token is to blame, the comment says so.
                if refusal.status != 403:
                    raise
