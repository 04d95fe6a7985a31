"""What people read in a chat, and what others may not do with it."""

from __future__ import annotations

import json

import pytest

from app.models.states import WebhookEvent, WebhookFormat
from app.services.webhooks.formats import address, hidden, render

LINK = "https://agents.example.org/runners/1"
CHATS = [form for form in WebhookFormat if form != WebhookFormat.JSON]


@pytest.mark.parametrize("form", CHATS)
def test_every_event_is_said_in_words_with_a_link(form: WebhookFormat) -> None:
    data = {"title": "Add a health endpoint.", "failure": {"message": "The key is refused."}, "pr_url": None}
    for event in WebhookEvent:
        message = json.dumps(render(form, event, data, LINK))
        assert "Add a health endpoint." in message and "The key is refused." in message and LINK in message
        assert event.value not in message, "a person does not read codes"


@pytest.mark.parametrize("form", CHATS)
def test_what_an_agent_wrote_mentions_nobody_and_has_a_bounded_length(form: WebhookFormat) -> None:
    title = "<!channel> @everyone\x1b]\n**Done**" + "x" * 10_000
    message = json.dumps(render(form, WebhookEvent.SESSION_DONE, {"title": title, "pr_url": title}, LINK))
    assert "@everyone" not in message and "u001b" not in message and len(message) < 3000
    assert form != WebhookFormat.SLACK or "<!" not in message


def test_what_an_agent_wrote_is_no_link_with_words_of_its_own() -> None:
    data = {"title": "[Merge it here](https://elsewhere.example)"}
    for form, link in ((WebhookFormat.DISCORD, "\n[Merge"), (WebhookFormat.SLACK, "<https://elsewhere")):
        assert link not in "\n".join(map(str, render(form, WebhookEvent.SESSION_DONE, data, LINK).values()))


def test_the_topic_of_ntfy_is_in_the_message() -> None:
    url = "https://push.example.org/base/alerts?auth=x"
    assert address(WebhookFormat.NTFY, url, {"title": "Done"}) == (
        "https://push.example.org/base/?auth=x",
        {"topic": "alerts", "title": "Done"},
    )
    assert hidden(url) == "https://push.example.org/..."


def test_no_chat_loads_an_address_that_an_agent_wrote() -> None:
    """An agent that was talked into it could send what it knows in such an address, past the egress rules."""
    data = {"title": "See https://elsewhere.example/?what=it-knows"}
    slack, discord = (
        render(form, WebhookEvent.SESSION_DONE, data, LINK) for form in (WebhookFormat.SLACK, WebhookFormat.DISCORD)
    )
    assert (slack["unfurl_links"], slack["unfurl_media"]) == (False, False)
    assert discord["flags"] & 4, "SUPPRESS_EMBEDS"
