"""An agent asks, a person answers, and the agent goes on."""

from __future__ import annotations

import uuid

import pytest

from app.models.states import Scope
from tests.api.calling import created, empty, ok, patch_of, path_of, refused, session_path

ASKED = [{"question": "Which sign?", "choices": ["plus", "minus"]}, {"question": "And the name?", "choices": []}]


@pytest.fixture
def asking(api, make_runner, worker):
    """A runner whose agent has changed something, and asks."""
    runner = make_runner(prompt="Mend it.")
    worker.run(runner["latest_session_id"], patch_of("one"), questions=ASKED, base_sha="a" * 40)
    return ok(api.get(path_of(runner)))


def answers_to(runner, *answers):
    return [
        {"question_id": each["id"], "answer": answer}
        for each, answer in zip(runner["questions"], answers, strict=False)
    ]


def follow(api, runner, **body):
    return api.post(path_of(runner, "/sessions"), body)


@pytest.mark.same_on_both_databases
def test_a_runner_shows_what_its_agent_asks_with_the_work_kept(api, asking):
    session = ok(api.get(session_path(asking)))
    assert (asking["state"], asking["awaiting_input"], asking["has_result_diff"]) == ("DONE", True, True)
    assert asking["questions"] == session["questions"] and session["may_ask"]
    assert [{"question": each["question"], "choices": each["choices"]} for each in asking["questions"]] == ASKED


def test_the_answers_go_before_the_prompt_and_the_runner_waits_no_more(api, asking, worker, make_runner):
    worker.run(make_runner()["latest_session_id"])
    [listed] = ok(api.get("/agent_runners?awaiting_input=true"))
    assert (
        listed["id"] == asking["id"] not in [each["id"] for each in ok(api.get("/agent_runners?awaiting_input=false"))]
    )
    session = created(follow(api, asking, answers=answers_to(asking, " plus "), prompt="Be quick."))
    question, other = "1. Which sign?\n\nAnswer: plus", "2. And the name?\n\nAnswer: (no answer: decide it yourself)"
    assert session["prompt"] == f"Your questions were answered:\n\n{question}\n\n{other}\n\nBe quick."
    assert session["continues_session_id"] == asking["latest_session_id"]
    worker.run(session["id"])
    after = ok(api.get(path_of(asking)))
    assert (after["awaiting_input"], after["questions"]) == (False, None)
    assert ok(api.get(session_path(asking)))["questions"], "the record of the session stays"
    refused(follow(api, asking, answers=answers_to(asking, "plus")), 409, "not_awaiting_input")


@pytest.mark.same_on_both_databases
def test_a_follow_up_that_is_stopped_has_answered_nothing(api, asking, worker):
    created(follow(api, asking, prompt="Use plus."))
    assert not ok(api.get(path_of(asking)))["awaiting_input"]
    empty(api.delete(path_of(asking)), 202)
    assert ok(api.get(path_of(asking)))["questions"] == asking["questions"]


@pytest.mark.same_on_both_databases
def test_neither_a_rebase_nor_an_archive_answers(api, asking, worker):
    rebased = created(api.post(path_of(asking, "/rebase")))
    assert not ok(api.get(path_of(asking)))["awaiting_input"]
    worker.run(rebased["id"], patch_of("one"), base_sha="b" * 40)
    assert ok(api.get(path_of(asking)))["questions"] == asking["questions"]
    assert not api.post(path_of(asking, "/archive")).json["awaiting_input"]
    assert ok(api.post(path_of(asking, "/unarchive")))["awaiting_input"]


@pytest.mark.same_on_both_databases
def test_a_follow_up_needs_a_prompt_or_an_answer(api, asking):
    for body in ({}, {"answers": []}):
        refused(follow(api, asking, **body), 422, "prompt_missing")


@pytest.mark.same_on_both_databases
def test_an_answer_names_a_question_that_is_asked_now(api, asking):
    other = {"question_id": str(uuid.uuid4()), "answer": "x"}
    refused(follow(api, asking, answers=[other]), 422, "unknown_question")
    refused(follow(api, asking, answers=2 * answers_to(asking, "plus")), 422, "unknown_question")
    assert ok(api.get(path_of(asking)))["awaiting_input"]


@pytest.mark.same_on_both_databases
def test_an_external_worker_reports_questions(api, ada, make_site, make_runner):
    runner = make_runner(site=make_site(execution="external", access_token="ghp_0123456789abcdef0123456789abcdef0123"))
    outside = ada.holding(Scope.WORKER)
    claimed = outside.with_token(ok(outside.patch(session_path(runner), {"state": "RUNNING"}))["session_token"])
    secret = {"question": "Use ghp_0123456789abcdef0123456789abcdef0123?"}
    ok(claimed.patch(session_path(runner), {"state": "DONE", "questions": [secret]}))
    [question] = ok(api.get(path_of(runner)))["questions"]
    assert question["choices"] == [] and "ghp_" not in question["question"]
