"""Asking for pull requests and commits: what is recorded, and when it is refused."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from app import db
from app.models import Publication
from app.services.publishing import publication_attempts
from tests.api.calling import empty, ok, patch_of, path_of, refused

pytestmark = pytest.mark.same_on_both_databases


def settle(engine, error=None):
    """Play the control worker that takes up the newest publication and makes it, or fails with an error."""
    publication_id = recorded(engine)[-1]["id"]
    with db.transaction():
        attempt = publication_attempts.claim(publication_id).publication.attempt
    with db.transaction():
        if error:
            publication_attempts.fail(publication_id, attempt, error)
        else:
            publication_attempts.succeed(publication_id, attempt, "d" * 40, None)


def recorded(engine):
    with engine.connect() as connection:
        return connection.execute(sa.select(Publication.__table__).order_by(Publication.id)).mappings().all()


def test_a_pull_request_is_requested_and_recorded(api, make_done_runner, engine):
    runner = make_done_runner(title="Fix the Größe — now!")
    changed = ok(api.post(path_of(runner, "/pull_request"), {"title": "T", "body": "B", "draft": True}))
    assert changed["pr_is_being_created"] is True and changed["pr_error"] is None
    assert re.fullmatch(r"agent/fix-the-groe-now-[0-9a-f]{8}", changed["result_branch"])
    (row,) = recorded(engine)
    assert (row["labels"], row["reviewers"], row["assignees"]) == ([], [], [])
    assert (row["title"], row["body"], row["draft"], row["branch"]) == ("T", "B", True, changed["result_branch"])
    assert str(row["session_id"]) == runner["head_session_id"]
    refused(api.post(path_of(runner, "/pull_request"), {}), 409, "pull_request_in_progress")


def test_a_pull_request_needs_no_fields(api, make_site, make_done_runner):
    site = make_site()
    for arguments in ({}, {"json": {}}, {"json": {"title": None, "body": None, "draft": None}}):
        asked = api("POST", path_of(make_done_runner(site=site), "/pull_request"), **arguments)
        assert ok(asked)["pr_is_being_created"], arguments


def test_a_follow_up_goes_to_the_same_branch(api, make_done_runner, engine, follow_up):
    runner = make_done_runner()
    first = ok(api.post(path_of(runner, "/pull_request"), {"branch": "agent/mine"}))
    assert first["result_branch"] == "agent/mine"
    settle(engine)
    follow_up(runner, "diff --git a/b b/b\n")
    error = refused(api.post(path_of(runner, "/pull_request"), {"branch": "agent/other"}), 422, "other_branch")
    assert "agent/mine" in error["message"] and "branch" in error["errors"]
    assert ok(api.post(path_of(runner, "/pull_request"), {"branch": "agent/mine"}))["result_branch"] == "agent/mine"
    assert [row["branch"] for row in recorded(engine)] == ["agent/mine"] * 2
    assert [row["id"] for row in ok(api.get("/agent_runners?result_branch=agent/mine"))] == [runner["id"]]


def test_a_commit_is_requested_and_recorded(api, make_done_runner, engine):
    runner = make_done_runner()
    changed = ok(api.post(path_of(runner, "/commit"), {"target_branch": "staging", "message": "M", "squash": True}))
    assert changed["merge_commit_is_being_created"] is True and changed["result_branch"] is None
    (row,) = recorded(engine)
    assert (row["branch"], row["body"], row["squash"]) == ("staging", "M", True)
    refused(api.post(path_of(runner, "/commit"), {"target_branch": "staging"}), 409, "commit_in_progress")
    ok(api.post(path_of(runner, "/pull_request"), {}))


def test_without_a_diff_there_is_nothing_to_publish(api, make_done_runner, make_runner):
    for runner in (make_done_runner(None), make_runner()):
        refused(api.post(path_of(runner, "/pull_request"), {}), 422, "no_diff")
        refused(api.post(path_of(runner, "/commit"), {"target_branch": "staging"}), 422, "no_diff")


def test_a_runner_whose_only_session_was_stopped_has_nothing_to_publish(api, make_runner):
    runner = make_runner()
    empty(api.delete(path_of(runner)), 202)
    shown = ok(api.get(path_of(runner)))
    assert (shown["state"], shown["latest_session_state"]) == ("DONE", "CANCELLED")
    assert (shown["has_result_diff"], shown["head_session_id"], shown["usage"]["tool_calls"]) == (False, None, None)
    refused(api.post(path_of(runner, "/pull_request"), {}), 422, "no_diff")
    refused(api.post(path_of(runner, "/commit"), {"target_branch": "staging"}), 422, "no_diff")
    assert [row["latest_session_state"] for row in ok(api.get("/agent_runners?state=DONE"))] == ["CANCELLED"]


def test_protected_branches_are_not_pushed_to(api, make_done_runner, make_site):
    runner = make_done_runner(site=make_site(protected_branches=["main", "release/*"]))
    for branch in ("main", "release/2", "refs/heads/main", "heads/release/2"):
        refused(api.post(path_of(runner, "/commit"), {"target_branch": branch}), 400, "protected_branch")
        refused(api.post(path_of(runner, "/pull_request"), {"branch": branch}), 400, "protected_branch")
    ok(api.post(path_of(runner, "/commit"), {"target_branch": "other"}))


def test_the_default_branch_is_protected_unless_the_site_says_otherwise(api, make_done_runner, make_site):
    refused(api.post(path_of(make_done_runner(), "/commit"), {"target_branch": "main"}), 400, "protected_branch")
    free = make_done_runner(site=make_site(protected_branches=[]))
    ok(api.post(path_of(free, "/commit"), {"target_branch": "main"}))


def test_a_target_branch_is_stored_without_its_prefix(api, make_done_runner, engine):
    runner = make_done_runner()
    ok(api.post(path_of(runner, "/commit"), {"target_branch": "refs/heads/staging"}))
    assert ok(api.post(path_of(runner, "/pull_request"), {"branch": "heads/topic"}))["result_branch"] == "topic"
    assert {row["branch"] for row in recorded(engine)} == {"staging", "topic"}


def test_nothing_is_published_while_the_protected_branches_are_unknown(api, make_done_runner, make_site):
    runner = make_done_runner(site=make_site(default_branch=None))
    for path, body in (("/commit", {"target_branch": "main"}), ("/pull_request", {})):
        refused(api.post(path_of(runner, path), body), 422, "default_branch_unknown")


def test_a_forge_without_pull_requests_takes_commits_only(api, make_done_runner, make_site):
    runner = make_done_runner(site=make_site(forge="none"))
    refused(api.post(path_of(runner, "/pull_request"), {}), 422, "forge_without_pull_requests")
    ok(api.post(path_of(runner, "/commit"), {"target_branch": "staging"}))


INVALID = [
    ("/commit", {}),
    ("/commit", {"target_branch": ""}),
    ("/commit", {"target_branch": 5}),
    ("/commit", {"target_branch": "x", "squash": "yes"}),
    ("/commit", {"target_branch": "x", "squash": 1}),
    ("/commit", {"target_branch": "x", "author": "me"}),
    ("/commit", {"target_branch": "x", "message": " \n"}),
    ("/pull_request", {"title": ""}),
    ("/pull_request", {"title": "\t "}),
    ("/pull_request", {"draft": "true"}),
    ("/pull_request", {"body": "\0"}),
]


def test_invalid_requests_are_refused(api, make_done_runner):
    runner = make_done_runner()
    for path, body in INVALID:
        refused(api.post(path_of(runner, path), body), 422, "invalid")


def test_an_error_of_publishing_is_shown_and_may_be_tried_again(api, make_done_runner, engine):
    runner = make_done_runner()
    ok(api.post(path_of(runner, "/pull_request"), {}))
    settle(engine, error="the forge said no")
    shown = ok(api.get(path_of(runner)))
    assert (shown["pr_is_being_created"], shown["pr_error"]) == (False, "the forge said no")
    assert ok(api.post(path_of(runner, "/pull_request"), {}))["pr_error"] is None


def test_stopping_is_not_for_publications(api, make_done_runner):
    runner = make_done_runner()
    ok(api.post(path_of(runner, "/commit"), {"target_branch": "staging"}))
    refused(api.delete(path_of(runner)), 409, "no_active_session")
    empty(api.delete(f"/sites/{runner['site_id']}"), 204)


CI = patch_of("on: push", ".github/workflows/ci.yml")


def test_sensitive_files_of_a_diff_are_listed(api, make_done_runner):
    name = ".github/workflows/\\351.yml"
    header = f'diff --git "a/{name}" "b/{name}"\nnew file mode 100644\n--- /dev/null\n+++ "b/{name}"\n'
    quoted = f"{header}@@ -0,0 +1 @@\n+on: push\n"
    runner = make_done_runner(patch_of("one") + CI + quoted + patch_of("* @eve", "docs/CODEOWNERS"))
    files = ok(api.get(path_of(runner, "/diff/files")))
    kinds = ["CI workflows", "CI workflows", "CODEOWNERS"]
    assert [file["sensitive"] for file in files] == [None, *kinds]
    listed = api.get(path_of(runner, "/diff/files?sensitive=true&per_page=2&page=2"))
    assert ok(listed) == files[3:] and listed.headers["Total"] == "3"


@pytest.mark.parametrize(("verb", "fields"), [("pull_request", {}), ("commit", {"target_branch": "staging"})])
def test_a_site_may_refuse_sensitive_files(api, make_done_runner, engine, verb, fields):
    sensitive, harmless = make_done_runner(CI), make_done_runner()
    for runner in (sensitive, harmless):
        ok(api.patch(f"/sites/{runner['site_id']}", {"sensitive_files": "refuse"}))
    error = refused(api.post(path_of(sensitive, f"/{verb}"), fields), 422, "sensitive_files")
    assert ".github/workflows/ci.yml" in error["message"] and recorded(engine) == []
    ok(api.post(path_of(harmless, f"/{verb}"), fields))
    ok(api.patch(f"/sites/{sensitive['site_id']}", {"sensitive_files": "warn"}))
    ok(api.post(path_of(sensitive, f"/{verb}"), fields))


def test_a_repeated_request_is_answered_as_at_first_whatever_the_site_refuses_by_now(api, make_done_runner):
    runner, key = make_done_runner(CI), {"Idempotency-Key": "once"}
    first = api.post(path_of(runner, "/pull_request"), {}, headers=key)
    ok(api.patch(f"/sites/{runner['site_id']}", {"sensitive_files": "refuse"}))
    assert api.post(path_of(runner, "/pull_request"), {}, headers=key).json == ok(first)


def test_a_site_names_the_branches_of_its_pull_requests(api, make_done_runner):
    runner = make_done_runner(title="Fix the Größe — now!")
    ok(api.patch(f"/sites/{runner['site_id']}", {"pr_branch_pattern": "agents/{{ user }}/{{slug}}-{{ id }}"}))
    named = ok(api.post(path_of(runner, "/pull_request")))["result_branch"]
    assert re.fullmatch(r"agents/ada/fix-the-groe-now-[0-9a-f]{8}", named)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"pr_branch_pattern": "agent/{{ slug }}"}, "unknown_place"),
        ({"pr_branch_pattern": "agent/{{ id }}-{{ sha }}"}, "unknown_place"),
        ({"pr_branch_pattern": "agent/{{ id }}.lock"}, "bad_branch"),
        ({"pr_title_template": "{{ sessions }}"}, "unknown_place"),
        ({"pr_body_template": "{{ prompt }}"}, "unknown_place"),
    ],
)
def test_templates_that_do_not_fit_are_refused_when_they_are_set(api, make_site, fields, code):
    error = refused(api.patch(f"/sites/{make_site()['id']}", fields), 422, code)
    assert list(error["errors"]) == list(fields)
