"""Reading server-sent events without a gap or a repeat."""

from __future__ import annotations

import httpx
import pytest

from app.client import ClientError, Event
from app.client.events import follow, parse

STEP = b'event: step\nid: 7\ndata: {"title": "one"}\n\n'
DONE = b"event: done\nid: 9\ndata: {}\n\n"


class Broken(httpx.SyncByteStream):
    """A body that breaks off."""

    def __iter__(self):
        yield STEP
        yield b"event: step\nid: 8\nda"
        raise httpx.ReadError("connection reset")


def answering(*answers: httpx.Response) -> tuple[httpx.Client, list[httpx.Request]]:
    asked: list[httpx.Request] = []
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return next(left)

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://api"), asked


def test_fields_comments_and_several_lines_of_data_are_understood() -> None:
    lines = [": hello", "event: step", "id: 1", "data: {", 'data:  "a": 1}', "", "event: ping", "", "data:[]", ""]
    assert list(parse(lines)) == [Event("step", "1", {"a": 1}), Event("message", None, [])]


def test_a_broken_connection_is_resumed_where_the_last_event_was_seen() -> None:
    http, asked = answering(httpx.Response(200, stream=Broken()), httpx.Response(200, content=DONE))
    assert [event.id for event in follow(http, "/events", None, patience=10)] == ["7", "9"]
    assert "Last-Event-ID" not in asked[0].headers
    assert asked[1].headers["Last-Event-ID"] == "7"


def test_with_too_many_listeners_it_waits_as_long_as_retry_after_says() -> None:
    busy = httpx.Response(503, headers={"Retry-After": "0"}, json={})
    http, asked = answering(busy, httpx.Response(200, content=DONE))
    assert [event.kind for event in follow(http, "/events", None, patience=10)] == ["done"]
    assert len(asked) == 2


def test_a_refusal_is_raised_with_its_code() -> None:
    body = {"message": "there is no such runner", "error_code": "runner_not_found"}
    http, _ = answering(httpx.Response(404, json=body))
    with pytest.raises(ClientError, match="no such runner") as raised:
        list(follow(http, "/events", None, patience=10))
    assert (raised.value.status, raised.value.error_code) == (404, "runner_not_found")


def test_it_gives_up_after_its_patience() -> None:
    http, _ = answering(httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(503))
    with pytest.raises(ClientError):
        list(follow(http, "/events", None, patience=0))
