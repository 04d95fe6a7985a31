"""The port for sandboxes: how to run the commands of an attempt, and what these commands see."""

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

# The kernel's limit counts all processes of the user, who may run several sessions and other programs. It stops fork
# bombs that grow faster than the monitor can act, on machines without control groups.
_PROCESSES_OF_USER = 8


@dataclass(frozen=True)
class Overlay:
    """A checkout of two layers, mounted as an overlay in the sandbox.

    `lower` has files that several attempts share. Nothing writes to it: it is never bound anywhere. `upper` has what
    the attempt changed. `work` is an empty folder beside it, for the kernel.
    """

    lower: Path
    upper: Path
    work: Path


class Directories(Protocol):
    """The directories of a workspace that a sandbox uses. `root` contains the others and is not visible inside.

    With an `overlay` the agent's checkout is what its layers show together, and `checkout` is the upper one.
    """

    @property
    def root(self) -> Path: ...
    @property
    def checkout(self) -> Path: ...
    @property
    def home(self) -> Path: ...
    @property
    def attachments(self) -> Path: ...
    @property
    def overlay(self) -> Overlay | None: ...


@dataclass(frozen=True)
class TrialDirectories:
    """Empty directories in a folder, for trying a sandbox without a workspace."""

    root: Path
    checkout: Path
    home: Path
    attachments: Path
    overlay: Overlay | None = None

    @classmethod
    def create(cls, folder: Path) -> TrialDirectories:
        created = cls(folder / "root", folder / "checkout", folder / "home", folder / "attachments")
        for each in (created.root, created.checkout, created.home, created.attachments):
            each.mkdir()
        return created


@dataclass(frozen=True)
class Place:
    """Paths as the command sees them. `isolated` says whether a sandbox separates it from the rest of the machine."""

    checkout: str
    home: str
    temporary: str
    attachments: str
    isolated: bool


@dataclass(frozen=True)
class Probe:
    """Whether the sandbox works on this machine; if not, the reason and the remedy.

    `program` is the working sandbox program: its name, version and path.
    """

    ok: bool
    reason: str = ""
    remedy: str = ""
    program: str = ""


class Sandbox(Protocol):
    """The sandbox of one attempt."""

    place: Place
    owner: int | None
    """The uid that its commands run as, if not the worker's own. The files that they write to must belong to it."""

    def launch(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        runtime_paths: Sequence[Path] = (),
        stage: Stage = "agent",
    ) -> Launch:
        """What to start so that `command` runs in the checkout.

        `environment` is added to the minimal one. `runtime_paths` are resolved host paths outside `/usr` that the
        command needs; they are readable at the same path, and programs among them are on PATH. `stage` selects the
        rules for the network.
        """
        ...


def resource_limits(limits: Limits) -> dict[str, int]:
    """Limits of each process, as names and values of `resource`. Core dumps are off, as they contain the memory.

    Address space is not limited: programs that reserve far more of it than they use, such as Node and Go, would not
    start.
    """
    return {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": limits.max_file_bytes,
        "RLIMIT_NOFILE": limits.max_open_files,
        "RLIMIT_NPROC": limits.max_processes * _PROCESSES_OF_USER,
    }


def minimal_environment(place: Place, path: str, runtime_paths: Sequence[Path]) -> dict[str, str]:
    """Variables that every command gets. None of them comes from the worker's environment, except a given `path`."""
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
