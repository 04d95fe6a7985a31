"""Let the forge of a site report what happens to pull requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.given import given_settings
from app.cli.remote.output import Columns, json_option, print_fields, print_json, print_list, print_secret
from app.cli.remote.sites import find_site
from app.client import Client

Function = TypeVar("Function", bound=Callable[..., Any])


def _options(function: Function) -> Function:
    for option in reversed(
        (
            click.option(
                "--archive-merged/--keep-merged",
                default=None,
                help="Archive runners whose pull request was merged, or not (default).",
            ),
            click.option("--trigger-name", help="What a comment mentions to ask for changes. Default: @agent-runners."),
            click.option(
                "--on-failed-checks",
                type=click.Choice(["off", "suggest", "automatic"]),
                help="Nothing (default), a comment that says how to ask for a follow-up, or that follow-up.",
            ),
            click.option("--issue-label", help="An issue with this label starts a runner."),
            click.option(
                "--allowed-person",
                "allowed_people",
                multiple=True,
                help="Who may ask for something on the forge, of those who may write. Repeatable. Default: all of them.",
            ),
            click.option("--max-fixes", type=int, help="How many follow-ups in a row failed checks may start."),
        )
    ):
        function = option(function)
    return function


@click.group("forge-webhooks")
def forge_webhooks() -> None:
    """Let the forge of a site report what happens to its pull requests.

    SITE is the name or the id of a site, which has one such webhook at most. Changes need a token with the scope `admin`.
    """


@forge_webhooks.command()
@click.argument("site")
@_options
@json_option
@pass_client
def add(client: Client, site: str, as_json: bool, **fields: Any) -> None:
    """Print the URL and the secret to set in the settings of the repository. The secret is not shown again.

    \b
    agent-runners forge-webhooks add shop --archive-merged
    """
    made = client.create_forge_webhook(find_site(client, site)["id"], **given_settings(fields))
    print_secret(made, as_json=as_json)


@forge_webhooks.command()
@click.argument("site")
@json_option
@pass_client
def show(client: Client, site: str, as_json: bool) -> None:
    """Show the webhook of SITE, without its secret.

    \b
    agent-runners forge-webhooks show shop
    """
    found = client.get_forge_webhook(find_site(client, site)["id"])
    if as_json:
        print_json(found)
        return
    names = ("id", "url", "archive_merged", "trigger_name", "on_failed_checks", "max_fixes", "issue_label")
    people = found["allowed_people"]
    print_fields({**{name: found[name] for name in names}, "allowed_people": ", ".join(people) if people else None})


@forge_webhooks.command("set")
@click.argument("site")
@_options
@json_option
@pass_client
def set_forge_webhook(client: Client, site: str, as_json: bool, **fields: Any) -> None:
    """Change what the webhook of SITE does. An empty value removes what was set.

    \b
    agent-runners forge-webhooks set shop --on-failed-checks suggest
    agent-runners forge-webhooks set shop --issue-label ""
    """
    if not (given := given_settings(fields)):
        raise click.UsageError("Nothing to change. See `agent-runners forge-webhooks set --help`.")
    changed = client.update_forge_webhook(find_site(client, site)["id"], **given)
    if as_json:
        print_json(changed)


@forge_webhooks.command()
@click.argument("site")
@json_option
@pass_client
def rotate(client: Client, site: str, as_json: bool) -> None:
    """Replace the secret, and print the new one. The old one is refused from then on.

    \b
    agent-runners forge-webhooks rotate shop
    """
    print_secret(client.rotate_forge_webhook_secret(find_site(client, site)["id"]), as_json=as_json)


@forge_webhooks.command()
@click.argument("site")
@json_option
@pass_client
def deliveries(client: Client, site: str, as_json: bool) -> None:
    """List what the forge delivered, newest first.

    \b
    agent-runners forge-webhooks deliveries shop
    """
    columns: Columns = {
        "at": "created_at",
        "event": "event",
        "number": lambda each: str(each["number"]),
        "state": "state",
        "runner": "agent_runner_id",
        "error": "error",
    }
    print_list(client.forge_deliveries(find_site(client, site)["id"]), columns, as_json=as_json)


@forge_webhooks.command()
@click.argument("site")
@json_option
@pass_client
def remove(client: Client, site: str, as_json: bool) -> None:
    """Delete the webhook of SITE. Its pull requests are checked from time to time, as before.

    \b
    agent-runners forge-webhooks remove shop
    """
    site_id = find_site(client, site)["id"]
    client.delete_forge_webhook(site_id)
    if as_json:
        print_json({"site_id": site_id})
