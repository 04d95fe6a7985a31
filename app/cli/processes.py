"""Helpers for commands that start other programs: environments, private folders and ports."""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

from app.cli.errors import CommandError
from app.config import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
P = ParamSpec("P")
T = TypeVar("T")


def pass_settings(function: Callable[Concatenate[Settings, P], T]) -> Callable[P, T]:
    """Call a command with the settings, which are read once its own options turned out to be right."""

    @functools.wraps(function)
    def with_settings(*arguments: P.args, **options: P.kwargs) -> T:
        return function(Settings.from_environment(), *arguments, **options)

    return with_settings


def become_module(
    settings: Settings, module: str, *arguments: str, variables: Mapping[str, str] | None = None
) -> NoReturn:
    """Replace this process with `python -m module ...`, so that signals reach the program directly."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, **absolute_paths(settings), **(variables or {})}
    # Celery and gunicorn import from the current folder first. It must not be the user's own project.
    os.chdir(ROOT)
    os.execve(command[0], command, environment)


def absolute_paths(settings: Settings) -> dict[str, str]:
    """Variables with the folders of `settings` as absolute paths, for processes that run in another folder."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {PREFIX + name.upper(): str(path.absolute()) for name, path in values.items() if isinstance(path, Path)}


def private_folder(path: Path) -> Path:
    """Create a folder that only its owner can access. Raises `CommandError` if another user owns it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise CommandError(f"{path} must be a folder that you own. Remove it, or choose another folder")
    path.chmod(0o700)
    return path


def end_with_parent() -> list[str]:
    """A command prefix with which a process gets SIGTERM if we are killed. Empty if the system has no `setpriv`."""
    program = shutil.which("setpriv") if sys.platform == "linux" else None
    return [program, "--pdeathsig", "TERM", "--"] if program else []


def require_free_port(host: str, port: int, setting: str) -> None:
    """Raises `CommandError` with the setting that changes the port if the port cannot be used.

    The server that is started next would report it less clearly, and only after some retries.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise CommandError(
                f"port {port} on {host} {reason}. Stop the program that uses it, or choose another port with {setting}"
            ) from None


def free_port(wanted: int, taken: int = 0) -> int:
    """The wanted port if it is free, else any other free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if probe.getsockname()[1] != taken:
                return int(probe.getsockname()[1])
    raise CommandError("this machine has no free port. Stop a program that uses one")
