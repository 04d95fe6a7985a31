"""Which runner a command is about."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from app.cli.errors import CommandError
from app.cli.remote import checkout
from app.cli.remote.output import say
from app.client import Client

Function = TypeVar("Function", bound=Callable[..., Any])
_SHORT = 8
_SEARCHED = 100


def runner_argument(function: Function) -> Function:
    """Adds the argument RUNNER."""
    return click.argument("given", metavar="[RUNNER]", required=False)(function)


def short_id(runner_id: str) -> str:
    """The end of an id, which differs between runners. Ids begin with the time, so those of one day begin alike."""
    return runner_id[-_SHORT:]


def find_runner(client: Client, given: str | None) -> dict[str, Any]:
    """The runner with this id or end of an id. Without one, your newest: in a checkout of a site, of that site.

    Raises CommandError if there is none, or more than one.
    """
    if given is None:
        return _newest(client)
    try:
        return client.get_runner(str(uuid.UUID(given)))
    except ValueError:
        found = [runner for runner in client.runners(per_page=_SEARCHED) if runner["id"].endswith(given.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(f"{len(found)} runners end in {given!r}. Give more of the id")
    raise CommandError(
        f"none of the {_SEARCHED} newest runners ends in {given!r}. `agent-runners list` shows them; give the whole id of "
        "an older or archived one"
    )


def _newest(client: Client) -> dict[str, Any]:
    filters = {"user_id": client.me()["id"], "per_page": 1}
    if (found := checkout.find(Path())) and (site := checkout.find_site(client.sites(), found.remotes)):
        filters["site_id"] = site["id"]
    runners = client.runners(**filters)
    if not runners:
        raise CommandError("you have no runner here yet. `agent-runners run PROMPT` starts one")
    say(f"Runner {short_id(runners[0]['id'])}: {runners[0]['title']}")
    newest: dict[str, Any] = runners[0]
    return newest
