"""Comments on Bitbucket, against the demonstration forge."""

from __future__ import annotations

import pytest

from app.demo.forge import discussions
from app.demo.forge.bitbucket import person
from app.demo.forge.bitbucket_discussions import DELETED_USER
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.discussions import Discussion, Discussions, Remark, marked, request_of
from workers.forges.registry import make_discussions


def adapter(forge: DemoForge, repository: Repository, token: str | None = None) -> Discussions:
    return make_discussions("bitbucket", forge.clone_url(repository.full_name), None, token or forge.token, HOST)


def name_of(nickname: str) -> str:
    return f"{{{person(nickname)['account_id']}}}"


@pytest.fixture(autouse=True)
def opened(github: Forge) -> None:
    github.create_pull_request(branch="feature", base="main", title="T", body="B", draft=False)


def test_a_comment_is_read_with_who_wrote_it(forge: DemoForge, repository: Repository) -> None:
    talk = adapter(forge, repository)
    written = discussions.comment(repository, 1, "bob", "Hello.")
    found = talk.get_comment(1, written.id)
    assert found == Discussion(1, name_of("bob"), False, (Remark("bob", "Hello."),), "bob")
    assert request_of(found, "Bitbucket").startswith("bob reviewed pull request 1 on Bitbucket")
    assert talk.get_comment(1, discussions.comment(repository, 1, "ci-token", "Hi.").id).is_bot
    for number, comment_id in ((2, written.id), (1, 99)):
        with pytest.raises(EngineError) as failure:
            talk.get_comment(number, comment_id)
        assert failure.value.code == "forge_not_found"
    with pytest.raises(EngineError) as failure:
        talk.get_review(1, 1)
    assert failure.value.code == "forge_not_found"


def test_only_the_account_id_says_who_may_write(forge: DemoForge, repository: Repository) -> None:
    for nickname, may in (("ann", "admin"), ("bob", "write"), ("cleo", "read")):
        discussions.permit(repository, nickname, may)
    talk = adapter(forge, repository)
    logins = [*map(name_of, ("ann", "bob", "cleo", "nobody")), "bob", "{bob}", "{}", '{a" OR permission = "admin}']
    assert [talk.may_write(login) for login in logins] == [True, True, *[False] * 6]
    with pytest.raises(EngineError, match="administers the repository") as failure:
        adapter(forge, repository, forge.read_only_token).may_write(name_of("ann"))
    assert failure.value.code == "forge_auth"


def test_people_whose_accounts_were_deleted_are_nobody(forge: DemoForge, repository: Repository) -> None:
    place = {"path": "feature.py", "line": 2}
    first = discussions.review(repository, 1, DELETED_USER, "", {"body": "Why?", **place}).id + 1
    talk = adapter(forge, repository)
    found = talk.get_comment(1, first)
    assert (found.author_name, found.is_bot, talk.may_write(found.author)) == ("Former user", True, False)
    reply = {"body": "Log it.", **place, "in_reply_to_id": first}
    answer = talk.get_comment(1, discussions.review(repository, 1, "ann", "", reply).id + 1)
    assert answer.remarks[0].thread == (Remark("Former user", "Why?"),) and answer.author_name == "ann"


def test_a_remark_has_its_place_and_what_the_thread_said_before(forge: DemoForge, repository: Repository) -> None:
    place = {"path": "feature.py", "line": 2, "start_line": 1}
    first = discussions.review(repository, 1, "ann", "", {"body": "Why print?", **place}).id + 1
    discussions.comment(repository, 1, "cleo", "Elsewhere.")
    reply = {"body": "Log it.", **place, "in_reply_to_id": first}
    second = discussions.review(repository, 1, "ci-token", "", reply).id + 1
    answer = {"body": "Do so.", **place, "in_reply_to_id": second}
    third = discussions.review(repository, 1, "ann", "", answer, {"body": "Later.", **place}).id + 1
    found = adapter(forge, repository).get_comment(1, third)
    before = (Remark("ann", "Why print?"), Remark("Ci-Token", "Log it."))
    assert found.remarks == (Remark("ann", "Do so.", "feature.py", 1, 2, thread=before),)


def test_a_comment_is_written_once_with_a_mark_that_is_hidden(forge: DemoForge, repository: Repository) -> None:
    for number in range(51):
        discussions.comment(repository, 1, "ann", f"{number}")
    talk = adapter(forge, repository)
    for text in ("Working.", "Working.", "Done."):
        talk.write_comment(1, "a", text)
    [written] = discussions.entries(repository, 1)[51:]
    assert written.body == "Done.\n\n\n[//]: # (agent-runners: a)\n"
    found = talk.get_comment(1, written.id)
    assert found.is_own and found.text == marked("Done.", "a")
    with pytest.raises(EngineError) as failure:
        adapter(forge, repository, forge.read_only_token).write_comment(1, "b", "x")
    assert failure.value.code == "forge_auth"
