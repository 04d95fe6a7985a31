"""Tell other systems, or people in a chat or by e-mail, what happens."""

from __future__ import annotations

from typing import Any

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import Columns, json_option, print_json, print_list, print_secret, read_value
from app.cli.remote.sites import find_site
from app.client import Client

_events = click.option(
    "--event", "events", multiple=True, help="Deliver events of this type. Repeatable. Default: all but session.step."
)
_full = click.option("--full/--brief", default=None, help="Whether session.step has the steps themselves.")


@click.group()
def webhooks() -> None:
    """Tell other systems, or people in a chat or by e-mail, what happens.

    WEBHOOK is the id of a webhook. Changes need a token with the scope `admin`.
    """


@webhooks.command("list")
@json_option
@pass_client
def list_webhooks(client: Client, as_json: bool) -> None:
    """List the webhooks of the account.

    \b
    agent-runners webhooks list
    """
    columns: Columns = {"id": "id", "state": _state, "format": "format", "url": "url", "events": _events_of}
    print_list(client.webhooks(), columns, as_json=as_json)


@webhooks.command()
@click.argument("url")
@click.option(
    "--format", "form", help="json (default), or a message for slack, discord, teams, ntfy or email (with mailto:)."
)
@click.option("--site", help="Only events of this site, by name or id.")
@_events
@_full
@click.option("--description", help="What it is for.")
@json_option
@pass_client
def add(
    client: Client,
    url: str,
    form: str | None,
    site: str | None,
    events: tuple[str, ...],
    full: bool | None,
    description: str | None,
    as_json: bool,
) -> None:
    """Deliver events to URL from now on. `-` asks for it, or reads it from standard input: that of a chat is a secret.

    Prints the secret that requests are signed with, which is not shown again.

    \b
    agent-runners webhooks add https://hooks.example.org/runs --event session.done --event session.error
    agent-runners webhooks add - --format slack < url.txt
    agent-runners webhooks add mailto:ada@example.org --event session.error
    """
    fields = {"format": form, "description": description, "events": list(events) or None, "full": full}
    given = {name: value for name, value in fields.items() if value is not None}
    if site:
        given["site_id"] = find_site(client, site)["id"]
    print_secret(client.create_webhook(read_value() if url == "-" else url, **given), as_json=as_json)


@webhooks.command("set")
@click.argument("webhook")
@click.option("--url", help="Deliver to this address. `-` asks for it, or reads it from standard input.")
@_events
@_full
@click.option("--active/--inactive", default=None, help="Resume delivery, or stop it.")
@json_option
@pass_client
def set_webhook(
    client: Client,
    webhook: str,
    url: str | None,
    events: tuple[str, ...],
    full: bool | None,
    active: bool | None,
    as_json: bool,
) -> None:
    """Change a webhook. One that is active again delivers the events from then on.

    \b
    agent-runners webhooks set 0197c1de-0000-7000-8000-000000000008 --event session.error
    agent-runners webhooks set 0197c1de-0000-7000-8000-000000000008 --active
    """
    fields = {
        "url": read_value() if url == "-" else url,
        "events": list(events) or None,
        "full": full,
        "active": active,
    }
    changed = client.update_webhook(webhook, **{name: value for name, value in fields.items() if value is not None})
    if as_json:
        print_json(changed)


@webhooks.command()
@click.argument("webhook")
@json_option
@pass_client
def rotate(client: Client, webhook: str, as_json: bool) -> None:
    """Replace the secret, and print the new one. Requests are signed with both for a day.

    \b
    agent-runners webhooks rotate 0197c1de-0000-7000-8000-000000000008
    """
    print_secret(client.rotate_webhook_secret(webhook), as_json=as_json)


@webhooks.command()
@click.argument("webhook")
@json_option
@pass_client
def deliveries(client: Client, webhook: str, as_json: bool) -> None:
    """List what was sent to a webhook and what it answered, newest first.

    \b
    agent-runners webhooks deliveries 0197c1de-0000-7000-8000-000000000008
    """
    columns: Columns = {
        "id": "id",
        "event": "event_type",
        "state": "state",
        "tries": "tries",
        "tried": "tried_at",
        "error": "error",
    }
    print_list(client.webhook_deliveries(webhook), columns, as_json=as_json)


@webhooks.command()
@click.argument("webhook")
@click.argument("delivery")
@json_option
@pass_client
def replay(client: Client, webhook: str, delivery: str, as_json: bool) -> None:
    """Send a delivery once more.

    \b
    agent-runners webhooks replay 0197c1de-0000-7000-8000-000000000008 0197c1de-0000-7000-8000-000000000009
    """
    changed = client.replay_webhook_delivery(webhook, delivery)
    if as_json:
        print_json(changed)


@webhooks.command()
@click.argument("webhook")
@json_option
@pass_client
def remove(client: Client, webhook: str, as_json: bool) -> None:
    """Delete a webhook.

    \b
    agent-runners webhooks remove 0197c1de-0000-7000-8000-000000000008
    """
    client.delete_webhook(webhook)
    if as_json:
        print_json({"id": webhook})


def _state(webhook: dict[str, Any]) -> str:
    return "failing" if webhook["state"] == "active" and webhook["failing_since"] else str(webhook["state"])


def _events_of(webhook: dict[str, Any]) -> str:
    return ", ".join(webhook["events"]) or "all"
