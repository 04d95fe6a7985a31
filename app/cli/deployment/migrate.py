"""Upgrade the database to the newest revision, and set up the folder for artifacts if they are stored in one."""

from __future__ import annotations

import sys

import click

from app import artifacts, db
from app.artifacts import LocalStore
from app.cli.errors import CommandError
from app.cli.processes import pass_settings, private_folder
from app.config import Settings
from app.escaping import readable
from app.services.artifacts import references
from migrations import config


@click.command(help=__doc__)
@pass_settings
def command(settings: Settings) -> None:
    upgrade(settings)


def upgrade(settings: Settings) -> None:
    """Do all of it. Raises CommandError if the folder for artifacts cannot be used."""
    private_folder(settings.data_dir)
    if note := config.migrate(settings.database):
        print(f"agent-runners migrate: {readable(note)}", file=sys.stderr)
    if store := artifacts.local_store():
        db.configure(settings.database)
        _set_up(store)


def _set_up(store: LocalStore) -> None:
    """Raises CommandError if the folder cannot be the store, for example because its disk is not mounted."""
    with db.transaction(read_only=True):
        is_used = any(references.every_key())
    try:
        if is_used and not any(store.root.iterdir()):
            raise CommandError(
                f"{store.root} is empty, but the database refers to files in it. Mount its disk, then try again"
            )
        store.set_up()
    except OSError as error:
        raise CommandError(
            f"{error}. Make the folder writable, or set AGENT_RUNNERS_ARTIFACTS_DIR to another one"
        ) from error
