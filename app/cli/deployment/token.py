"""Create, list and revoke tokens."""

from __future__ import annotations

import sys
import uuid

import click

from app import db
from app.cli.deployment.init import EMAIL
from app.cli.processes import pass_settings
from app.config import Settings
from app.escaping import readable
from app.models.states import Scope
from app.services.accounts import tokens


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command(help="Create a token and show it once.")
@click.option("--user", default=EMAIL, metavar="EMAIL", show_default=True, help="User of the token.")
@click.option(
    "--scope", type=click.Choice([scope.value for scope in Scope]), default=Scope.WRITE.value, show_default=True
)
@click.option("--name", default="", help="Name that says what the token is for.")
@pass_settings
def create(settings: Settings, user: str, scope: str, name: str) -> None:
    db.configure(settings.database)
    with db.transaction():
        token, text = tokens.create_for_email(user, Scope(scope), name)
        print(f"Token {token.id} of {user} ({scope}), shown only once:", file=sys.stderr)
    print(text)


@command.command("list", help="Show all tokens, without their secret text.")
@pass_settings
def list_all(settings: Settings) -> None:
    db.configure(settings.database)
    with db.transaction():
        for token in tokens.find_all():
            state = f"revoked {token.revoked_at:%Y-%m-%d}" if token.revoked_at else "valid"
            if token.expires_at and not token.revoked_at:
                state = f"until {token.expires_at:%Y-%m-%d}"
            used = f"used {token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never used"
            # Line breaks in a name are replaced, so that a name cannot forge further lines.
            whose = readable(f"{token.user.email}  {' '.join(token.name.split())}")
            print(f"{token.id}  {token.scope:<6}  {token.created_at:%Y-%m-%d}  {state:<18}  {used:<15}  {whose}")


@command.command(help="Revoke a token.")
@click.argument("id", type=uuid.UUID)
@pass_settings
def revoke(settings: Settings, id: uuid.UUID) -> None:
    db.configure(settings.database)
    with db.transaction():
        tokens.revoke(id)
