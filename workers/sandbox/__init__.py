"""Sandboxes: a port (`base`), its drivers, and the probe that says whether one works on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from workers.egress.process import Egress
from workers.egress.rules import Rule
from workers.job import Host, Limits
from workers.sandbox.base import Directories, Place, Probe, Sandbox
from workers.sandbox.bubblewrap import Bubblewrap
from workers.sandbox.none import NoSandbox
from workers.sandbox.probing import check_works, probe

__all__ = ["Directories", "Place", "Probe", "Sandbox", "check_works", "describe", "open_sandbox", "probe"]


def describe(host: Host, reachable: Sequence[Rule], models: Sequence[str] = ()) -> str:
    """For the user of a session: how the agent is separated from this machine and its network.

    `models` are the hosts that the gateway reaches for it.
    """
    if host.sandbox == "none":
        return NoSandbox.description
    hosts = ", ".join(str(rule) for rule in reachable) or "nothing"
    model = f" It calls its model at {', '.join(models)} through the gateway, which has the key." if models else ""
    return f"The agent reaches the network only through a proxy, which allows: {hosts}.{model}"


def open_sandbox(host: Host, directories: Directories, limits: Limits, egress: Egress | None) -> Sandbox:
    """The sandbox that `host` selects, for the directories of one workspace. Its only network is `egress`, if given."""
    if host.sandbox == "none":
        return NoSandbox(directories, limits)
    return Bubblewrap(directories, host.sandbox_uid, limits, egress)
