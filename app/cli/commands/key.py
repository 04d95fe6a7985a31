"""Check that this machine has the deployment's secret key, or make its key the deployment's.

Accept a new key only if the old one is lost. Data that was encrypted with the old key stays unreadable, so set the
credentials of each site again. Then restart all other processes with the new key.
"""

from __future__ import annotations

import argparse

from app import db
from app.config import Settings
from app.services import secret_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="check whether this machine has the deployment's key")
    actions.add_parser("accept", help="make this machine's key the deployment's key")


def run(args: argparse.Namespace, settings: Settings) -> int:
    db.configure(settings.database)
    with db.transaction():
        {"check": secret_key.require_same, "accept": secret_key.accept}[args.action]()
    print("This machine has the deployment's key.")
    return 0
