"""Create and list accounts, and limit how many sessions of an account may run and wait."""

from __future__ import annotations

import argparse
import sys
import uuid

from app import db
from app.config import Settings
from app.escaping import readable
from app.services.accounts import accounts
from app.services.accounts.accounts import AccountLimits

LIMITS = {"max_concurrent_sessions": "sessions that may run at once", "max_queued_sessions": "sessions that may wait"}
NONE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="create an account, its user and an administrator's token, shown once")
    create.add_argument("account", help="name of the account")
    create.add_argument("--email", required=True, help="email address of its user; must be unique")
    create.add_argument("--name", default="Administrator", help="name of its user (default: %(default)s)")
    _add_limits(create)
    actions.add_parser("list", help="show every account with its limits")
    change = actions.add_parser("set", help="change the given limits")
    change.add_argument("id", type=uuid.UUID)
    _add_limits(change)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    for name, what in LIMITS.items():
        option = f"--{name.replace('_', '-')}"
        # An option that is not given sets no attribute, because None removes the limit.
        parser.add_argument(
            option, type=_limit, metavar="N", default=argparse.SUPPRESS, help=f"{what}; `{NONE}` removes the limit"
        )


def _limit(text: str) -> int | None:
    if text == NONE:
        return None
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number of at least 1 nor `{NONE}`")
    return int(text)


def run(args: argparse.Namespace, settings: Settings) -> int:
    db.configure(settings.database)
    with db.transaction():
        {"create": _create, "list": _list, "set": _set}[args.action](args)
    return 0


def _create(args: argparse.Namespace) -> None:
    user, token = accounts.create(args.account, args.email, args.name)
    accounts.set_limits(user.account_id, AccountLimits(**_limits(args)))
    print(f"Account {user.account_id}. The token of {user.email}, shown only once:", file=sys.stderr)
    print(token)


def _list(_args: argparse.Namespace) -> None:
    for account in accounts.find_all():
        running, waiting = (NONE if limit is None else limit for limit in _limits(account).values())
        limits = f"running {running:<6}  waiting {waiting:<6}"
        print(f"{account.id}  {account.created_at:%Y-%m-%d}  {limits}  {readable(' '.join(account.name.split()))}")


def _set(args: argparse.Namespace) -> None:
    accounts.set_limits(args.id, AccountLimits(**_limits(args)))


def _limits(given: object) -> dict[str, int | None]:
    return {name: getattr(given, name) for name in LIMITS if hasattr(given, name)}
