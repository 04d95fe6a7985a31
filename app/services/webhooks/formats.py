"""Events as messages for people, in the form that a chat service takes as one POST of JSON, or as an e-mail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.errors import invalid
from app.escaping import inert, one_line
from app.models.states import WebhookEvent, WebhookFormat

_LONGEST = 600
_LONGEST_SUBJECT = 150
_SUPPRESS_EMBEDS = 1 << 2
"""https://discord.com/developers/docs/resources/message#message-object-message-flags"""
_HEADLINES: Mapping[str, str] = {
    WebhookEvent.SESSION_STARTED: "Started",
    WebhookEvent.SESSION_STEP: "At work",
    WebhookEvent.SESSION_DONE: "Done",
    WebhookEvent.SESSION_ERROR: "Failed",
    WebhookEvent.SESSION_CANCELLED: "Stopped",
    WebhookEvent.RUNNER_ARCHIVED: "Archived",
    WebhookEvent.PUBLICATION_SUCCEEDED: "Published",
    WebhookEvent.PUBLICATION_FAILED: "Not published",
    WebhookEvent.BUDGET_WARNING: "Most of a budget is used",
}


@dataclass(frozen=True)
class _Text:
    """What a person reads. `link` leads to the runner in the console."""

    headline: str
    lines: tuple[str, ...]
    link: str


def render(form: WebhookFormat, kind: str, data: Mapping[str, Any], link: str) -> dict[str, Any]:
    """The message of an event, whose type is `kind`."""
    failure = data.get("failure") or {}
    count = data.get("steps_count")
    steps = f"{count:,} new step{'' if count == 1 else 's'}" if count else None
    lines = (
        data.get("title"),
        failure.get("message"),
        data.get("error"),
        data.get("pr_url"),
        data.get("message"),
        steps,
    )
    shown = tuple(_plain(line) for line in lines if line)
    return _FORMS[form](_Text(_HEADLINES.get(kind, kind), shown, link))


def check_url(field: str, form: WebhookFormat, url: str) -> None:
    """Refuse a URL that the service cannot have."""
    if form == WebhookFormat.NTFY and not _topic(url):
        raise invalid(field, "must end with the topic, such as https://ntfy.sh/our-topic", error_code="bad_webhook_url")


def address(form: WebhookFormat, url: str, message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where the message goes, and the message itself. ntfy has the topic in the JSON."""
    if form != WebhookFormat.NTFY:
        return url, message
    parts, topic = urlsplit(url), _topic(url)
    return parts._replace(path=parts.path.removesuffix(topic)).geturl(), {"topic": topic, **message}


def hidden(url: str) -> str:
    """A URL as it is shown: whoever knows the rest may post there."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/..."


def _topic(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def _plain(text: str) -> str:
    """One line of bounded length. What an agent wrote mentions no one."""
    line = one_line(str(text))
    return inert(line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ...")


def _slack(text: _Text) -> dict[str, Any]:
    def escaped(line: str) -> str:
        return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    lines = [f"*{text.headline}*", *map(escaped, text.lines), f"<{text.link}|Show>"]
    # A preview would fetch an address from an agent's words, and so send what is in it to its server.
    return {"text": "\n".join(lines), "unfurl_links": False, "unfurl_media": False}


def _discord(text: _Text) -> dict[str, Any]:
    # Words of an agent that lead elsewhere would look like a link of ours.
    lines = (line.replace("[", "\\[") for line in text.lines)
    content = "\n".join((f"**{text.headline}**", *lines, f"<{text.link}>"))
    return {"content": content[:2000], "allowed_mentions": {"parse": []}, "flags": _SUPPRESS_EMBEDS}


def _teams(text: _Text) -> dict[str, Any]:
    head = {"type": "TextBlock", "text": text.headline, "weight": "Bolder", "wrap": True}
    # A run of text is shown as it is, where a block would be read as Markdown.
    lines = [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": line}]} for line in text.lines]
    card = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": [head, *lines],
        "actions": [{"type": "Action.OpenUrl", "title": "Show", "url": text.link}],
    }
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


def _ntfy(text: _Text) -> dict[str, Any]:
    return {"title": text.headline, "message": "\n".join(text.lines), "click": text.link}


def _email(text: _Text) -> dict[str, Any]:
    subject = ": ".join((text.headline, *text.lines[:1]))
    return {
        "subject": subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[:_LONGEST_SUBJECT]} ...",
        "text": "\n\n".join((f"{text.headline}.", *text.lines, text.link)),
    }


_FORMS: Mapping[WebhookFormat, Callable[[_Text], dict[str, Any]]] = {
    WebhookFormat.SLACK: _slack,
    WebhookFormat.DISCORD: _discord,
    WebhookFormat.TEAMS: _teams,
    WebhookFormat.NTFY: _ntfy,
    WebhookFormat.EMAIL: _email,
}
