"""Log in to a deployment or its console, log out, and show who is logged in."""

from __future__ import annotations

import webbrowser
from urllib.parse import urlsplit

import click

from app.cli.errors import CommandError
from app.cli.remote import connection
from app.cli.remote.connection import DEFAULT_URL, Login, connect, pass_client
from app.cli.remote.output import json_option, print_fields, print_json, read_token, say
from app.client import Client

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@click.command()
@click.argument("url", default=DEFAULT_URL)
@json_option
def login(url: str, as_json: bool) -> None:
    """Save a token for the deployment at URL, after a check that it works there.

    The token is asked for, or read from standard input. It is saved in a file that only you can read.

    \b
    agent-runners login https://agents.example.org
    agent-runners token create | agent-runners login
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter(f"{url!r} is not the URL of a deployment, such as {DEFAULT_URL}", param_hint="URL")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        say("Warning: the token is sent over an unencrypted connection. Use https.")
    token = read_token()
    if not token.isascii() or not token.isprintable() or not token:
        raise CommandError("that is not a token. Tokens begin with `ar_`; `agent-runners token create` makes one")
    found = Login(url.rstrip("/"), token)
    with connect(found) as client:
        me = client.me()
    say(f"Logged in to {found.url} as {me['email']}. Saved in {connection.save(found)}.")
    if as_json:
        print_json(me)


@click.command()
@json_option
def logout(as_json: bool) -> None:
    """Forget the saved token. The token itself stays valid until it is revoked.

    \b
    agent-runners logout
    """
    forgotten = connection.forget()
    if as_json:
        print_json({"url": forgotten and forgotten.url})
    elif forgotten:
        say(f"Logged out of {forgotten.url}. The token is still valid; `agent-runners tokens revoke ID` ends one.")
    else:
        say("You were not logged in.")


@click.command()
@json_option
@pass_client
def whoami(client: Client, as_json: bool) -> None:
    """Show the user and the token that are used, and the deployment.

    \b
    agent-runners whoami
    """
    me = client.me()
    if as_json:
        print_json(me)
        return
    print_fields(
        {
            "deployment": client.url,
            "user": f"{me['full_name']} <{me['email']}>",
            "account": me["account"]["name"],
            "role": me["role"],
            "token": f"{me['token']['name'] or me['token']['id']} ({me['token']['scope']})",
            "expires": me["token"]["expires_at"],
        }
    )


@click.command()
@click.option("--print", "is_printed", is_flag=True, help="Print the link instead of opening it.")
@json_option
@pass_client
def console(client: Client, is_printed: bool, as_json: bool) -> None:
    """Open the console in the browser. The link signs you in once, within ten minutes.

    \b
    agent-runners console
    """
    link = client.create_console_link()
    if as_json:
        print_json({"url": link})
    elif is_printed or not webbrowser.open(link):
        print(link)
