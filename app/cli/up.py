"""Start everything in the Procfile, the broker first, and stop it in order, the broker last.

The first start migrates the database and makes the first account; its token is shown once. Ctrl-C stops: workers get a
minute to put their sessions back into the queue. Ctrl-C again does not wait for them.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from honcho.environ import parse_procfile

from app.cli import init, migrate
from app.cli.errors import CommandError
from app.cli.processes import ROOT, absolute_paths, private_folder
from app.cli.procfile_runner import BROKER_GRACE_SECONDS, Supervisor
from app.cli.sandbox import find_warning
from app.config import Settings

BROKER = "broker"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--procfile", type=Path, default=ROOT / "Procfile", help="default: %(default)s")
    parser.add_argument("--token-file", type=Path, help="write the first token here instead of showing it")


def run(args: argparse.Namespace, settings: Settings) -> int:
    with _alone(settings):
        migrate.run(args, settings)
        first = argparse.ArgumentParser()
        init.add_arguments(first)
        given = ["--token-file", str(args.token_file)] if args.token_file else []
        init.run(first.parse_args(["--if-empty", *given]), settings)
        if warning := find_warning(settings):
            print(warning, file=sys.stderr, flush=True)
        return _supervise(_commands(args.procfile, settings), settings)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two sets of processes on one data folder would stop each other's broker."""
    with open(private_folder(settings.data_dir) / "up.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"everything runs already on {settings.data_dir.absolute()}") from None
        yield


def _commands(procfile: Path, settings: Settings) -> dict[str, str]:
    commands = dict(parse_procfile(procfile.read_text()).processes)
    if settings.broker_url:
        commands.pop(BROKER, None)
    return commands


def _supervise(commands: dict[str, str], settings: Settings) -> int:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    supervisor = Supervisor(commands, {**os.environ, **absolute_paths(settings), "PATH": path})
    ended = None
    if BROKER in commands:
        supervisor.start(BROKER, commands[BROKER])
        ended = supervisor.wait(until=lambda: _answers(settings))
    others = [name for name in commands if name != BROKER]
    if not (ended or supervisor.interrupted):
        for name in others:
            supervisor.start(name, commands[name])
        supervisor.say(
            f"the API is at {settings.public_url}/api/v1, to be read about at {settings.public_url}/api/v1/docs"
        )
        ended = supervisor.wait()
    supervisor.say(f"stopping, because {ended} ended" if ended else "stopping; once more to stop without waiting")
    supervisor.stop(others)
    supervisor.stop([BROKER], BROKER_GRACE_SECONDS)
    return 1 if ended else 0


def _answers(settings: Settings) -> bool:
    try:
        with redis.Redis(unix_socket_path=str(settings.broker_socket), socket_timeout=1) as broker:
            return bool(broker.ping())
    except redis.RedisError:
        return False
