"""The deployment on the user's own machine that `run --local` starts, unless it is running."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import click

from app.cli.errors import CommandError
from app.cli.processes import ROOT, private_folder, require_free_port
from app.cli.remote.connection import TOKEN as TOKEN_VARIABLE
from app.cli.remote.connection import URL, Login, has_saved, save
from app.cli.remote.output import say
from app.client import Client, ClientError
from app.config import PREFIX, Settings

START_SECONDS = 300.0
_POLL_SECONDS = 0.2
_LINES_SHOWN = 5


def local_login() -> Login:
    """The login of the deployment on this machine. It is started if it does not answer, and continues after we end."""
    environment = {f"{PREFIX}DATA_DIR": str(Path(click.get_app_dir("agent-runners")) / "local"), **os.environ}
    settings = Settings.from_environment(environment)
    folder = private_folder(settings.data_dir.absolute())
    token_file, url = folder / "token", settings.local_url
    login = _answering(url, token_file)
    if login is None:
        require_free_port(settings.web_host, settings.web_port, f"{PREFIX}WEB_PORT")
        say(f"Starting a deployment in {folder} ...")
        login = _start(url, token_file, environment | {f"{PREFIX}DATA_DIR": str(folder)}, folder / "log.txt")
        say(f"It continues after this command. Its log is {folder / 'log.txt'}.")
        _remember(login, token_file)
    pid = (folder / "up.lock").read_text().strip()
    say(f"Using the deployment at {url}. To stop it: kill {pid}")
    return login


def _answering(url: str, token_file: Path) -> Login | None:
    """The login, if the deployment that the token belongs to answers.

    Unless that runs, another user of this machine may have taken its port, and would be sent the token.
    """
    if not _is_running(token_file.with_name("up.lock")):
        return None
    with contextlib.suppress(FileNotFoundError, ClientError):
        login = Login(url, token_file.read_text())
        with Client(login.url, login.token, timeout=5.0, retries=0) as client:
            client.me()
        return login
    return None


def _is_running(lock: Path) -> bool:
    """Whether the process that `agent-runners up` has written down is one of this user."""
    try:
        os.kill(int(lock.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def _start(url: str, token_file: Path, environment: dict[str, str], log: Path) -> Login:
    command = [sys.executable, "-m", "app.cli.main", "up", "--token-file", str(token_file)]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*command, "--without", "flower", "--without", "mcp"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches only us.
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if login := _answering(url, token_file):
            return login
        time.sleep(_POLL_SECONDS)
    process.terminate()
    last = "\n".join(log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:])
    raise CommandError(f"the deployment did not start. The end of {log}:\n{last}")


def _remember(login: Login, token_file: Path) -> None:
    """Log in to it for the commands that follow, unless the user is logged in somewhere."""
    if os.environ.get(TOKEN_VARIABLE) or has_saved():
        say(
            f"Your saved login is unchanged. For other commands: export {URL}={login.url} {TOKEN_VARIABLE}=$(cat {token_file})"
        )
    else:
        save(login)
