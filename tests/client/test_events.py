"""Reading server-sent events without a gap or a repeat."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from app.client import Client, ClientError, Event
from app.client.events import Parser

STEP = b'event: step\nid: 7\ndata: {"title": "one"}\n\n'
DONE = b"event: done\nid: 9\ndata: {}\n\n"


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks off."""

    async def __aiter__(self):
        for part in self:
            yield part

    def __iter__(self):
        yield STEP
        yield b"event: step\nid: 8\nda"
        raise httpx.ReadError("connection reset")


Answers = Callable[..., tuple[Client, list[httpx.Request]]]


def test_fields_comments_and_several_lines_of_data_are_understood() -> None:
    lines = [": hello", "event: step", "id: 1", "data: {", 'data:  "a": 1}', "", "event: ping", "", "data:[]", ""]
    assert [event for event in map(Parser().feed, lines) if event] == [
        Event("step", "1", {"a": 1}),
        Event("message", None, []),
    ]


def test_a_broken_connection_is_resumed_where_the_last_event_was_seen(answers: Answers) -> None:
    client, asked = answers(httpx.Response(200, stream=Broken()), httpx.Response(200, content=DONE))
    assert [event.id for event in client.account_events(patience=10)] == ["7", "9"]
    assert "Last-Event-ID" not in asked[0].headers
    assert asked[1].headers["Last-Event-ID"] == "7"


def test_with_too_many_listeners_it_waits_as_long_as_retry_after_says(answers: Answers) -> None:
    busy = httpx.Response(503, headers={"Retry-After": "0"}, json={})
    client, asked = answers(busy, httpx.Response(200, content=DONE))
    assert [event.kind for event in client.account_events(patience=10)] == ["done"]
    assert len(asked) == 2


def test_a_refusal_is_raised_with_its_code(answers: Answers) -> None:
    body = {"message": "there is no such runner", "error_code": "runner_not_found"}
    client, _ = answers(httpx.Response(404, json=body))
    with pytest.raises(ClientError, match="no such runner") as raised:
        list(client.account_events(patience=10))
    assert (raised.value.status, raised.value.error_code) == (404, "runner_not_found")


def test_it_gives_up_after_its_patience(answers: Answers) -> None:
    client, _ = answers(httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(503))
    with pytest.raises(ClientError):
        list(client.account_events(patience=0))
