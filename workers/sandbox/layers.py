"""The layers that protect this machine from agents: each is working, missing or off, with the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from workers.job import Host, Limits
from workers.limits.cgroups import GroupParents, find_parents
from workers.processes.confinement import landlock_version
from workers.sandbox import seccomp
from workers.sandbox.probing import probe

_SET = "Unset AGENT_RUNNERS_SANDBOX"
_DELEGATE = (
    "Accounts that do not trust each other, or that you do not trust, need control groups. Give the worker's user a subtree "
    "of its own: `Delegate=yes` and `DelegateSubgroup=worker` in its systemd unit. Until then limits are only checked about "
    "once a second, and memory that belongs to no process, such as that of pipes and sockets, is not limited"
)
_INSTALL_LIBSECCOMP = (
    "Install libseccomp: `apt-get install libseccomp2` or `dnf install libseccomp`; then restart the workers"
)
_NO_LANDLOCK = (
    "Use Linux 5.13 or newer with `landlock` in its boot option `lsm=`, as Debian 12, Ubuntu 22.04 and newer ones have; in a "
    "container, a runtime whose seccomp profile allows it, as those of Docker and Podman do"
)
_GIBIBYTE = 1024**3


@dataclass(frozen=True)
class Layer:
    """One layer. `off` means that the operator chose it or that it is optional. `remedy` is empty if it is working."""

    name: str
    state: Literal["working", "missing", "off"]
    detail: str
    remedy: str = ""


def layers(host: Host, limits: Limits, groups: GroupParents | None = None) -> Iterator[Layer]:
    """Check every layer. `groups` is where this worker may create control groups, if that is known."""
    yield _bubblewrap(host)
    yield _network(host)
    yield _user(host)
    yield _filter(host)
    yield _git(host)
    yield _groups(groups or find_parents())
    yield _limits(limits)


def _bubblewrap(host: Host) -> Layer:
    if host.sandbox == "none":
        return Layer("sandbox", "off", "agents run unconfined as the worker's user", _SET)
    finding = probe(host)
    if not finding.ok:
        return Layer("sandbox", "missing", finding.reason, finding.remedy)
    return Layer("sandbox", "working", finding.program)


def _network(host: Host) -> Layer:
    if host.sandbox == "none":
        return Layer("network of agents", "off", "agents have the network access of this machine", _SET)
    if not probe(host).ok:
        return Layer("network of agents", "missing", "it needs the sandbox", "See the remedy of the sandbox above")
    named = ", ".join(host.egress_hosts)
    for_all = f", and {named} for all sites" if named else ""
    detail = f"to models through a gateway that has their keys, and through a proxy to the site's egress_hosts{for_all}"
    return Layer("network of agents", "working", detail)


def _user(host: Host) -> Layer:
    if host.sandbox == "none":
        return Layer("user of agents", "off", "agents have all the rights of the worker's user", _SET)
    if os.geteuid() == 0:
        return Layer("user of agents", "working", f"agents run as user {host.sandbox_uid}")
    detail = f"agents run as the worker's user, {os.geteuid()}, separated only by the sandbox"
    return Layer("user of agents", "off", detail, "Run the worker as root to give agents a user of their own")


def _filter(host: Host) -> Layer:
    if host.sandbox == "none":
        return Layer("system call filter", "off", "it is part of the sandbox", _SET)
    if seccomp.program() is None:
        return Layer("system call filter", "missing", "libseccomp is not installed", _INSTALL_LIBSECCOMP)
    return Layer("system call filter", "working", "seccomp")


def _git(host: Host) -> Layer:
    name = "git on the host"
    if not host.isolate_git:
        detail = "git that contacts a remote has all the rights of the worker's user"
        return Layer(name, "off", detail, "Unset AGENT_RUNNERS_ISOLATE_GIT")
    if not landlock_version():
        detail = "the kernel offers no Landlock: git that contacts a remote reaches the files of the worker's user"
        return Layer(name, "missing", detail, _NO_LANDLOCK)
    if seccomp.program() is None:
        detail = (
            f"Landlock {landlock_version()} without a system call filter: git reaches sockets and signals processes"
        )
        return Layer(name, "missing", detail, _INSTALL_LIBSECCOMP)
    return Layer(name, "working", f"Landlock {landlock_version()} and seccomp, for git that contacts a remote")


def _groups(parents: GroupParents) -> Layer:
    missing = [name for name in ("memory", "pids", "cpu") if name not in parents.folders]
    if missing:
        detail = f"the worker cannot create control groups for {', '.join(missing)}"
        return Layer("control groups", "missing", detail, _DELEGATE)
    return Layer("control groups", "working", f"version {parents.version}: {', '.join(parents.folders)}")


def _limits(limits: Limits) -> Layer:
    detail = (
        f"{limits.max_memory_bytes / _GIBIBYTE:.3g} GiB of memory, {limits.max_processes:,} processes, "
        f"{limits.max_cpus or 'all'} processors, {limits.max_disk_bytes / _GIBIBYTE:.3g} GiB of disk in "
        f"{limits.max_disk_files:,} files of {limits.max_file_bytes / _GIBIBYTE:.3g} GiB at most"
    )
    return Layer("limits of a session", "working", detail)
