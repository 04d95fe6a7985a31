"""What stands between an agent and this machine: each layer as working, missing or off, with the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from workers.job import Host, Limits
from workers.limits.cgroups import find_places
from workers.sandbox import seccomp
from workers.sandbox.probing import probe

_SET = "Unset AGENT_RUNNERS_SANDBOX"
_DELEGATE = (
    "Give the worker's user a subtree of its own: `Delegate=yes` and `DelegateSubgroup=worker` in its systemd unit. "
    "Until then limits are watched from outside, which acts within a second"
)
_GIBIBYTE = 1024**3


@dataclass(frozen=True)
class Layer:
    """One layer. `off` is what the operator chose or can live with; `remedy` is empty where nothing is to be done."""

    name: str
    state: Literal["working", "missing", "off"]
    detail: str
    remedy: str = ""


def layers(host: Host, limits: Limits) -> Iterator[Layer]:
    """Look at every layer in turn."""
    yield _bubblewrap(host)
    yield _network(host)
    yield _user(host)
    yield _filter(host)
    yield _groups()
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
        return Layer("network of agents", "off", "agents reach whatever this machine reaches", _SET)
    if not probe(host).ok:
        return Layer("network of agents", "missing", "there is no sandbox to keep it from", "See the sandbox above")
    named = ", ".join(host.egress_hosts)
    every = f", and {named} for all" if named else ""
    return Layer("network of agents", "working", f"only a proxy to the model's host and what the site names{every}")


def _user(host: Host) -> Layer:
    if host.sandbox == "none":
        return Layer("user of agents", "off", "agents have all the rights of the worker's user", _SET)
    if os.geteuid() == 0:
        return Layer("user of agents", "working", f"agents run as user {host.sandbox_uid}")
    detail = f"agents run as the worker's user, {os.geteuid()}, kept apart by the sandbox alone"
    return Layer("user of agents", "off", detail, "Only a worker that is root can give them a user of their own")


def _filter(host: Host) -> Layer:
    if host.sandbox == "none":
        return Layer("system call filter", "off", "it is a part of the sandbox", _SET)
    if seccomp.program() is None:
        remedy = (
            "Install libseccomp: `apt-get install libseccomp2` or `dnf install libseccomp`; then start the workers anew"
        )
        return Layer("system call filter", "missing", "libseccomp is not installed", remedy)
    return Layer("system call filter", "working", "seccomp")


def _groups() -> Layer:
    places = find_places()
    lacking = [name for name in ("memory", "pids", "cpu") if name not in places.folders]
    if lacking:
        detail = f"the worker may make none for {', '.join(lacking)}"
        return Layer("control groups", "missing", detail, _DELEGATE)
    return Layer("control groups", "working", f"version {places.version}: {', '.join(places.folders)}")


def _limits(limits: Limits) -> Layer:
    detail = (
        f"{limits.max_memory_bytes / _GIBIBYTE:.3g} GiB of memory, {limits.max_processes:,} processes, "
        f"{limits.max_cpus or 'all'} processors, {limits.max_disk_bytes / _GIBIBYTE:.3g} GiB of disk in "
        f"{limits.max_disk_files:,} files of {limits.max_file_bytes / _GIBIBYTE:.3g} GiB at most"
    )
    return Layer("limits of a session", "working", detail)
