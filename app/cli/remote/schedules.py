"""Start runs at certain times."""

from __future__ import annotations

from typing import Any

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import Columns, json_option, print_json, print_list, say, title_of
from app.cli.remote.sites import find_site
from app.client import Client


@click.group()
def schedules() -> None:
    """Start runs at certain times.

    SITE is the name or the id of a site, and SCHEDULE the id of a schedule.
    """


@schedules.command("list")
@click.argument("site")
@json_option
@pass_client
def list_schedules(client: Client, site: str, as_json: bool) -> None:
    """List the schedules of SITE.

    \b
    agent-runners schedules list shop
    """
    columns: Columns = {
        "id": "id",
        "cron": "cron",
        "time zone": "timezone",
        "next": _next,
        "error": "last_error",
        "what": title_of,
    }
    print_list(client.schedules(find_site(client, site)["id"]), columns, as_json=as_json)


def _next(schedule: dict[str, Any]) -> str:
    return schedule["next_run_at"] or "stopped"


@schedules.command()
@click.argument("site")
@click.argument("cron")
@click.argument("prompt")
@click.option("--timezone", help="The time zone of CRON, such as Europe/Berlin. Default: UTC.")
@click.option("--name", help="The title of its runs.")
@click.option("--agent", help="Default: that of the site.")
@click.option("--model", help="Default: that of the site.")
@click.option("--branch", help="The branch to start from. Default: that of the site.")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue", "replace"]),
    help="What to do at a time when the run before has not ended. Default: skip.",
)
@json_option
@pass_client
def add(client: Client, site: str, cron: str, prompt: str, as_json: bool, **fields: Any) -> None:
    """Run PROMPT on SITE at each time of the expression CRON.

    \b
    agent-runners schedules add shop "0 9 * * MON" "Update the dependencies." --timezone Europe/Berlin
    """
    given = {name: value for name, value in fields.items() if value is not None}
    schedule = client.create_schedule(find_site(client, site)["id"], cron, prompt, **given)
    if as_json:
        print_json(schedule)
        return
    print(schedule["id"])
    say(f"Its next times are {', '.join(schedule['next_times'])}.")


@schedules.command()
@click.argument("site")
@click.argument("schedule")
@json_option
@pass_client
def stop(client: Client, site: str, schedule: str, as_json: bool) -> None:
    """Start no more runs, until `start`.

    \b
    agent-runners schedules stop shop 0197c1de-0000-7000-8000-000000000009
    """
    changed = client.update_schedule(find_site(client, site)["id"], schedule, active=False)
    if as_json:
        print_json(changed)


@schedules.command()
@click.argument("site")
@click.argument("schedule")
@json_option
@pass_client
def start(client: Client, site: str, schedule: str, as_json: bool) -> None:
    """Go on with a stopped schedule, at its next time.

    \b
    agent-runners schedules start shop 0197c1de-0000-7000-8000-000000000009
    """
    changed = client.update_schedule(find_site(client, site)["id"], schedule, active=True)
    if as_json:
        print_json(changed)


@schedules.command()
@click.argument("site")
@click.argument("schedule")
@json_option
@pass_client
def run(client: Client, site: str, schedule: str, as_json: bool) -> None:
    """Start a run of a schedule now, and print the run's id.

    \b
    agent-runners schedules run shop 0197c1de-0000-7000-8000-000000000009
    """
    started = client.run_schedule(find_site(client, site)["id"], schedule)
    print_json(started) if as_json else print(started["last_runner_id"])


@schedules.command()
@click.argument("site")
@click.argument("schedule")
@json_option
@pass_client
def remove(client: Client, site: str, schedule: str, as_json: bool) -> None:
    """Delete a schedule. Runs that it started stay.

    \b
    agent-runners schedules remove shop 0197c1de-0000-7000-8000-000000000009
    """
    client.delete_schedule(find_site(client, site)["id"], schedule)
    if as_json:
        print_json({"id": schedule})
