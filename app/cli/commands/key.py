"""Check that this machine has the deployment's secret key, or accept its key as the deployment's.

Accept a key only where the old one is lost: what was encrypted with that stays unreadable, so the credentials of each
site are to be set again. Then start every other process with the new key.
"""

from __future__ import annotations

import argparse

from app import db
from app.config import Settings
from app.services import secret_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="say whether this machine has the deployment's key")
    actions.add_parser("accept", help="make the key of this machine the deployment's")


def run(args: argparse.Namespace, settings: Settings) -> int:
    db.configure(settings.database)
    with db.transaction():
        {"check": secret_key.require_same, "accept": secret_key.accept}[args.action]()
    print("This machine has the deployment's key.")
    return 0
