"""The port of the sandboxes: what runs the commands of an attempt, and what these commands then see."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workers.errors import Stage
from workers.job import Limits
from workers.processes.launch import Launch

ATTACHMENTS_VARIABLE = "AGENT_RUNNERS_ATTACHMENTS"

# The kernel's limit counts all processes of the user, who may run several sessions and more than sessions. It is
# there to stop what grows faster than control groups, where there are none, or the monitor can act.
_PROCESSES_OF_USER = 8


class Directories(Protocol):
    """The part of a workspace that a sandbox shows or uses. `root` holds the others and is never shown itself."""

    @property
    def root(self) -> Path: ...
    @property
    def checkout(self) -> Path: ...
    @property
    def home(self) -> Path: ...
    @property
    def attachments(self) -> Path: ...


@dataclass(frozen=True)
class Place:
    """Paths as the command sees them. `isolated` tells whether a sandbox keeps it from the rest of the machine."""

    checkout: str
    home: str
    temporary: str
    attachments: str
    isolated: bool


@dataclass(frozen=True)
class Probe:
    """Whether a sandbox works on this machine; if not why, and what a person can do about it.

    `program` says which one works: its name, version and path.
    """

    ok: bool
    reason: str = ""
    remedy: str = ""
    program: str = ""


class Sandbox(Protocol):
    """The sandbox of one attempt."""

    place: Place
    owner: int | None
    """The uid that its commands run as, where that is not the worker's own. What they write must belong to it."""

    def launch(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        runtime_paths: Sequence[Path] = (),
        stage: Stage = "agent",
    ) -> Launch:
        """What to start so that `command` runs in the checkout.

        `environment` goes on top of the minimal one. `runtime_paths` are resolved host paths outside `/usr` that
        the command needs; they are readable at the same path, and a program among them is found by its name.
        `stage` says what the command may reach over the network.
        """
        ...


def resource_limits(limits: Limits) -> dict[str, int]:
    """Limits of each process, as names and values of `resource`. No core dumps, which hold what was in memory.

    There is none on address space: programs that reserve far more of it than they use, as Node and Go do, would not
    start.
    """
    return {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": limits.max_file_bytes,
        "RLIMIT_NOFILE": limits.max_open_files,
        "RLIMIT_NPROC": limits.max_processes * _PROCESSES_OF_USER,
    }


def minimal_environment(place: Place, path: str, runtime_paths: Sequence[Path]) -> dict[str, str]:
    """Variables that every command gets. Nothing of the worker's own environment is among them."""
    programs = [str(each.parent) for each in runtime_paths if each.is_file()]
    return {
        "PATH": ":".join(dict.fromkeys([*path.split(":"), *programs])),
        "HOME": place.home,
        "TMPDIR": place.temporary,
        "LANG": "C.UTF-8",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh",
        ATTACHMENTS_VARIABLE: place.attachments,
    }
