"""Sandboxes: a port (`base`), its drivers, and the probe that says whether one works on this machine."""

from __future__ import annotations

from workers.job import Host, Limits
from workers.sandbox.base import Directories, Place, Probe, Sandbox
from workers.sandbox.bubblewrap import Bubblewrap
from workers.sandbox.none import NoSandbox
from workers.sandbox.probing import probe

__all__ = ["Directories", "Place", "Probe", "Sandbox", "describe", "open_sandbox", "probe"]


def describe(host: Host) -> str:
    """One sentence for the user of a session about what separates the agent from this machine."""
    return (NoSandbox if host.sandbox == "none" else Bubblewrap).description


def open_sandbox(host: Host, directories: Directories, limits: Limits) -> Sandbox:
    """The sandbox that `host` asks for, around the directories of one workspace."""
    if host.sandbox == "none":
        return NoSandbox(directories, limits)
    return Bubblewrap(directories, host.sandbox_uid, limits)
