"""Comments on Azure DevOps, on a repository of the demonstration forge."""

from __future__ import annotations

import pytest

from app.demo.forge import discussions
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.discussions import Discussion, Discussions, Remark, marked
from workers.forges.registry import make_discussions


def adapter(forge: DemoForge, repository: Repository, token: str | None = None) -> Discussions:
    url = forge.repo_url("azure_devops", repository.full_name)
    return make_discussions("azure_devops", url, None, token or forge.token, HOST)


def id_of(thread: int, comment: int = 1) -> int:
    """The id of a comment, as deliveries have it."""
    return (thread << 16) + comment


@pytest.fixture
def talk(forge: DemoForge, repository: Repository, github: Forge) -> Discussions:
    github.create_pull_request(branch="feature", base="main", title="T", body="B", draft=False)
    return adapter(forge, repository)


def test_comments_are_read_and_their_authors_judged(repository: Repository, talk: Discussions) -> None:
    written = discussions.comment(repository, 1, "bob@example.org", "Hello.")
    remark = Remark("bob@example.org", "Hello.")
    assert talk.get_comment(1, id_of(written.id)) == Discussion(1, "bob@example.org", False, (remark,))
    service = discussions.comment(repository, 1, "App Build Service", "Hi.")
    assert talk.get_comment(1, id_of(service.id)).is_bot
    assert talk.may_write("bob@example.org") is None, "it does not say"
    deleted = discussions.comment(repository, 1, "bob@example.org", "")
    for number, comment_id in (
        (2, id_of(written.id)),
        (1, id_of(9)),
        (1, id_of(written.id, 2)),
        (1, id_of(deleted.id)),
    ):
        with pytest.raises(EngineError) as failure:
            talk.get_comment(number, comment_id)
        assert failure.value.code == "forge_not_found"
    with pytest.raises(EngineError) as failure:
        talk.get_review(1, 1)
    assert failure.value.code == "forge_not_found"


def test_a_remark_has_its_place_and_thread(repository: Repository, talk: Discussions) -> None:
    place = {"path": "src/feature.py", "start_line": 1, "line": 2}
    first = discussions.review(repository, 1, "ann", "", {"body": "Why print?", **place})
    thread = {**place, "in_reply_to_id": first.id + 1}
    discussions.review(repository, 1, "bob", "", {"body": "Log it.", **thread}, {"body": "Later.", **thread})
    found = talk.get_comment(1, id_of(first.id + 1, 2))
    before = (Remark("ann", "Why print?"),)
    assert found.remarks == (Remark("bob", "Log it.", "src/feature.py", 1, 2, thread=before),)


def test_a_reply_has_what_was_written_before(repository: Repository, talk: Discussions) -> None:
    first = discussions.comment(repository, 1, "ann", "Log it?")
    discussions.review(repository, 1, "bob", "", {"body": "Please do.", "in_reply_to_id": first.id})
    found = talk.get_comment(1, id_of(first.id, 2))
    assert found.remarks == (Remark("bob", "Please do.", thread=(Remark("ann", "Log it?"),)),)


def test_a_comment_is_written_once(forge: DemoForge, repository: Repository, talk: Discussions) -> None:
    for text in ("Working.", "Working.", "Done."):
        talk.write_comment(1, "a", text)
    assert [each.body for each in discussions.entries(repository, 1)] == [marked("Done.", "a")]
    with pytest.raises(EngineError) as failure:
        adapter(forge, repository, forge.read_only_token).write_comment(1, "b", "x")
    assert failure.value.code == "forge_auth"
