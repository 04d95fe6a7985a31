"""What may become of a pull request: the rules of GitHub."""

from __future__ import annotations

import threading
from typing import Any

from app.demo.forge.messages import Refused, against_the_rules, invalid, not_found
from app.demo.forge.repositories import Repository
from app.demo.forge.store import Pull, Store, now

_TITLE_CHARACTERS = 256
_BODY_CHARACTERS = 65_536


class Pulls:
    """The verbs. They are done one at a time, so that of two at once the second meets what the first has done."""

    def __init__(self, store: Store, *, drafts: bool = True) -> None:
        self._store = store
        self._drafts = drafts
        self._lock = threading.RLock()

    def all(self, repository: Repository) -> list[Pull]:
        """The newest first, after whatever pushes have done to the open ones."""
        with self._lock:
            branches = repository.branches()
            for pull in self._store.pulls(repository.full_name):
                if pull.is_open:
                    self._settle(repository, pull, branches)
            return self._store.pulls(repository.full_name)

    def get(self, repository: Repository, number: int) -> Pull:
        found = [pull for pull in self.all(repository) if pull.number == number]
        if not found:
            raise not_found()
        return found[0]

    def create(self, repository: Repository, values: dict[str, Any], author: str) -> Pull:
        """https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request"""
        title, body = _text(values, "title"), _text(values, "body")
        draft = values.get("draft", False)
        if not title or not title.strip():
            missing = {"resource": "PullRequest", "field": "title", "code": "missing_field"}
            raise Refused(422, "Validation Failed", missing)
        _check_lengths(title, body)
        if draft and not self._drafts:
            raise Refused(422, "Draft pull requests are not supported in this repository.")
        # The head may be told as `owner:branch`; forks, of which another owner would speak, there are none here.
        owner, _, head = (_text(values, "head") or "").rpartition(":")
        base = _text(values, "base") or ""
        if owner not in ("", repository.owner):
            raise invalid("head")
        with self._lock:
            # What was open before must be settled first: it may have ended by a push.
            pulls = self.all(repository)
            shas = self._comparable(repository, head, base)
            if any(pull.is_open and (pull.head, pull.base) == (head, base) for pull in pulls):
                raise against_the_rules(f"A pull request already exists for {repository.owner}:{head}.")
            told = {"title": title, "body": body, "author": author, "draft": bool(draft)}
            names = {"head": head, "base": base, "head_sha": shas[0], "base_sha": shas[1]}
            pull = self._store.add(repository.full_name, **told, **names)
            repository.move(f"refs/pull/{pull.number}/head", pull.head_sha)
            return pull

    def update(self, repository: Repository, number: int, values: dict[str, Any]) -> Pull:
        """https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request"""
        title, body, state = (_text(values, name) for name in ("title", "body", "state"))
        _check_lengths(title or "", body)
        if state not in (None, "open", "closed"):
            raise invalid("state")
        if "base" in values:
            raise against_the_rules("Changing the base is not supported by the demonstration forge.", field="base")
        with self._lock:
            pull = self.get(repository, number)
            changes: dict[str, Any] = {"title": title} if title else {}
            if "body" in values:
                changes["body"] = body
            if state == "closed" and pull.is_open:
                changes |= {"state": "closed", "closed_at": now()}
            if state == "open" and not pull.is_open:
                changes |= self._reopened(repository, pull)
            return self._store.change(pull, **changes)

    def make_ready(self, repository: Repository, number: int) -> Pull:
        """Turn a draft into an ordinary pull request, which GitHub does by its page only."""
        with self._lock:
            return self._store.change(self.get(repository, number), draft=False)

    def merge(self, repository: Repository, number: int, values: dict[str, Any]) -> Pull:
        """https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request"""
        method = values.get("merge_method", "merge")
        with self._lock:
            pull = self.get(repository, number)
            if not pull.is_open:
                raise Refused(405, "Pull Request is not mergeable")
            if pull.draft:
                raise Refused(405, "Pull Request is still a work in progress")
            if method != "merge":
                raise Refused(405, f"{str(method).capitalize()} merges are not allowed on this repository.")
            if values.get("sha") not in (None, pull.head_sha):
                raise Refused(409, "Head branch was modified. Review and try the merge again.")
            tree = repository.merged_tree(pull.base_sha, pull.head_sha)
            if tree is None:
                raise Refused(405, "Pull Request is not mergeable")
            subject = values.get("commit_title") or f"Merge pull request #{number} from {repository.owner}/{pull.head}"
            message = f"{subject}\n\n{values.get('commit_message') or pull.title}\n"
            merged = repository.commit_tree(tree, (pull.base_sha, pull.head_sha), message)
            if not repository.move(f"refs/heads/{pull.base}", merged, pull.base_sha):
                raise Refused(409, "Base branch was modified. Review and try the merge again.")
            return self._merged(pull, merged)

    def _comparable(self, repository: Repository, head: str, base: str) -> tuple[str, str]:
        """The shas of two branches between which there is something to merge."""
        branches = repository.branches()
        for field, branch in (("head", head), ("base", base)):
            if branch not in branches:
                raise invalid(field)
        shas = branches[head], branches[base]
        if not repository.is_related(*shas):
            raise against_the_rules(f"The {head} branch has no history in common with {base}")
        if not repository.commits(shas[1], shas[0]):
            raise against_the_rules(f"No commits between {base} and {head}")
        return shas

    def _reopened(self, repository: Repository, pull: Pull) -> dict[str, Any]:
        if pull.merged_at:
            raise against_the_rules("state cannot be changed. The pull request was merged.", field="state")
        if any(o.is_open and (o.head, o.base) == (pull.head, pull.base) for o in self.all(repository)):
            raise against_the_rules(f"A pull request already exists for {repository.owner}:{pull.head}.", field="state")
        if not {pull.head, pull.base} <= repository.branches().keys():
            raise against_the_rules("state cannot be changed. The branch has been deleted.", field="state")
        head_sha, base_sha = self._comparable(repository, pull.head, pull.base)
        return {"state": "open", "closed_at": None, "head_sha": head_sha, "base_sha": base_sha}

    def _settle(self, repository: Repository, pull: Pull, branches: dict[str, str]) -> None:
        """Do to an open one what a push of its branches has done: move, end, or merge it."""
        head, base = branches.get(pull.head), branches.get(pull.base)
        if (head, base) == (pull.head_sha, pull.base_sha):
            return
        if base is not None and repository.is_ancestor(pull.head_sha, base):
            self._merged(pull, base)
        elif head is None or base is None or repository.is_ancestor(head, base):
            self._store.change(pull, state="closed", closed_at=now())
        else:
            self._store.change(pull, head_sha=head, base_sha=base)
            repository.move(f"refs/pull/{pull.number}/head", head)

    def _merged(self, pull: Pull, sha: str) -> Pull:
        moment = now()
        return self._store.change(pull, state="closed", closed_at=moment, merged_at=moment, merge_commit_sha=sha)


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(422, f"Invalid request.\n\nFor 'properties/{name}', {value!r} is not a string.")
    return value


def _check_lengths(title: str, body: str | None) -> None:
    for field, text, most in (("title", title, _TITLE_CHARACTERS), ("body", body or "", _BODY_CHARACTERS)):
        if len(text) > most:
            raise against_the_rules(f"{field} is too long (maximum is {most} characters)", "Issue", field=field)
