"""What is special about Bitbucket Data Center, against the demonstration forge."""

from __future__ import annotations

import base64
import re
import threading
from typing import Any

import pytest

from app.demo.forge import checks as reported
from app.demo.forge import discussions
from tests.demo.forge import DemoForge, Repository, with_feature
from tests.deployment import wait_for
from tests.workers.forges.conftest import HOST
from tests.workers.forges.contract import recorded
from tests.workers.forges.test_forges import opened, refused
from workers.forges.base import STATUS_NAME, CommitStatus, Forge
from workers.forges.bitbucket_data_center_server import places
from workers.forges.bitbucket_marks import with_marks_of_bitbucket, with_usual_marks
from workers.forges.checks import Check, Outcome
from workers.forges.registry import make_checks, make_discussions, make_forge
from workers.publishing.description import new_description, updated_description

KIND = "bitbucket_data_center"


def place(forge: DemoForge, repository: Repository, token: str | None = None) -> tuple[Any, ...]:
    return KIND, forge.repo_url(KIND, repository.full_name), None, token or forge.token, HOST


def adapter(forge: DemoForge, repository: Repository, token: str | None = None) -> Forge:
    return make_forge(*place(forge, repository, token))


@pytest.mark.parametrize(
    ("repo_url", "api_url", "root", "name"),
    [
        ("https://h/scm/PROJ/app.git", None, "https://h", "PROJ/app"),
        ("https://h:8443/bit/bucket/scm/PROJ/app.git", None, "https://h:8443/bit/bucket", "PROJ/app"),
        ("https://h/scm/~ada/app", None, "https://h", "~ada/app"),
        ("https://h/scm/scm/app.git", None, "https://h", "scm/app"),
        ("ssh://git@h:7999/PROJ/app.git", None, "https://h", "PROJ/app"),
        ("ssh://git@h:7999/~ada/app.git", "https://h/bitbucket", "https://h/bitbucket", "~ada/app"),
        ("https://h/scm/PROJ/app.git", "https://api.h/bitbucket/rest/", "https://api.h/bitbucket", "PROJ/app"),
        ("https://h/scm/PROJ/app.git", "https://h/rest/api/1.0", "https://h", "PROJ/app"),
        ("https://h/scm/PROJ/app.git", "https://h/rest/api/latest/", "https://h", "PROJ/app"),
    ],
)
def test_the_server_and_the_repository_come_from_the_urls(
    repo_url: str, api_url: str | None, root: str, name: str
) -> None:
    assert places(repo_url, api_url) == (root, *name.split("/"))


@pytest.mark.parametrize("repo_url", ["https://h/PROJ", "https://h/scm/a/b/c.git", "https://h/a/b/c"])
def test_a_url_without_a_project_and_a_repository_is_refused(repo_url: str) -> None:
    assert "/scm/PROJECT/" in refused("forge_refused", lambda: make_forge(KIND, repo_url, None, "t", HOST)).message


def test_reviewers_are_added_and_those_that_are_refused_named(forge: DemoForge, repository: Repository) -> None:
    adapted = adapter(forge, repository)
    opened(adapted)
    assert adapted.request_reviews(1, ["ada"]) == []
    assert adapted.request_reviews(1, ["nobody", "grace", "Ada", "demo", "acme/backend"]) == [
        "nobody",
        "demo",
        "acme/backend",
    ]
    assert adapted.add_labels(1, ["bug"]) == ["bug"] and adapted.assign(1, ["ada"]) == ["ada"]
    changed = adapted.update_pull_request(1, title="Another")
    assert (changed.title, changed.body) == ("Another", "What it does")
    [pull] = forge.pulls(repository.full_name)
    assert [each["login"] for each in pull["requested_reviewers"]] == ["ada", "grace"]
    reader = adapter(forge, repository, forge.read_only_token)
    refused("forge_auth", lambda: reader.request_reviews(1, ["grace", "linus"]))


def test_a_change_that_crosses_another_one_is_tried_again_and_keeps_it(faulty: DemoForge) -> None:
    repository = with_feature(faulty)
    adapted = adapter(faulty, repository)
    opened(adapted)
    faulty.set_faults(holds=["before PUT /rest"])
    changed: list[str] = []
    changing = threading.Thread(target=lambda: changed.append(adapted.update_pull_request(1, title="Newer").title))
    changing.start()
    wait_for("the change", faulty.held)
    faulty.http.patch(f"/repos/{repository.full_name}/pulls/1", json={"body": "Theirs"}).raise_for_status()
    faulty.set_faults(holds=[])
    changing.join()
    assert changed == ["Newer"] and adapted.get_pull_request(1).body == "Theirs"


def test_one_that_has_ended_is_not_changed(forge: DemoForge, repository: Repository) -> None:
    adapted = adapter(forge, repository)
    opened(adapted)
    forge.close(repository.full_name, 1)
    message = refused("forge_refused", lambda: adapted.update_pull_request(1, title="New")).message
    assert message.endswith(": This pull request has already been declined.")


@pytest.mark.xdist_group("without-drafts")
def test_an_older_server_refuses_drafts(without_drafts: DemoForge) -> None:
    adapted = adapter(without_drafts, with_feature(without_drafts))
    assert "8.17.2 has no draft" in refused("forge_refused", lambda: opened(adapted, draft=True)).message
    assert opened(adapted).state == "open"
    assert adapted.update_pull_request(1, title="New", draft=False).title == "New"
    refused("forge_refused", lambda: adapted.update_pull_request(1, draft=True))


def test_a_token_with_a_user_name_is_sent_as_both(forge: DemoForge, repository: Repository) -> None:
    assert adapter(forge, repository, f"demo:{forge.token}").find_pull_request("feature") is None
    wrong = f"demo:{forge.token}x"
    message = refused("forge_auth", lambda: adapter(forge, repository, wrong).find_pull_request("feature")).message
    assert forge.token not in message and base64.b64encode(wrong.encode()).decode() not in message


def test_the_marks_of_a_description_are_not_shown_there(forge: DemoForge, repository: Repository) -> None:
    adapted, sessions = adapter(forge, repository), new_description("What was done.", 1_000)
    assert opened(adapted, body=f"Before.\n\n{sessions}\nAfter.").body == f"Before.\n\n{sessions}\nAfter."
    [pull] = forge.pulls(repository.full_name)
    assert (
        "<!--" not in pull["body"] and "\n[//]: # (agent-runners: sessions)\n\nWhat was done.\n\n[//]" in pull["body"]
    )
    body = updated_description(adapted.get_pull_request(1).body, "More.", 1_000)
    assert body is not None and adapted.update_pull_request(1, body=body).body == body
    longest = new_description("x" * 40_000, adapted.body_characters)
    assert adapted.update_pull_request(1, body=longest).body == longest
    stripped = with_marks_of_bitbucket(sessions).strip().replace("\n", "\r\n")
    assert with_usual_marks(stripped).replace("\r\n", "\n") == sessions, (
        "whatever the server does with the ends of lines"
    )


def test_builds_of_a_commit_or_a_branch_and_of_this_repository_alone(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    fork = with_feature(forge)
    fork.git("fetch", "--quiet", str(repository.folder), "refs/heads/feature:refs/heads/theirs")
    reported.report(fork, sha, "of the fork", "FAILED", is_status=True)
    found = make_checks(*place(forge, repository))
    assert found.find("feature") == []
    url = "https://ci.example.com/7"
    for state in ("INPROGRESS", "FAILED", "CANCELLED", "UNKNOWN", "SUCCESSFUL"):
        reported.report(repository, sha, state, state, is_status=True, summary="Broken", url=url)
    outcomes = (Outcome.RUNNING, Outcome.FAILED, Outcome.PASSED, Outcome.STALLED, Outcome.PASSED)
    assert [each.outcome for each in found.find("feature")] == list(outcomes)
    assert found.find(sha)[1] == Check("FAILED", Outcome.FAILED, "Broken", url)
    for number in range(60):
        reported.report(repository, sha, f"c{number}", "success")
    assert len(found.find(sha)) == 65 and found.find("main") == [] and found.read_log("1") == ""
    refused("forge_not_found", lambda: found.find("nowhere"))


def test_a_status_is_a_build(forge: DemoForge, repository: Repository) -> None:
    sha, adapted = repository.branches()["feature"], adapter(forge, repository)
    adapted.set_status(sha, CommitStatus("https://runners.example.org/1", "x" * 300))
    [shown] = make_checks(*place(forge, repository)).find(sha)
    assert shown == Check(STATUS_NAME, Outcome.PASSED, "x" * 255, "https://runners.example.org/1")
    refused("forge_refused", lambda: adapted.set_status(sha, CommitStatus("https://h/" + "x" * 450, "x")))


# The operations, parameters and fields of https://developer.atlassian.com/server/bitbucket/rest/v904/ that are used.
# The server ignores what it does not know, so a misspelt name would do nothing and be refused by nobody.
PAGED = {"start", "limit"}
REPOSITORY = "/api/latest/projects/acme/repos/[^/]+"
DOCUMENTED: dict[str, tuple[set[str], set[str]]] = {
    "GET /api/latest/application-properties": (set(), set()),
    f"GET {REPOSITORY}": (set(), set()),
    f"GET {REPOSITORY}/pull-requests": ({"at", "direction", "order", "state", *PAGED}, set()),
    f"POST {REPOSITORY}/pull-requests": (set(), {"title", "description", "draft", "fromRef", "toRef"}),
    f"GET {REPOSITORY}/pull-requests/1": (set(), set()),
    f"PUT {REPOSITORY}/pull-requests/1": (set(), {"id", "version", "title", "description", "draft", "reviewers"}),
    f"GET {REPOSITORY}/pull-requests/1/activities": (PAGED, set()),
    f"GET {REPOSITORY}/pull-requests/1/comments/\\d+": (set(), set()),
    f"POST {REPOSITORY}/pull-requests/1/comments": (set(), {"text"}),
    f"PUT {REPOSITORY}/pull-requests/1/comments/\\d+": (set(), {"text", "version"}),
    f"GET {REPOSITORY}/commits": ({"until", "limit"}, set()),
    f"POST {REPOSITORY}/commits/[0-9a-f]{{40}}/builds": (set(), {"key", "name", "state", "url", "description"}),
    "GET /build-status/latest/commits/[0-9a-f]{40}": ({"orderBy", *PAGED}, set()),
    "GET /api/latest/users": (
        {"filter", "permission.1", "permission.1.projectKey", "permission.1.repositorySlug", *PAGED},
        set(),
    ),
}


def test_only_documented_operations_parameters_and_fields_are_used(forge: DemoForge, repository: Repository) -> None:
    with recorded(forge.url) as between:
        there = (KIND, forge.repo_url(KIND, repository.full_name), f"{between.url}/rest", forge.token, HOST)
        adapted, talk, found = make_forge(*there), make_discussions(*there), make_checks(*there)
        opened(adapted, draft=True)
        adapted.find_pull_request("feature")
        adapted.update_pull_request(1, title="New", body="", draft=False)
        adapted.request_reviews(1, ["ada"])
        adapted.set_status(repository.branches()["feature"], CommitStatus("https://runners.example.org", "Made"))
        found.find("feature")
        talk.get_comment(1, discussions.comment(repository, 1, "ann", "Why?").id)
        talk.may_write("ann")
        for text in ("Working.", "Done."):
            talk.write_comment(1, "key", text)
    used = set()
    for each in between.exchanges:
        called = f"{each.method} {each.path.removeprefix('/rest')}"
        [operation] = [pattern for pattern in DOCUMENTED if re.fullmatch(pattern, called)]
        parameters, fields = DOCUMENTED[operation]
        assert set(each.query) <= parameters and set(each.sent or ()) <= fields, called
        used.add(operation)
    assert used == set(DOCUMENTED)
