"""Turns a process that the supervisor forked into the command: its user, limits, priority, files and environment."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from . import system_calls
from .confinement import confine
from .messages import receive
from .priority import FOR_AGENTS, lower_priority

LINUX = sys.platform == "linux"
CANNOT_START = 127

_OOM_SCORE = 1000


def become_command(
    orders: socket.socket, groups: Sequence[str], network_options: Sequence[str], inherited: Sequence[int]
) -> NoReturn:
    """Join the control groups, and execute the command of the `Launch` that arrives with its streams on `orders`.

    If the command has a network, `network_options` are added to it, and the descriptors in `inherited` stay open in it.
    """
    failure: Exception | None = None
    try:
        _join(groups)
    except OSError as error:
        # Reported where the command's output goes.
        failure = error
    message = receive(orders)
    if message is None:
        os._exit(CANNOT_START)
    launch, streams = message
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    has_network = bool(launch["networks"])
    _execute(launch, network_options if has_network else (), inherited if has_network else (), failure)


def _join(groups: Sequence[str]) -> None:
    # A session of its own, so that `kill 0` in a script does not reach the supervisor.
    os.setsid()
    os.umask(0o022)
    _reset_signals()
    for procs_file in groups:
        with open(procs_file, "w") as procs:
            procs.write("0")
    give_way()


def _execute(
    launch: dict[str, Any], options: Sequence[str], inherited: Sequence[int], failure: Exception | None
) -> NoReturn:
    try:
        if failure:
            raise failure
        for name, value in launch["limits"].items():
            _limit(getattr(resource, name), value)
        options = [*options, *_open_filter(launch["filter"]), *_open_copied(launch["copies"])]
        if launch["exposed"]:
            expose(launch["exposed"], launch["overlay"])
        if launch["uid"] is not None:
            _own_streams(launch["uid"])
            become_user(launch["uid"])
        if LINUX:
            # Set after the change of user, which clears it. It matters only if the supervisor itself is killed.
            system_calls.set_death_signal(signal.SIGKILL)
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)
        os.chdir(launch["directory"])
        if launch["confinement"]:
            confine(launch["confinement"])
        program, *arguments = launch["command"]
        os.execvpe(program, [program, *options, *arguments], launch["environment"])
    except Exception as error:
        os.write(2, f"cannot start {launch['command'][0]}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(CANNOT_START)


def _reset_signals() -> None:
    """Undo what this process ignores or blocks, because the command would inherit it."""
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def give_way() -> None:
    """Give the worker and other services priority, and let the kernel kill the command first if memory runs out."""
    lower_priority(FOR_AGENTS)
    if LINUX:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write(str(_OOM_SCORE))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (wanted, wanted))


def _open_filter(path: str | None) -> list[str]:
    """The options that make bubblewrap read the seccomp program in a file."""
    if path is None:
        return []
    descriptor = os.open(path, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    return ["--seccomp", str(descriptor)]


def _open_copied(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The options that make bubblewrap copy files into the sandbox, which is faster than to mount them.

    Files that do not exist, or that not everybody may read, are left out.
    """
    for source, target in pairs:
        with contextlib.suppress(OSError):
            descriptor = os.open(source, os.O_RDONLY)
            if os.fstat(descriptor).st_mode & stat.S_IROTH:
                os.set_inheritable(descriptor, True)
                yield from ("--perms", "0444", "--file", str(descriptor), target)


def expose(pairs: list[tuple[str, str]], overlay: list[str]) -> None:
    """Bind each source below /tmp of a private mount namespace, where an unprivileged user can reach it.

    Only root can do this, and only root needs it: the user that runs the sandbox cannot reach a workspace below a
    private directory such as /root. The sources are opened before /tmp is covered, because they may be in it.
    `overlay` are three folders to mount as one, see `system_calls.mount_overlay`, and the place.
    """
    system_calls.enter_private_mounts()
    opened = [(os.open(source, os.O_PATH), target, os.path.isdir(source)) for source, target in pairs]
    layers = [os.open(folder, os.O_PATH) for folder in overlay[:3]]
    system_calls.mount_temporary("/tmp")
    for source, target, is_directory in opened:
        if is_directory:
            os.makedirs(target, 0o755)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        system_calls.bind(f"/proc/self/fd/{source}", target)
        os.close(source)
    if overlay:
        os.makedirs(overlay[3], 0o755)
        system_calls.mount_overlay(layers, overlay[3])


def _own_streams(uid: int) -> None:
    """Give the standard streams to `uid`. A program that opens /dev/stderr opens root's pipe again, as the new user."""
    for standard in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.fchown(standard, uid, uid)


def become_user(uid: int) -> None:
    """Change from root to `uid`, with the group of the same number and no others."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
