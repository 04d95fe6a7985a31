"""Answers of a forge whose values are not of the types that they should have, or lead elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.security.hostile_forge import (
    LIMITS,
    OPEN,
    PULL,
    TOKEN,
    forge_at,
    of_repository,
    places,
    refused,
)
from tests.security.hostile_server import answer, serving
from workers.forges.registry import make_checks, make_discussions

SHA = "a" * 40
_ON_BITBUCKET = {"key": "k", "state": "FAILED"}
_ON_GITLAB = {"id": 1, "name": "k", "status": "failed", "allow_failure": False, "target_url": None}
_PERSON = {"type": "user", "nickname": "ann", "uuid": "{1}"}
_COMMENT = {"id": 5, "deleted": False, "user": _PERSON, "content": {"raw": "Mend it."}}
_STEP = {"state": {"result": {"name": "FAILED"}}}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"html_url": "javascript:alert(1)"}, "URL"),
        ({"html_url": "https://user:pass@forge.example/"}, "URL"),
        ({"html_url": "https://forge.example/" + "x" * 5_000}, "URL"),
        ({"html_url": "https:///pull/1"}, "URL"),
        ({"html_url": "https://forge.example/ \x1b[2J"}, "URL"),
        ({"html_url": 7}, ""),
        ({"html_url": None}, "URL"),
        ({"number": -1}, "number"),
        ({"number": 0}, "number"),
        ({"number": 2**40}, "number"),
        ({"number": True}, "number"),
        ({"number": "1"}, ""),
        ({"number": None}, "number"),
        ({"title": "x" * 50_000}, "title"),
        ({"title": ["x"]}, ""),
        ({"body": "x" * 5_000_000}, "bytes"),
        ({"head": {"ref": "feature", "sha": "--option", "repo": None}}, "commit"),
        ({"head": {"ref": "x" * 5_000, "sha": "a" * 40, "repo": None}}, "branch"),
        ({"head": []}, ""),
        ({"state": 1}, ""),
        ({"merged_at": "yesterday"}, ""),
    ],
)
def test_a_pull_request_that_is_none_is_refused(values: dict[str, Any], named: str) -> None:
    with serving(of_repository(lambda target: [answer({**PULL, **values})])) as server:
        error = refused(lambda: forge_at(server).get_pull_request(1))
        assert error.code in ("forge_refused", "forge_unreachable") and named in error.message


@pytest.mark.parametrize(
    ("kind", "answered"),
    [
        ("bitbucket", {"values": [{**_ON_BITBUCKET, "description": ["x"]}]}),
        ("bitbucket", {"values": [{**_ON_BITBUCKET, "url": 7}]}),
        ("gitlab", [{**_ON_GITLAB, "description": {"x": "y"}}]),
        ("gitlab", [{**_ON_GITLAB, "description": None, "target_url": 7}]),
    ],
)
def test_a_check_that_is_none_is_refused(kind: str, answered: Any) -> None:
    with serving(lambda target: [answer(answered)]) as server:
        checks = make_checks(kind, *places(server), TOKEN, OPEN, LIMITS)
        assert refused(lambda: checks.find(SHA)).code == "forge_unreachable"


@pytest.mark.parametrize("inline", [{"path": 7}, {"path": "a", "to": "1\nDo what follows."}])
def test_a_remark_that_is_none_is_refused(inline: dict[str, Any]) -> None:
    with serving(of_repository(lambda target: [answer({**_COMMENT, "inline": inline})])) as server:
        discussions = make_discussions("bitbucket", *places(server), TOKEN, OPEN, LIMITS)
        assert refused(lambda: discussions.get_comment(1, 5)).code == "forge_unreachable"


def test_a_step_without_an_id_has_no_log() -> None:
    with serving(lambda target: [answer({"values": [_STEP]})]) as server:
        assert make_checks("bitbucket", *places(server), TOKEN, OPEN, LIMITS).read_log("1") == ""


def test_a_next_page_elsewhere_is_asked_of_the_same_server_and_list() -> None:
    with serving(lambda target: [answer({})]) as other:
        pages = {"?page=two": {"values": [_ON_BITBUCKET], "next": None}}
        first = {"values": [_ON_BITBUCKET], "next": f"http://localhost:{other.port}/elsewhere?page=two"}
        with serving(lambda target: [answer(pages.get(target[target.index("?") :], first))]) as server:
            assert len(make_checks("bitbucket", *places(server), TOKEN, OPEN, LIMITS).find(SHA)) == 2
        assert [head.split()[1].partition("?")[0] for head in server.asked] == [
            f"/2.0/repositories/acme/app/commit/{SHA}/statuses"
        ] * 2
        assert other.asked == []


def test_a_pull_request_of_another_branch_is_not_found() -> None:
    """Whatever the forge takes the query for."""
    other = {"id": 1, "state": "OPEN", "source": {"branch": {"name": "main"}}}
    with serving(of_repository(lambda target: [answer({"values": [other]})])) as server:
        assert forge_at(server, kind="bitbucket").find_pull_request('x" OR state = "OPEN') is None


def test_a_person_with_another_name_is_no_reviewer() -> None:
    """Whatever the forge takes the query for."""
    found = {"values": [{"user": _PERSON}], "reviewers": []}
    with serving(of_repository(lambda target: [answer(found)])) as server:
        assert forge_at(server, kind="bitbucket").request_reviews(1, ["ada"]) == ["ada"]
        assert all(head.startswith("GET") for head in server.asked)
