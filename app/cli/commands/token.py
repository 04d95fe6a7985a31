"""Create, list and revoke tokens."""

from __future__ import annotations

import argparse
import sys
import uuid

from app import db
from app.cli.commands.init import EMAIL
from app.config import Settings
from app.escaping import readable
from app.models.states import Scope
from app.services.accounts import tokens


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="create a token and show it once")
    create.add_argument("--user", default=EMAIL, metavar="EMAIL", help="user of the token (default: %(default)s)")
    create.add_argument("--scope", type=Scope, choices=list(Scope), default=Scope.WRITE, help="default: %(default)s")
    create.add_argument("--name", default="", help="name that says what the token is for")
    actions.add_parser("list", help="show all tokens, without their secret text")
    revoke = actions.add_parser("revoke", help="revoke a token")
    revoke.add_argument("id", type=uuid.UUID)


def run(args: argparse.Namespace, settings: Settings) -> int:
    db.configure(settings.database)
    with db.transaction():
        {"create": _create, "list": _list, "revoke": _revoke}[args.action](args)
    return 0


def _create(args: argparse.Namespace) -> None:
    token, text = tokens.create_for_email(args.user, args.scope, args.name)
    print(f"Token {token.id} of {args.user} ({args.scope}), shown only once:", file=sys.stderr)
    print(text)


def _list(_args: argparse.Namespace) -> None:
    for token in tokens.find_all():
        state = f"revoked {token.revoked_at:%Y-%m-%d}" if token.revoked_at else "valid"
        # Line breaks in a name are replaced, so that a name cannot forge further lines.
        whose = readable(f"{token.user.email}  {' '.join(token.name.split())}")
        print(f"{token.id}  {token.scope:<6}  {token.created_at:%Y-%m-%d}  {state:<18}  {whose}")


def _revoke(args: argparse.Namespace) -> None:
    tokens.revoke(args.id)
