"""Create the first account, its user and an administrator's token, which is shown once."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from app import db
from app.cli.processes import pass_settings, private_folder
from app.config import Settings
from app.errors import Conflict
from app.services.accounts import accounts

ACCOUNT, EMAIL, NAME = "Default", "admin@localhost", "Administrator"


@click.command(help=__doc__)
@click.option("--account", default=ACCOUNT, show_default=True, help="Name of the account.")
@click.option("--email", default=EMAIL, show_default=True, help="Email address of its user.")
@click.option("--name", default=NAME, show_default=True, help="Name of its user.")
@click.option("--if-empty", is_flag=True, help="Do nothing if there is an account already.")
@click.option("--token-file", type=Path, help="Write the token here (mode 0600) instead of showing it.")
@pass_settings
def command(settings: Settings, account: str, email: str, name: str, if_empty: bool, token_file: Path | None) -> None:
    if if_empty:
        create_if_empty(settings, token_file, account, email, name)
    else:
        _create(settings, token_file, account, email, name)


def create_if_empty(settings: Settings, token_file: Path | None, *names: str) -> None:
    """Create the first account, unless there is an account already. `names` are those of `_create`."""
    try:
        _create(settings, token_file, *names)
    except Conflict as error:
        if error.error_code != "already_initialised":
            raise


def _create(
    settings: Settings, token_file: Path | None, account: str = ACCOUNT, email: str = EMAIL, name: str = NAME
) -> None:
    private_folder(settings.data_dir)
    db.configure(settings.database)
    with db.transaction():
        user, token = accounts.init(account, email, name)
    if token_file:
        token_file.touch(mode=0o600)
        token_file.write_text(token)
    else:
        print(f"The token of {user.email}, shown only once:", file=sys.stderr)
        print(token, flush=True)
