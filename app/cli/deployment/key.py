"""Check that this machine has the deployment's secret key, or make its key the deployment's.

Accept a new key only if the old one is lost. Data that was encrypted with the old key stays unreadable, so set the
credentials of each site again. Then restart all other processes with the new key.
"""

from __future__ import annotations

import click

from app import db
from app.cli.processes import pass_settings
from app.config import Settings
from app.services import secret_key


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command(help="Check whether this machine has the deployment's key.")
@pass_settings
def check(settings: Settings) -> None:
    db.configure(settings.database)
    with db.transaction():
        secret_key.require_same()
    _confirm()


@command.command(help="Make this machine's key the deployment's key.")
@pass_settings
def accept(settings: Settings) -> None:
    db.configure(settings.database)
    with db.transaction():
        secret_key.accept()
    _confirm()


def _confirm() -> None:
    print("This machine has the deployment's key.")
