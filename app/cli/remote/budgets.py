"""Budgets of the account, its sites, users and schedules."""

from __future__ import annotations

from typing import Any

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import Columns, json_option, print_json, print_list
from app.cli.remote.sites import find_site
from app.client import Client


@click.group()
def budgets() -> None:
    """Show what is used of budgets, and set them."""


@budgets.command("list")
@json_option
@pass_client
def list_budgets(client: Client, as_json: bool) -> None:
    """List budgets, with what is used of them and when their period ends.

    \b
    agent-runners budgets list
    """
    names = {} if as_json else {each["id"]: each["name"] for each in client.sites()}
    columns: Columns = {
        "for": lambda each: _whose(each, names),
        "per": "period",
        "cost": lambda each: _of(each["used_cost_usd"], each["max_cost_usd"], "$"),
        "tokens": lambda each: _of(each["used_tokens"], each["max_tokens"], ""),
        "until": "period_end",
        "id": "id",
    }
    print_list(client.budgets(), columns, as_json=as_json)


@budgets.command("set")
@click.option("--site", help="The name or the id of a site. Default: all sites of the account together.")
@click.option("--user", "user_id", help="The id of a user, for what that user requests.")
@click.option("--schedule", "schedule_id", help="The id of a schedule, for the runners that it creates.")
@click.option("--per", "period", type=click.Choice(["day", "month"]), default="month", show_default=True)
@click.option("--cost", "max_cost_usd", type=float, help="The most US dollars.")
@click.option("--tokens", "max_tokens", type=int, help="The most tokens, read and written.")
@json_option
@pass_client
def set_budget(
    client: Client,
    site: str | None,
    user_id: str | None,
    schedule_id: str | None,
    period: str,
    as_json: bool,
    **limits: Any,
) -> None:
    """Create a budget, or change the limits that are given.

    \b
    agent-runners budgets set --per month --cost 200
    """
    site_id = find_site(client, site)["id"] if site else None
    whose = {"site_id": site_id, "user_id": user_id, "schedule_id": schedule_id}
    given = {name: value for name, value in limits.items() if value is not None}
    wanted = {**whose, "period": period}
    known = [each["id"] for each in client.budgets() if all(each[name] == wanted[name] for name in wanted)]
    made = client.update_budget(known[0], **given) if known else client.create_budget(period, **whose, **given)
    if as_json:
        print_json(made)


@budgets.command()
@click.argument("budget")
@json_option
@pass_client
def remove(client: Client, budget: str, as_json: bool) -> None:
    """Delete the budget with the id BUDGET.

    \b
    agent-runners budgets remove 0197c1de-0000-7000-8000-000000000009
    """
    client.delete_budget(budget)
    if as_json:
        print_json({"id": budget})


def _whose(budget: dict[str, Any], names: dict[str, str]) -> str:
    for kind in ("user", "schedule"):
        if found := budget[f"{kind}_id"]:
            return f"{kind} {found}"
    return names.get(budget["site_id"], "(all sites)")


def _of(used: float | None, most: float | None, unit: str) -> str:
    shown = "unknown" if used is None else f"{unit}{used:,.10g}"
    return shown if most is None else f"{shown} of {unit}{most:,.10g}"
