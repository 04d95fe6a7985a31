"""What counts as a mention of the trigger name."""

from __future__ import annotations

import pytest

from app.services.forge_webhooks.mentions import mentions

NAME = "@agent-runners"


@pytest.mark.parametrize(
    "text",
    [
        "@agent-runners please",
        "Hi, @Agent-Runners: mend it",
        "(@agent-runners)",
        "> quoted\r\n\r\n@agent-runners, do",
        "```\ncode\n```\n@agent-runners",
        "`code` @agent-runners.",
    ],
)
def test_who_mentions_the_name_asks(text):
    assert mentions(text, NAME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "agent-runners",
        "@agent-runnersx",
        "@agent-runners-dev",
        "@agent-runners/team",
        "me@agent-runners",
        "x/@agent-runners",
        "> @agent-runners please",
        "   > @agent-runners please",
        "`@agent-runners`",
        "```\n@agent-runners\n```",
        "~~~\n@agent-runners",
    ],
)
def test_what_is_quoted_code_or_another_name_does_not(text):
    assert not mentions(text, NAME)


def test_the_name_is_taken_literally():
    assert mentions("/fix.it now", "/fix.it") and not mentions("/fixxit now", "/fix.it")
