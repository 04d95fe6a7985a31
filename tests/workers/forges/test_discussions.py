"""Comments on GitLab, Gitea and Bitbucket Data Center, against the demonstration forge. Those on other forges have tests of their own."""

from __future__ import annotations

import pytest

from app.demo.forge import discussions
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.bitbucket_marks import with_usual_marks
from workers.forges.discussions import Discussion, Discussions, Remark, marked
from workers.forges.registry import DISCUSSIONS, make_discussions

BOTS = {
    "gitlab": "project_1_bot_2f",
    "gitea": "gitea-actions",
    "bitbucket_data_center": "access-token-user-1",
}
IN_ANY_CASE = ("gitlab", "bitbucket_data_center")
"""Where a login is found whatever its case is."""


def adapter(kind: str, forge: DemoForge, repository: Repository, token: str | None = None) -> Discussions:
    return make_discussions(kind, forge.clone_url(repository.full_name), None, token or forge.token, HOST)


@pytest.fixture(autouse=True)
def opened(github: Forge) -> None:
    github.create_pull_request(branch="feature", base="main", title="T", body="B", draft=False)


@pytest.mark.parametrize("kind", list(BOTS))
def test_comments_are_read_written_once_and_their_authors_judged(
    forge: DemoForge, repository: Repository, kind: str
) -> None:
    assert set(DISCUSSIONS) == {"github", "bitbucket", "azure_devops", *BOTS}
    talk = adapter(kind, forge, repository)
    for login, may in (("ann", "admin"), ("bob", "write"), ("bobby", "read"), ("cleo", "read")):
        discussions.permit(repository, login, may)
    logins = ("ann", "Bob" if kind in IN_ANY_CASE else "bob", "bobby", "cleo", "nobody", "../ann", "bo")
    assert [talk.may_write(login) for login in logins] == [True, True, False, False, False, False, False]
    written = discussions.comment(repository, 1, "bob", "Hello.")
    assert talk.get_comment(1, written.id) == Discussion(1, "bob", False, (Remark("bob", "Hello."),))
    assert talk.get_comment(1, discussions.comment(repository, 1, BOTS[kind], "Hi.").id).is_bot
    for number, comment_id in ((2, written.id), (1, 99)):
        with pytest.raises(EngineError) as failure:
            talk.get_comment(number, comment_id)
        assert failure.value.code == "forge_not_found"
    for number in range(60):
        discussions.comment(repository, 1, "ann", f"{number}")
    for text in ("Working.", "Working.", "Done."):
        talk.write_comment(1, "a", text)
    assert [with_usual_marks(each.body) for each in discussions.entries(repository, 1)][62:] == [marked("Done.", "a")]
    with pytest.raises(EngineError) as failure:
        adapter(kind, forge, repository, forge.read_only_token).write_comment(1, "b", "x")
    assert failure.value.code == "forge_auth"
    with pytest.raises(EngineError) as failure:
        talk.get_review(1, 1)
    assert failure.value.code == "forge_not_found"


@pytest.mark.parametrize("kind", ["gitlab", "bitbucket_data_center"])
def test_a_remark_has_its_place_and_thread(forge: DemoForge, repository: Repository, kind: str) -> None:
    place = {"path": "feature.py", "line": 1}
    first = discussions.review(repository, 1, "ann", "", {"body": "Why print?", **place})
    thread = {**place, "in_reply_to_id": first.id + 1}
    reply = discussions.review(repository, 1, "bob", "", {"body": "Log it.", **thread}, {"body": "Later.", **thread})
    found = adapter(kind, forge, repository).get_comment(1, reply.id + 1)
    before = (Remark("ann", "Why print?"),)
    assert found.remarks == (Remark("bob", "Log it.", "feature.py", None, 1, thread=before),)


def test_a_remark_on_bitbucket_may_be_about_several_lines(forge: DemoForge, repository: Repository) -> None:
    place = {"path": "feature.py", "line": 3, "start_line": 1}
    remark = discussions.review(repository, 1, "ann", "", {"body": "Split it.", **place})
    [found] = adapter("bitbucket_data_center", forge, repository).get_comment(1, remark.id + 1).remarks
    assert found == Remark("ann", "Split it.", "feature.py", 1, 3)


def test_a_reply_on_bitbucket_to_a_comment_as_a_whole_has_no_place(forge: DemoForge, repository: Repository) -> None:
    first = discussions.review(repository, 1, "ann", "", {"body": "Why?"})
    reply = discussions.review(repository, 1, "bob", "", {"body": "Because.", "in_reply_to_id": first.id + 1})
    found = adapter("bitbucket_data_center", forge, repository).get_comment(1, reply.id + 1)
    assert found.remarks == (Remark("bob", "Because."),)
