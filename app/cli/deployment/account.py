"""Create and list accounts, and limit how many sessions of an account may run and wait."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import click

from app import db
from app.cli.processes import pass_settings
from app.config import Settings
from app.escaping import readable
from app.services.accounts import accounts
from app.services.accounts.accounts import AccountLimits

LIMITS = {"max_concurrent_sessions": "sessions that may run at once", "max_queued_sessions": "sessions that may wait"}
NONE = "none"


class _Limit(click.ParamType):
    """A limit, or None for `none`."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == NONE:
            # Click takes None for an option that was not given.
            return NONE
        if not value.isdecimal() or not 1 <= int(value) < 2**31:
            self.fail(f"{value!r} is neither a whole number of at least 1 nor `{NONE}`", param, ctx)
        return int(value)


def _limit_options(function: Callable[..., None]) -> Callable[..., None]:
    for name, what in LIMITS.items():
        option = click.option(
            f"--{name.replace('_', '-')}", type=_Limit(), help=f"{what.capitalize()}; `{NONE}` removes it."
        )
        function = option(function)
    return function


def _chosen(limits: Mapping[str, int | str | None]) -> AccountLimits:
    """The limits that were given. One that was not keeps its value."""
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return AccountLimits(**{name: limit if isinstance(limit, int) else None for name, limit in given.items()})


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command(help="Create an account, its user and an administrator's token, which is shown once.")
@click.argument("account")
@click.option("--email", required=True, help="Email address of its user; must be unique.")
@click.option("--name", default="Administrator", show_default=True, help="Name of its user.")
@_limit_options
@pass_settings
def create(settings: Settings, account: str, email: str, name: str, **limits: int | str | None) -> None:
    db.configure(settings.database)
    with db.transaction():
        user, token = accounts.create(account, email, name)
        accounts.set_limits(user.account_id, _chosen(limits))
        print(f"Account {user.account_id}. The token of {user.email}, shown only once:", file=sys.stderr)
    print(token)


@command.command("list", help="Show every account with its limits.")
@pass_settings
def list_all(settings: Settings) -> None:
    db.configure(settings.database)
    with db.transaction():
        for account in accounts.find_all():
            running, waiting = (
                NONE if limit is None else limit for limit in (getattr(account, name) for name in LIMITS)
            )
            limits = f"running {running:<6}  waiting {waiting:<6}"
            print(f"{account.id}  {account.created_at:%Y-%m-%d}  {limits}  {readable(' '.join(account.name.split()))}")


@command.command("set", help="Change the given limits.")
@click.argument("id", type=uuid.UUID)
@_limit_options
@pass_settings
def change(settings: Settings, id: uuid.UUID, **limits: int | str | None) -> None:
    db.configure(settings.database)
    with db.transaction():
        accounts.set_limits(id, _chosen(limits))
