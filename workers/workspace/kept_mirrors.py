"""Makes room on a disk that is nearly full: the mirrors that were used longest ago are removed, and fetched again when their
sites have sessions.

Whoever may create sites decides how many mirrors there are, and how large. Without this they would fill the disk, which
the sessions of all accounts need.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from workers.job import Host
from workers.processes.lifeline import Lifeline
from workers.repository.mirror import Mirror
from workers.workspace.base import last_use_of_site
from workers.workspace.deleted_sites import SITE

log = logging.getLogger(__name__)
_SHARE_FREE = 10
# A session that is being prepared may need it without having said so yet.
_RECENT_SECONDS = 60.0
_REMOVING_SECONDS = 60.0


def evict_mirrors(host: Host) -> None:
    """Remove mirrors that no attempt needs until there is room for one more fetch, or a tenth of the disk is free, whichever
    is less. Bases have a limit of their own."""
    folder = host.work_dir / "mirrors"
    if not folder.is_dir() or _has_room(host):
        return
    for last_use, site_id in sorted(_mirrors(host, folder)):
        if time.time() - last_use < _RECENT_SECONDS:
            return
        if Mirror(host, site_id, Lifeline(_REMOVING_SECONDS)).evict():
            log.warning("a mirror was removed, because the disk is nearly full", extra={"site_id": site_id})
        if _has_room(host):
            return


def _has_room(host: Host) -> bool:
    disk = shutil.disk_usage(host.work_dir)
    return disk.free >= min(disk.total // _SHARE_FREE, host.max_fetch_bytes)


def _mirrors(host: Host, folder: Path) -> Iterator[tuple[float, str]]:
    """When each site of a mirror was used last, and its id."""
    for path in folder.iterdir():
        if SITE.fullmatch(path.name):
            with suppress(FileNotFoundError):
                yield max(path.stat().st_mtime, last_use_of_site(host, path.name)), path.name
