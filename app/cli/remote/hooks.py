"""Let other systems start runs."""

from __future__ import annotations

from typing import Any

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import Columns, json_option, print_json, print_list, print_secret, title_of
from app.cli.remote.sites import find_site
from app.client import Client


@click.group()
def hooks() -> None:
    """Let other systems start runs, by a request that they send.

    SITE is the name or the id of a site, and HOOK the id of a hook. Changes need a token with the scope `admin`.
    """


@hooks.command("list")
@click.argument("site")
@json_option
@pass_client
def list_hooks(client: Client, site: str, as_json: bool) -> None:
    """List the hooks of SITE.

    \b
    agent-runners hooks list shop
    """
    columns: Columns = {"id": "id", "state": _state, "url": "url", "what": title_of}
    print_list(client.hooks(find_site(client, site)["id"]), columns, as_json=as_json)


@hooks.command()
@click.argument("site")
@click.argument("prompt")
@click.option("--name", help="A name for people.")
@click.option(
    "--subject", help="Deliveries with the same subject go to the same runner, such as 'issue-{{ issue.number }}'."
)
@click.option(
    "--when", "conditions", multiple=True, metavar="PLACE=TEXT", help="Only if this place has this text. Repeatable."
)
@click.option("--agent", help="Default: that of the site.")
@click.option("--model", help="Default: that of the site.")
@click.option("--branch", help="The branch to start from. Default: that of the site.")
@json_option
@pass_client
def add(
    client: Client, site: str, prompt: str, conditions: tuple[str, ...], as_json: bool, **fields: str | None
) -> None:
    """Run PROMPT on SITE for each delivery. `{{ place }}` in it is replaced by the value at that place of the JSON.

    Prints the URL, and the secret that senders need, which is not shown again.

    \b
    agent-runners hooks add shop "Fix this issue: {{ issue.title }}" --when label.name=agent
    """
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if conditions:
        given["conditions"] = [_condition(each) for each in conditions]
    print_secret(client.create_hook(find_site(client, site)["id"], prompt, **given), as_json=as_json)


@hooks.command()
@click.argument("site")
@click.argument("hook")
@json_option
@pass_client
def stop(client: Client, site: str, hook: str, as_json: bool) -> None:
    """Refuse what is delivered, until `start`.

    \b
    agent-runners hooks stop shop 0197c1de-0000-7000-8000-000000000009
    """
    changed = client.update_hook(find_site(client, site)["id"], hook, active=False)
    if as_json:
        print_json(changed)


@hooks.command()
@click.argument("site")
@click.argument("hook")
@json_option
@pass_client
def start(client: Client, site: str, hook: str, as_json: bool) -> None:
    """Accept deliveries to a stopped hook again.

    \b
    agent-runners hooks start shop 0197c1de-0000-7000-8000-000000000009
    """
    changed = client.update_hook(find_site(client, site)["id"], hook, active=True)
    if as_json:
        print_json(changed)


@hooks.command()
@click.argument("site")
@click.argument("hook")
@json_option
@pass_client
def rotate(client: Client, site: str, hook: str, as_json: bool) -> None:
    """Replace the secret, and print the new one. The old one is refused from then on.

    \b
    agent-runners hooks rotate shop 0197c1de-0000-7000-8000-000000000009
    """
    print_secret(client.rotate_hook_secret(find_site(client, site)["id"], hook), as_json=as_json)


@hooks.command()
@click.argument("site")
@click.argument("hook")
@json_option
@pass_client
def deliveries(client: Client, site: str, hook: str, as_json: bool) -> None:
    """List what was delivered to a hook and what it started, newest first.

    \b
    agent-runners hooks deliveries shop 0197c1de-0000-7000-8000-000000000009
    """
    found = client.hook_deliveries(find_site(client, site)["id"], hook)
    columns: Columns = {
        "at": "created_at",
        "state": "state",
        "subject": "subject",
        "runner": "agent_runner_id",
        "error": "error",
    }
    print_list(found, columns, as_json=as_json)


@hooks.command()
@click.argument("site")
@click.argument("hook")
@json_option
@pass_client
def remove(client: Client, site: str, hook: str, as_json: bool) -> None:
    """Delete a hook. Runs that it started stay.

    \b
    agent-runners hooks remove shop 0197c1de-0000-7000-8000-000000000009
    """
    client.delete_hook(find_site(client, site)["id"], hook)
    if as_json:
        print_json({"id": hook})


def _condition(text: str) -> dict[str, str]:
    place, sign, expected = text.partition("=")
    if not sign:
        raise click.UsageError(f"--when {text} has no =. Write --when PLACE=TEXT.")
    return {"place": place, "equals": expected}


def _state(hook: dict[str, Any]) -> str:
    return "active" if hook["active"] else "stopped"
