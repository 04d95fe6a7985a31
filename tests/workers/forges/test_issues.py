"""Issues on GitLab and Gitea, against the demonstration forge. Those on GitHub are in `test_github_issues.py`."""

from __future__ import annotations

import pytest

from app.demo.forge import discussions
from app.demo.forge import issues as opened
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from tests.workers.forges.test_discussions import BOTS
from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.discussions import Discussion, Remark, marked
from workers.forges.issues import Issue, Issues
from workers.forges.registry import ISSUES, make_issues

kinds = pytest.mark.parametrize("kind", [kind for kind in ISSUES if kind != "github"])


def adapter(kind: str, forge: DemoForge, repository: Repository, token: str | None = None) -> Issues:
    return make_issues(kind, forge.clone_url(repository.full_name), None, token or forge.token, HOST)


@kinds
def test_an_issue_is_read_acknowledged_and_it_is_known_who_labelled_it(
    forge: DemoForge, repository: Repository, github: Forge, kind: str
) -> None:
    opened.create(repository, "eve", "It breaks", None)
    opened.label(repository, 1, "ann", "agent")
    opened.label(repository, 1, "bob", "Agent")
    opened.label(repository, 1, "eve", "bug")
    opened.create(repository, BOTS[kind], "Update", "All of it")
    opened.label(repository, 2, BOTS[kind], "agent")
    github.create_pull_request(branch="feature", base="main", title="T", body="B", draft=False)
    there = adapter(kind, forge, repository)
    assert there.get_issue(1) == Issue(1, "It breaks", "", "eve", False, True, ("agent", "Agent", "bug"))
    assert there.get_issue(2).is_by_bot and there.get_issue(2).text == "All of it"
    assert there.find_who_labelled(1, "agent") == "bob"
    assert there.find_who_labelled(1, "other") is there.find_who_labelled(2, "agent") is None
    for _ in range(2):
        there.acknowledge(1)
    assert opened.get(repository, 1).reactions == ["eyes"]
    for number in (3, 4):
        with pytest.raises(EngineError) as failure:
            there.get_issue(number)
        assert failure.value.code == "forge_not_found"
    opened.edit(repository, 1, state="closed")
    assert not there.get_issue(1).is_open


@kinds
def test_comments_on_an_issue_are_read_and_written_once(forge: DemoForge, repository: Repository, kind: str) -> None:
    opened.create(repository, "eve", "It breaks", None)
    discussions.permit(repository, "bob", "write")
    there = adapter(kind, forge, repository)
    written = discussions.comment(repository, 1, "bob", "Hello.")
    assert there.get_comment(1, written.id) == Discussion(1, "bob", False, (Remark("bob", "Hello."),))
    assert there.may_write("bob") and not there.may_write("eve")
    for text in ("Working.", "Working.", "Done."):
        there.write_comment(1, "a", text)
    assert [each.body for each in discussions.entries(repository, 1)][1:] == [marked("Done.", "a")]
    with pytest.raises(EngineError) as failure:
        there.get_comment(2, written.id)
    assert failure.value.code == "forge_not_found"
    with pytest.raises(EngineError) as failure:
        adapter(kind, forge, repository, forge.read_only_token).write_comment(1, "b", "x")
    assert failure.value.code == "forge_auth"


@kinds
def test_whoever_labelled_a_very_busy_issue_is_not_guessed(forge: DemoForge, repository: Repository, kind: str) -> None:
    opened.create(repository, "eve", "It breaks", None)
    event = {"actor": "ann", "label": "agent", "created_at": "2026-01-01T00:00:00Z"}
    deleted = {**event, "actor": "bob", "label": ""}
    opened.edit(repository, 1, events=[event, *[deleted] * 100])
    assert adapter(kind, forge, repository).find_who_labelled(1, "agent") == "ann"
    opened.edit(repository, 1, events=[event] * 500)
    assert adapter(kind, forge, repository).find_who_labelled(1, "agent") is None


def test_a_label_that_was_removed_on_gitea_was_not_added(forge: DemoForge, repository: Repository) -> None:
    opened.create(repository, "eve", "It breaks", None)
    event = {"actor": "ann", "label": "agent", "created_at": "2026-01-01T00:00:00Z"}
    opened.edit(repository, 1, events=[event, {**event, "actor": "bob", "body": ""}])
    assert adapter("gitea", forge, repository).find_who_labelled(1, "agent") == "ann"


def test_a_confidential_issue_on_gitlab_is_not_read(forge: DemoForge, repository: Repository) -> None:
    opened.create(repository, "eve", "A hole", None)
    opened.edit(repository, 1, is_confidential=True)
    with pytest.raises(EngineError, match="confidential"):
        adapter("gitlab", forge, repository).get_issue(1)


def test_gitea_without_that_reaction_is_no_failure(forge: DemoForge, repository: Repository) -> None:
    opened.create(repository, "eve", "It breaks", None)
    # The server answers what it does to a token that may not write; the comment that follows shows that.
    adapter("gitea", forge, repository, forge.read_only_token).acknowledge(1)
