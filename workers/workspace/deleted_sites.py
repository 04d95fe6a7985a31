"""Removes what this host keeps for the sessions of sites that have been deleted."""

from __future__ import annotations

import re

from workers.job import Host
from workers.processes.lifeline import Lifeline
from workers.repository.mirror import Mirror
from workers.workspace import trash
from workers.workspace.base import remove_bases

_FOLDERS = ("mirrors", "bases", "checkouts", "setups", "lfs")
# A site's id is a UUID. In `mirrors` other files begin with it, such as locks.
SITE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find_sites(host: Host) -> set[str]:
    """The ids of the sites that this host keeps anything for."""
    paths = (path for folder in _FOLDERS for path in host.work_dir.glob(f"{folder}/*"))
    return {found[0] for path in paths if (found := SITE.match(path.name))}


def remove_site(host: Host, site_id: str, lifeline: Lifeline) -> None:
    """Remove the mirror of a site, its bases, checkouts, results of setups and objects of Git LFS.

    Call it when the site can have no new session. What an attempt or a publication still uses stays; call it again later.
    Raises OSError.
    """
    for folder in ("checkouts", "setups", "lfs"):
        trash.discard(host, host.work_dir / folder / site_id)
    if Mirror(host, site_id, lifeline).remove():
        remove_bases(host, site_id)
