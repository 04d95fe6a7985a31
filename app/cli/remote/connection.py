"""Which deployment the command line calls, and with which token."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from app.cli.errors import CommandError, ExitStatus
from app.client import Client, ClientError
from app.config import CLIENT_VARIABLES

URL, TOKEN = CLIENT_VARIABLES
DEFAULT_URL = "http://127.0.0.1:8750"
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Login:
    """A deployment and a token of it."""

    url: str
    token: str


def find_login() -> Login:
    """The login in the environment, else the one that `login` saved. Raises CommandError if there is none."""
    saved = _read()
    if token := os.environ.get(TOKEN):
        return Login(os.environ.get(URL) or (saved.url if saved else DEFAULT_URL), token)
    if saved is None:
        raise CommandError(
            f"you are not logged in. Run `agent-runners login URL`, or set {URL} and {TOKEN}. On the machine of a "
            "deployment, `agent-runners token create` makes a token. `agent-runners run --local` starts a deployment here"
        )
    return saved


def save(login: Login) -> Path:
    """Save the login in a file that only the user can read. Returns its path."""
    path = _file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps(asdict(login)))
    return path


def has_saved() -> bool:
    """Whether `login` saved a login."""
    return _file().exists()


def forget() -> Login | None:
    """Remove the saved login and return it."""
    saved = _read()
    _file().unlink(missing_ok=True)
    return saved


def _read() -> Login | None:
    try:
        return Login(**json.loads(_file().read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise CommandError(f"{_file()} is damaged. Run `agent-runners login` again") from error


def _file() -> Path:
    return Path(click.get_app_dir("agent-runners")) / "login.json"


@contextmanager
def connect(login: Login) -> Iterator[Client]:
    """A client of the deployment, whose errors end the command."""
    try:
        # What takes the place of the network, if anything does.
        with Client(login.url, login.token, transport=click.get_current_context().obj) as client:
            yield client
    except ClientError as error:
        raise CommandError(str(error), ExitStatus.ERROR if error.status else ExitStatus.UNREACHABLE) from error


def pass_client(function: Callable[Concatenate[Client, P], T]) -> Callable[P, T]:
    """Call a command with a client of the deployment that the user is logged in to."""

    @functools.wraps(function)
    def with_client(*arguments: P.args, **options: P.kwargs) -> T:
        with connect(find_login()) as client:
            return function(client, *arguments, **options)

    return with_client
