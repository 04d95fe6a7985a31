"""What the API keeps of secrets, and which diffs it does not publish."""

from __future__ import annotations

import base64

import pytest
import sqlalchemy as sa

from app.models import Publication
from app.models.states import PublicationKind, Scope, SessionState
from tests.api.calling import created, empty, ok, patch_of, path_of, refused, session_path

pytestmark = pytest.mark.same_on_both_databases

TOKEN = "the-token/of-the-forge+1"
SHAPE = "ghp" + "_" + "a1B2" * 9


@pytest.fixture
def site(make_site):
    return make_site(access_token=TOKEN)


@pytest.fixture
def outside_runner(make_site, make_runner):
    return make_runner(site=make_site(access_token=TOKEN, execution="external"))


@pytest.fixture
def claimed(ada, outside_runner):
    """A caller with the session token of an outside worker."""
    caller = ada.holding(Scope.WORKER)
    return caller.with_token(ok(caller.patch(session_path(outside_runner), {"state": "RUNNING"}))["session_token"])


def publications(api, runner):
    return [
        api.post(path_of(runner, "/pull_request"), {}),
        api.post(path_of(runner, "/commit"), {"target_branch": "x"}),
        api.post(path_of(runner, "/commit"), {"target_branch": "x", "squash": True}),
    ]


def test_a_diff_with_a_secret_is_shown_and_not_published(api, make_runner, worker, site):
    runner = make_runner(site=site)
    assert ok(api.get(path_of(runner)))["contains_secret"] is False
    worker.run(runner["latest_session_id"], patch_of(TOKEN), contains_secret=True)
    assert ok(api.get(session_path(runner)))["contains_secret"] is True
    assert ok(api.get(path_of(runner)))["contains_secret"] is True
    assert api.get(path_of(runner, "/diff")).text == patch_of(TOKEN)
    for answer in publications(api, runner):
        assert "another session" in refused(answer, 422, "contains_secret")["message"]


def test_a_follow_up_that_took_it_out_or_a_revert_make_it_good_again(api, make_runner, worker, follow_up, site):
    runner = make_runner(site=site)
    worker.run(runner["latest_session_id"], patch_of("clean"))
    bad = follow_up(runner, patch_of(TOKEN), contains_secret=True)
    ok(api.post(path_of(runner, "/revert"), {"session_id": runner["latest_session_id"]}))
    assert not ok(api.get(path_of(runner)))["contains_secret"]
    assert ok(api.post(path_of(runner, "/revert"), {"session_id": bad["id"]}))["contains_secret"]
    assert not follow_up(runner, patch_of("mended"))["contains_secret"]
    assert not ok(api.get(path_of(runner)))["contains_secret"]
    ok(api.post(path_of(runner, "/commit"), {"target_branch": "x"}))


def test_a_runner_that_begins_with_another_ones_diff_is_as_good(api, make_runner, worker, site):
    parent = make_runner(site=site)
    worker.run(parent["latest_session_id"], patch_of(TOKEN), contains_secret=True)
    assert make_runner(site=site, parent_agent_runner_id=parent["id"])["contains_secret"] is True


def test_another_attempt_is_not_blamed_for_the_one_before(api, make_runner, worker, site):
    runner = make_runner(site=site)
    claim = worker.claim(runner["latest_session_id"])
    worker.finish(claim, SessionState.ERROR, patch_of(TOKEN), contains_secret=True)
    again = created(api.post(path_of(runner, "/sessions"), {"prompt": "Again."}))
    assert again["contains_secret"] is False


LINES = {
    f"+token={TOKEN}": True,
    "+" + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode(): True,
    f"+{'x' * 300_000}{TOKEN}": True,
    f"-token={TOKEN}": False,
    f" token={TOKEN}": False,
    f"+token={SHAPE}": False,
}


@pytest.mark.parametrize("way", ["inline", "upload"])
def test_a_diff_sent_by_a_caller_is_searched_for_secrets(api, make_done_runner, site, way):
    runner = make_done_runner(site=site)
    for line, is_secret in LINES.items():
        counts = {"+": "-0,0 +1", "-": "-1 +0,0", " ": "-1 +1"}[line[0]]
        diff = f"diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ {counts} @@\n{line}\n"
        if way == "inline":
            body = {"result_diff": diff}
        else:
            asked = {"filename": "a.patch", "content_type": "text/x-diff", "size": len(diff)}
            url = ok(api.post("/agent_runners/upload_url", asked))
            empty(api.with_token(None)("PUT", url["upload_url"], data=diff, headers=url["headers"]), 200)
            body = {"result_diff_s3_key": url["file_key"]}
        assert ok(api.patch(path_of(runner), body))["contains_secret"] is is_secret, line[:100]
        assert api.get(path_of(runner, "/diff")).text == diff
        assert ok(api.patch(path_of(runner), {"result_diff": patch_of("mended")}))["contains_secret"] is False


def test_the_texts_of_an_external_worker_are_stored_without_secrets(api, claimed, outside_runner, engine):
    path = session_path(outside_runner)
    text = f"{TOKEN} and {SHAPE} and {claimed.token}"
    report = {
        "title": text,
        "result": text,
        "current_task": text,
        "steps": [{"title": text, "message": text, "ref": text[:200]}],
    }
    session = ok(claimed.patch(path, report))
    clean = "[redacted] and [redacted] and [redacted]"
    assert [session[name] for name in ("title", "result", "current_task")] == [clean] * 3
    assert [(step["title"], step["message"], TOKEN in str(step)) for step in session["steps"]] == [
        (clean, clean, False)
    ]
    assert ok(api.get(path_of(outside_runner)))["current_task"] == clean
    # The whole list once more is still known again.
    assert ok(claimed.patch(path, {"steps": [*report["steps"], {"title": "more"}]}))["steps_count"] == 2
    failed = ok(claimed.patch(path, {"state": "ERROR", "result": text}))
    assert failed["failure"]["message"] == clean


def test_the_diff_of_an_external_worker_is_searched_for_secrets(api, claimed, outside_runner):
    diffs = {"result_diff": patch_of(TOKEN), "cumulative_diff": patch_of(TOKEN)}
    session = ok(claimed.patch(session_path(outside_runner), {**diffs, "state": "DONE"}))
    assert session["contains_secret"] and ok(api.get(path_of(outside_runner)))["contains_secret"]
    for answer in publications(api, outside_runner)[1:]:
        refused(answer, 422, "contains_secret")


def test_the_work_of_a_stopped_session_is_searched_for_secrets_too(api, claimed, outside_runner):
    path = session_path(outside_runner)
    empty(api.delete(path), 202)
    diffs = {"result_diff": patch_of("x"), "cumulative_diff": patch_of(TOKEN)}
    assert ok(claimed.patch(path, diffs))["contains_secret"]
    adopted = ok(api.post(path_of(outside_runner, "/revert"), {"session_id": outside_runner["latest_session_id"]}))
    assert adopted["contains_secret"]


def test_a_prompt_is_stored_as_it_came(api, make_runner, site):
    runner = make_runner(site=site, prompt=f"use {SHAPE}\u202e\x1b[31m")
    assert ok(api.get(session_path(runner)))["prompt"] == f"use {SHAPE}\u202e\x1b[31m"


def test_the_name_of_a_branch_does_not_quote_a_secret(api, make_done_runner, site):
    runner = make_done_runner(site=site, title=f"use {SHAPE} or {TOKEN}")
    branch = ok(api.post(path_of(runner, "/pull_request"), {}))["result_branch"]
    assert branch.startswith("agent/use-redacted-or-redacted-")


def test_a_title_taken_from_a_prompt_quotes_no_part_of_a_secret(api, make_runner, site):
    for secret in (SHAPE, TOKEN):
        for before in range(36, 80, 4):
            title = make_runner(site=site, prompt=f"{'x' * before} {secret}")["title"]
            assert secret[:8] not in title and title.startswith("xxx")


def test_a_title_that_a_caller_gives_is_stored_without_secrets(api, make_runner, site):
    text, clean = f"use {SHAPE} or {TOKEN}", "use [redacted] or [redacted]"
    runner = make_runner(site=site, title=text)
    assert runner["title"] == clean
    assert ok(api.patch(path_of(runner), {"title": f"not {text}"}))["title"] == f"not {clean}"
    assert ok(api.patch(session_path(runner), {"title": text}))["title"] == clean
    assert ok(api.get(path_of(runner)))["title"] == f"not {clean}"


def test_a_title_fits_though_redaction_makes_it_longer(api, make_runner, make_site):
    site = make_site(access_token="8-signs-")
    text = "8-signs-" * 62
    runner = make_runner(site=site, title=text)
    assert runner["title"] == ("[redacted]" * 50)
    for path in (path_of(runner), session_path(runner)):
        assert ok(api.patch(path, {"title": text}))["title"] == runner["title"]


def test_the_texts_of_a_publication_are_stored_without_secrets(api, make_done_runner, site, engine):
    runner = make_done_runner(site=site)
    text, clean = f"use {SHAPE} or {TOKEN}", "use [redacted] or [redacted]"
    ok(api.post(path_of(runner, "/pull_request"), {"title": text, "body": text}))
    ok(api.post(path_of(runner, "/commit"), {"target_branch": "notes", "message": text}))
    with engine.connect() as connection:
        rows = connection.execute(sa.select(Publication.kind, Publication.title, Publication.body))
        found = {kind: (title, body) for kind, title, body in rows}
    assert found == {PublicationKind.PULL_REQUEST: (clean, clean), PublicationKind.COMMIT: (None, clean)}
