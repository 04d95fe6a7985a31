"""Start all processes in the Procfile, the broker first, and stop them in order, the broker last.

The first start migrates the database and creates the first account. Its token is shown once. Ctrl-C stops everything:
workers get a minute to requeue their sessions. Press Ctrl-C again to stop without waiting.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import httpx
import redis
from honcho.environ import parse_procfile
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from app import db
from app.cli.deployment import init, migrate
from app.cli.errors import CommandError
from app.cli.processes import ROOT, absolute_paths, pass_settings, private_folder
from app.cli.procfile_runner import BROKER_GRACE_SECONDS, Supervisor
from app.cli.sandbox import find_warning
from app.config import PREFIX, Settings
from app.deployment_secrets import made_once_file
from app.services import secret_key

BROKER, FLOWER, MCP = "broker", "flower", "mcp"
ASK_SECONDS = 0.5


@click.command(help=__doc__)
@click.option("--procfile", type=Path, default=ROOT / "Procfile", show_default=True)
@click.option("--token-file", type=Path, help="Write the first token to this file instead of showing it.")
@click.option("--without", multiple=True, metavar="NAME", help="Do not start this process, such as flower. Repeatable.")
@pass_settings
def command(settings: Settings, procfile: Path, token_file: Path | None, without: tuple[str, ...]) -> None:
    commands = _commands(procfile, settings, without)
    with _locked(settings):
        migrate.upgrade(settings)
        init.create_if_empty(settings, token_file)
        with db.transaction():
            secret_key.require_same()
        if warning := find_warning(settings):
            print(warning, file=sys.stderr, flush=True)
        _supervise(commands, settings)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Lock the data folder. Two sets of processes that share one would stop each other's broker."""
    with open(private_folder(settings.data_dir) / "up.lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"the processes are already running with {settings.data_dir.absolute()}. Stop them first, or set "
                "AGENT_RUNNERS_DATA_DIR to another folder"
            ) from None
        # Whom to signal.
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _commands(procfile: Path, settings: Settings, without: tuple[str, ...]) -> dict[str, str]:
    try:
        commands = dict(parse_procfile(procfile.read_text()).processes)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CommandError(
            f"{procfile} cannot be read: {reason}. Give --procfile the path of a Procfile; the default is at the top "
            "of the repository"
        ) from None
    if not commands:
        raise CommandError(f"{procfile} has no processes. Each line must be a name, a colon and a command")
    if unknown := set(without) - set(commands):
        raise CommandError(f"{procfile} has no process {', '.join(sorted(unknown))}. It has: {', '.join(commands)}")
    if settings.broker_url:
        commands.pop(BROKER, None)
    for name in without:
        commands.pop(name, None)
    return commands


def _supervise(commands: dict[str, str], settings: Settings) -> None:
    supervisor = Supervisor(commands, _environment(settings))
    ended = None
    if BROKER in commands:
        supervisor.start(BROKER, commands[BROKER])
        ended = supervisor.wait(until=lambda: _answers(settings))
    others = [name for name in commands if name != BROKER]
    if not (ended or supervisor.interrupted):
        for name in others:
            supervisor.start(name, commands[name])
        ended = supervisor.wait(until=_readiness(settings.local_url))
        if not (ended or supervisor.interrupted):
            _show_ready(settings, others)
            ended = supervisor.wait()
    supervisor.say(
        f"stopping, because {ended} ended" if ended else "stopping; press Ctrl-C again to stop without waiting"
    )
    supervisor.stop(others)
    supervisor.stop([BROKER], BROKER_GRACE_SECONDS)
    if ended:
        raise CommandError(f"stopped, because {ended} ended. Its last line was: {supervisor.last_line(ended)}")


def _environment(settings: Settings) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, **absolute_paths(settings), "PATH": path}
    if settings.log_format == "auto" and sys.stdout.isatty():
        # The processes write to a pipe, which we print on the terminal.
        environment[f"{PREFIX}LOG_FORMAT"] = "text"
    return environment


def _readiness(url: str) -> Callable[[], bool]:
    """A function that checks whether the API is ready, at most every half second."""
    next_at = 0.0

    def is_ready() -> bool:
        nonlocal next_at
        if time.monotonic() < next_at:
            return False
        next_at = time.monotonic() + ASK_SECONDS
        try:
            # Without the certificates, which take longer to read than the call, each time.
            answer = httpx.get(f"{url}/readyz", timeout=ASK_SECONDS, trust_env=False, verify=False)
            return answer.status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    return is_ready


def _show_ready(settings: Settings, names: Sequence[str]) -> None:
    rows = {
        "Console": f"{settings.public_url}/",
        "API": f"{settings.public_url}/api/v1",
        "Reference": f"{settings.public_url}/api/v1/docs",
    }
    if MCP in names:
        rows["MCP"] = f"http://127.0.0.1:{settings.mcp_port}/mcp"
    if FLOWER in names:
        password = "" if settings.flower_auth else f" (user:password in {made_once_file(settings, 'flower_auth')})"
        rows["Flower"] = f"http://127.0.0.1:{settings.flower_port}{password}"
    rows["Token"] = "agent-runners token create (the first start shows one)"
    rows["Stop"] = "Ctrl-C"
    text = Text("\n".join(f"{name:<11}{value}" for name, value in rows.items()), overflow="fold")
    Console(file=sys.stdout, highlight=False).print(Panel(text, title="ready", expand=False))


def _answers(settings: Settings) -> bool:
    try:
        with redis.Redis(unix_socket_path=str(settings.broker_socket), socket_timeout=1) as broker:
            return bool(broker.ping())
    except redis.RedisError:
        return False
