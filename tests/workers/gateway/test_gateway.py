"""What the gateway passes on, what it refuses, and what it counts."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import certificate, server_context
from tests.model_servers import KEY, ModelServer
from tests.workers.engine import eventually
from tests.workers.gateway.answering import answering
from tests.workers.gateway.conftest import Open
from workers.egress.gateway.counts import Counts
from workers.egress.gateway.process import Ended, Limited
from workers.events import Refusal

ASK = {"role": "user", "content": "hello"}
MESSAGES = {"model": "claude-sonnet-4-6", "messages": [ASK], "tools": [{"name": "Write"}], "stream": True}
CHAT = {"model": "gpt-5", "messages": [ASK]}
RESPONSES = {"model": "gpt-5", "input": [{"type": "message", "role": "user", "content": [{"text": "hello"}]}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
GENERATE = "/v1beta/models/gemini-2.5-pro:generateContent"
STREAM = "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
CALLS = [
    pytest.param("anthropic", "/v1/messages", MESSAGES, Counts(150, 50, 0, 0, 25), id="messages"),
    pytest.param("openai", "/responses", RESPONSES, Counts(100, 50, 0, 0, 25), id="responses"),
    pytest.param("openai", "/chat/completions", CHAT, Counts(100, 50, 0, 0, 25), id="chat"),
    pytest.param("openai", "/chat/completions", {**CHAT, "stream": True}, Counts(100, 50, 0, 0, 25), id="chat-stream"),
    pytest.param("gemini", GENERATE, CONTENTS, Counts(100, 50, 0, 0, 25), id="gemini"),
    pytest.param("gemini", STREAM, CONTENTS, Counts(100, 50, 0, 0, 25), id="gemini-stream"),
]


def chunk(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


@pytest.mark.parametrize(("api", "path", "body", "counts"), CALLS)
def test_a_call_is_made_with_the_key_and_counted(
    opened: Open, model: ModelServer, api: str, path: str, body: dict[str, Any], counts: Counts
) -> None:
    calling = opened(api)
    header = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}.get(api)
    headers = {header: calling.token} if header else {"authorization": f"Bearer {calling.token}"}
    answer = calling.post(api, path, body, headers=headers)
    assert answer.status_code == 200 and "Done: the change is in place." in answer.text
    assert model.requests[-1].key == KEY
    used = calling.used()[-1]
    assert (used.counts, used.model) == (counts, body.get("model", "gemini-2.5-flash"))
    assert [each.complete for each in calling.ended()] == [True]


def test_usage_is_asked_for_where_the_agent_does_not_want_it(opened: Open, model: ModelServer) -> None:
    opened().post("openai", "/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": False}})
    assert model.requests[-1].body["stream_options"] == {"include_usage": True}


def test_the_key_of_gemini_is_never_in_a_url(opened: Open, model: ModelServer) -> None:
    calling = opened("gemini")
    assert calling.post("gemini", f"{GENERATE}?key={calling.token}", CONTENTS, headers={}).status_code == 200
    assert (model.requests[-1].key, model.requests[-1].query) == (KEY, "")


def test_an_answer_arrives_while_it_is_made(opened: Open) -> None:
    goes_on = threading.Event()
    said = [chunk({"choices": [], "n": 1}), chunk({"choices": [], "n": 2, "usage": {"prompt_tokens": 7}})]
    with answering(said, between=goes_on) as url:
        calling = opened("openai", url)
        headers = {"authorization": f"Bearer {calling.token}"}
        target = f"{calling.url('openai')}/chat/completions"
        with calling.http.stream("POST", target, json={**CHAT, "stream": True}, headers=headers) as answer:
            pieces = answer.iter_raw()
            assert next(pieces) == said[0]
            goes_on.set()
            assert b"".join(pieces) == said[1]
    assert [each.counts for each in calling.used()] == [Counts(7)]


def test_what_was_not_counted_does_not_reach_the_agent(opened: Open, model: ModelServer) -> None:
    """The budget is used up by this very call: the agent gets no end of it, and no other call."""
    calling = opened(allows=False)
    with pytest.raises(httpx.HTTPError):
        calling.post("openai", "/chat/completions", {**CHAT, "stream": True})
    assert [each.counts for each in calling.used()] == [Counts(100, 50, 0, 0, 25)]
    asked = len(model.requests)
    with pytest.raises(httpx.HTTPError):
        calling.post("openai", "/chat/completions", CHAT)
    assert len(model.requests) == asked


def test_an_answer_that_the_agent_does_not_wait_for_is_counted(opened: Open) -> None:
    goes_on = threading.Event()
    said = [chunk({"choices": []}), chunk({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}})]
    with answering(said, between=goes_on) as url:
        calling = opened("openai", url)
        headers = {"authorization": f"Bearer {calling.token}"}
        target = f"{calling.url('openai')}/chat/completions"
        with calling.http.stream("POST", target, json={**CHAT, "stream": True}, headers=headers) as answer:
            next(answer.iter_raw())
        goes_on.set()
        eventually(lambda: bool(calling.used()), "it was not counted")
    assert calling.used()[-1].counts == Counts(9, produced=4)


@pytest.mark.parametrize(
    ("api", "path", "kind"),
    [
        ("anthropic", "/v1/messages", "authentication_error"),
        ("openai", "/responses", "invalid_api_key"),
        ("gemini", GENERATE, "UNAUTHENTICATED"),
    ],
)
def test_another_token_is_refused_in_the_providers_words(
    opened: Open, model: ModelServer, api: str, path: str, kind: str
) -> None:
    other, calling = opened(api), opened(api)
    asked = len(model.requests)
    for token in (KEY, other.token, "x"):
        answer = calling.post(api, path, {}, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401 and kind in answer.text and "not valid" in answer.text
    assert len(model.requests) == asked
    eventually(lambda: any(isinstance(each, Refusal) for each in calling.reports), "no refusal was reported")


def test_only_calls_of_models_are_passed_on(opened: Open, model: ModelServer) -> None:
    asked = len(model.requests)
    for api, calls in {
        "openai": [
            ("POST", "/files"),
            ("GET", "/responses/resp_1"),
            ("POST", "/responses/../files"),
            ("POST", "/responses%2f..%2ffiles"),
            ("POST", "//evil.example/responses"),
            ("DELETE", "/models/mine"),
        ],
        "anthropic": [("POST", "/v1/messages/batches"), ("GET", "/v1/organizations/api_keys")],
        "gemini": [
            ("POST", "/v1beta/cachedContents"),
            ("POST", "/v1beta/models/gemini-2.5-pro:batchGenerateContent"),
        ],
    }.items():
        calling = opened(api)
        headers = {"authorization": f"Bearer {calling.token}"}
        for method, path in calls:
            answer = calling.http.request(method, calling.url(api) + path, headers=headers, content=b"{}")
            assert answer.status_code == 404 and "error" in answer.json(), path
    assert len(model.requests) == asked


def test_what_could_not_be_counted_or_is_too_large_is_refused(opened: Open, model: ModelServer) -> None:
    calling, asked = opened(), len(model.requests)
    assert calling.post("openai", "/responses", {**RESPONSES, "background": True}).status_code == 400
    assert calling.post("openai", "/responses", [RESPONSES]).status_code == 400
    token = {"authorization": f"Bearer {calling.token}"}
    assert calling.post("openai", "/responses", None, json=None, content=b"[" * 10**6, headers=token).status_code == 400
    headers = {"authorization": f"Bearer {calling.token}", "content-encoding": "gzip"}
    assert calling.post("openai", "/responses", RESPONSES, headers=headers).status_code == 415
    assert (
        calling.post("openai", "/responses", None, json=None, content=bytes(33 << 20), headers=token).status_code == 413
    )
    assert len(model.requests) == asked
    assert calling.post("openai", "/responses", RESPONSES).status_code == 200


@pytest.mark.parametrize(
    ("status", "headers", "body", "exhausted", "wait"),
    [
        (429, {"retry-after": "20"}, {}, False, 20),
        (429, {"retry-after-ms": "1"}, {"error": {"code": "insufficient_quota"}}, True, None),
        (400, {}, {"error": {"message": "Your credit balance is too low to access the API."}}, True, None),
        (402, {}, {}, True, None),
        (529, {}, {}, False, None),
        (503, {"retry-after": "20"}, {}, False, 20),
        (429, {"x-ratelimit-reset-tokens": "6m30s", "x-ratelimit-remaining-tokens": "0"}, {}, False, 390),
        (429, {"x-ratelimit-reset-requests": "9h", "x-ratelimit-remaining-requests": "5"}, {}, False, None),
        (429, {"anthropic-ratelimit-unified-reset": "+3600"}, {}, False, 3600),
        (429, {}, {"error": {"details": [{"retryDelay": "34s"}]}}, False, 34),
    ],
)
def test_a_limit_of_the_provider_is_reported_with_its_reset(
    opened: Open, status: int, headers: dict[str, str], body: dict[str, Any], exhausted: bool, wait: float | None
) -> None:
    now = time.time()
    sent = {name: str(now + float(value)) if value.startswith("+") else value for name, value in headers.items()}
    with answering([json.dumps(body).encode()], status=status, headers=sent) as url:
        calling = opened("openai", url)
        answer = calling.post("openai", "/responses", RESPONSES)
    assert answer.status_code == status and answer.json() == body
    (report,) = [each for each in calling.reports if isinstance(each, Limited)]
    assert report.exhausted is exhausted
    assert (None if report.reset_at is None else round((report.reset_at - now) / 10)) == (
        None if wait is None else round(wait / 10)
    )


def test_a_server_that_repeats_the_key_does_not_give_it_away(opened: Open) -> None:
    with answering([b'{"error": {"message": "no such key: ' + KEY.encode() + b'"}}'], status=401) as url:
        calling = opened("openai", url)
        answer = calling.post("openai", "/responses", RESPONSES)
    assert answer.status_code == 401 and KEY not in answer.text and calling.token in answer.text


def test_a_server_that_does_not_answer_is_an_error_of_the_provider(opened: Open) -> None:
    calling = opened("openai", "http://127.0.0.1:1/v1")
    answer = calling.post("openai", "/responses", RESPONSES)
    assert answer.status_code == 502 and "did not answer" in answer.json()["error"]["message"]


def test_a_certificate_that_nobody_trusts_is_refused(opened: Open, tmp_path: Path) -> None:
    context = server_context(certificate(tmp_path, "127.0.0.1"))
    with answering([b"{}"], tls=context) as url:
        answer = opened("openai", url).post("openai", "/responses", RESPONSES)
    assert answer.status_code == 502 and "certificate was not accepted" in answer.text


def test_a_server_at_a_metadata_address_is_never_called(opened: Open) -> None:
    answer = opened("openai", "http://169.254.169.254/v1").post("openai", "/responses", RESPONSES)
    assert answer.status_code == 502 and "metadata address" in answer.text


def test_an_answer_that_breaks_off_does_not_look_complete_and_is_counted(opened: Open) -> None:
    said = [chunk({"choices": [], "usage": {"prompt_tokens": 5}})]
    with answering(said, breaks_off=True) as url:
        calling = opened("openai", url)
        with pytest.raises(httpx.HTTPError):
            calling.post("openai", "/chat/completions", {**CHAT, "stream": True})
    assert [each.counts for each in calling.used()] == [Counts(5)]
    assert [each.complete for each in calling.ended()] == [False]


@pytest.mark.parametrize(
    ("api", "path", "last", "complete", "error"),
    [
        ("anthropic", "/v1/messages", {"type": "message_stop"}, True, None),
        ("anthropic", "/v1/messages", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, False, None),
        ("anthropic", "/v1/messages", {"type": "error", "error": {"message": "Overloaded"}}, False, "Overloaded"),
        ("openai", "/responses", {"type": "response.incomplete", "response": {}}, True, None),
        ("openai", "/responses", {"type": "response.failed", "response": {"error": {"message": "No"}}}, False, "No"),
        ("openai", "/responses", {"type": "error", "message": "No"}, False, "No"),
        ("openai", "/chat/completions", {"choices": [{"finish_reason": "length"}]}, True, None),
        ("openai", "/chat/completions", {"choices": [{"finish_reason": None}]}, False, None),
        # As OpenRouter ends what its provider did not.
        (
            "openai",
            "/chat/completions",
            {"error": {"code": "server_error", "message": "Gone"}, "choices": [{"finish_reason": "error"}]},
            False,
            "Gone",
        ),
        ("gemini", STREAM, {"candidates": [{"finishReason": "MAX_TOKENS"}]}, True, None),
        ("gemini", STREAM, {"promptFeedback": {"blockReason": "SAFETY"}}, True, None),
        ("gemini", STREAM, {"candidates": [{"content": {"parts": [{"text": "I"}]}}]}, False, None),
    ],
)
def test_a_stream_is_complete_where_it_says_so(
    opened: Open, api: str, path: str, last: dict[str, Any], complete: bool, error: str | None
) -> None:
    """The server closes each in the same way."""
    with answering([chunk({"type": "ping"}), chunk(last)]) as url:
        calling = opened(api, url)
        assert calling.post(api, path, {**CHAT, "stream": True}).status_code == 200
    assert [(each.complete, each.error) for each in calling.ended()] == [(complete, error)]


@pytest.mark.parametrize(
    ("api", "path", "last", "status"),
    [
        ("anthropic", "/v1/messages", {"type": "error", "error": {"type": "overloaded_error"}}, 529),
        ("anthropic", "/v1/messages", {"type": "error", "error": {"type": "invalid_request_error"}}, None),
        ("openai", "/responses", {"type": "response.failed", "response": {"error": {"code": "server_error"}}}, 500),
        ("openai", "/responses", {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down"}, 429),
        ("openai", "/chat/completions", {"error": {"message": "Bad gateway", "code": 502}}, 502),
        ("openai", "/chat/completions", {"error": {"message": "Too long", "code": 400}}, None),
        ("gemini", STREAM, {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}, 503),
    ],
)
def test_an_error_in_the_middle_of_an_answer_refuses_the_call(
    opened: Open, api: str, path: str, last: dict[str, Any], status: int | None
) -> None:
    with answering([chunk({"type": "ping"}), chunk(last)]) as url:
        calling = opened(api, url)
        calling.post(api, path, {**CHAT, "stream": True})
    refusals = [each.status for each in calling.reports if isinstance(each, Limited)]
    assert refusals == ([] if status is None else [status])
    assert [each.complete for each in calling.ended()] == [False]


@pytest.mark.parametrize(
    ("offered", "is_offered"),
    [({"tools": [{"function": {"name": "bash"}}]}, True), ({"tools": []}, False), ({"user": '"tools": [1]'}, False)],
)
def test_a_call_of_a_conversation_is_told_by_its_tools(opened: Open, offered: dict[str, Any], is_offered: bool) -> None:
    for api, path, body in (("openai", "/chat/completions", CHAT), ("gemini", STREAM, CONTENTS)):
        with answering([b"data: [DONE]\n\n"]) as url:
            calling = opened(api, url)
            calling.post(api, path, {**body, **offered})
        assert [each.offers_tools for each in calling.ended()] == [is_offered]


def test_a_stream_with_the_usual_end_is_complete_without_a_reason(opened: Open) -> None:
    with answering([chunk({"choices": [{"delta": {"content": "Hi"}}]}), b"data: [DONE]\n\n"]) as url:
        calling = opened("openai", url)
        calling.post("openai", "/chat/completions", {**CHAT, "stream": True})
    assert calling.ended() == [Ended(None, None, complete=True, offers_tools=False)]


def test_a_closed_gateway_takes_no_token(opened: Open) -> None:
    calling = opened()
    assert calling.post("openai", "/responses", RESPONSES).status_code == 200
    calling.gateway.close()
    with pytest.raises(httpx.HTTPError):
        calling.post("openai", "/responses", RESPONSES)
