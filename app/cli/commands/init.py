"""Create the first account, its user and an administrator's token, which is shown once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app import db
from app.cli.processes import private_folder
from app.config import Settings
from app.errors import Conflict
from app.services.accounts import accounts

EMAIL = "admin@localhost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", default="Default", help="name of the account (default: %(default)s)")
    parser.add_argument("--email", default=EMAIL, help="email address of its user (default: %(default)s)")
    parser.add_argument("--name", default="Administrator", help="name of its user (default: %(default)s)")
    parser.add_argument("--if-empty", action="store_true", help="do nothing if there is an account already")
    parser.add_argument("--token-file", type=Path, help="write the token here (mode 0600) instead of showing it")


def run(args: argparse.Namespace, settings: Settings) -> int:
    private_folder(settings.data_dir)
    db.configure(settings.database)
    try:
        with db.transaction():
            user, token = accounts.init(args.account, args.email, args.name)
    except Conflict as error:
        if args.if_empty and error.error_code == "already_initialised":
            return 0
        raise
    if args.token_file:
        args.token_file.touch(mode=0o600)
        args.token_file.write_text(token)
    else:
        print(f"The token of {user.email}, shown only once:", file=sys.stderr)
        print(token, flush=True)
    return 0
