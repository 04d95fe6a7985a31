"""Keeps the repositories of sites on this host. `python -m tasks.startup.mirrors` fetches those that are due, and removes
those of deleted sites.

It is a process of its own, so that a repository that is slow to fetch delays no worker. A first session then finds a new
site's repository here, and later ones have little to fetch.
"""

from __future__ import annotations

import fcntl
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

import workers
from app.config import settings
from app.models import Site
from app.models.limits import SessionLimits
from app.redaction.secrets import redacted_logs
from app.services.sites import activity, branches
from app.services.sites.site_secrets import secrets_of
from tasks.attempts.transactions import transact
from tasks.background import end_with_worker, prepare
from tasks.jobs.credentials import git_credential_of
from tasks.jobs.host import this_host
from tasks.jobs.session_jobs import limits_of
from workers.forges.apps import FETCH

log = structlog.get_logger()
_MOST_SITES = 200
# A repository that cannot be fetched is tried again after a day, or when its site is changed.
_AFTER_FAILURE_SECONDS = 86_400.0


def refresh_mirrors() -> None:
    """Remove the repositories of deleted sites, and fetch those that are due, until none is.

    Returns at once if another process does that on this host.
    """
    folder = this_host().work_dir / "mirrors"
    with _alone(folder / "refresh.lock") as is_alone:
        if is_alone:
            _remove_deleted(folder)
        served = Counter[uuid.UUID]()
        while is_alone and (site := _find_due(folder, served)):
            served[site.account_id] += 1
            due_in = settings().mirror_refresh_seconds if _refresh(site) else _AFTER_FAILURE_SECONDS
            _stamp(folder, site.id).write_text(json.dumps([str(site.updated_at), time.time() + due_in]))


def _remove_deleted(folder: Path) -> None:
    kept = {uuid.UUID(site_id) for site_id in workers.find_sites(this_host())}
    for site_id in transact(lambda: activity.find_deleted(kept)):
        try:
            workers.remove_site(this_host(), str(site_id), workers.Lifeline(settings().fetch_timeout_seconds))
            _stamp(folder, site_id).unlink(missing_ok=True)
        except OSError:
            log.exception("site_not_removed", site_id=str(site_id))


def _find_due(folder: Path, served: Counter[uuid.UUID]) -> Site | None:
    """The next site: of the account of which the fewest were `served`, one that was never fetched here, or else the one
    that has been due the longest."""
    found = [
        (_due_at(_stamp(folder, site.id), site), site)
        for site in transact(lambda: activity.find_recently_used(_MOST_SITES))
    ]
    due = [(due_at, site) for due_at, site in found if due_at <= time.time()]
    return min(due, key=lambda each: (served[each[1].account_id], each[0]))[1] if due else None


def _due_at(stamp: Path, site: Site) -> float:
    """When the site is to be fetched, in seconds since the epoch. 0: at once, as it is new or was changed."""
    try:
        updated_at, due_at = json.loads(stamp.read_text())
    except (FileNotFoundError, ValueError):
        return 0.0
    return float(due_at) if updated_at == str(site.updated_at) else 0.0


def _stamp(folder: Path, site_id: uuid.UUID) -> Path:
    """The file that says which state of a site was fetched, and when it is due again."""
    return folder / f"{site_id}.refreshed"


def _refresh(site: Site) -> bool:
    """Whether it succeeded."""
    secrets = transact(lambda: secrets_of(site))
    with structlog.contextvars.bound_contextvars(site_id=str(site.id)), redacted_logs(secrets):
        try:
            repository = workers.SiteRepository(
                str(site.id),
                site.repo_url,
                site.default_branch,
                tuple(site.sparse_paths or ()),
                site.partial_clone,
                git_credential_of(site, FETCH),
            )
            # Fetches are limited by their own timeout. This ends what they leave if this process is killed.
            lifeline = workers.Lifeline(2.0 * settings().fetch_timeout_seconds)
            host = this_host(site.account_id)
            limits = limits_of(SessionLimits(settings().max_duration_seconds))
            seen = workers.warm(host, repository, limits, lifeline)
            if seen is not None and (names := seen.branches) is not None:
                transact(lambda: branches.record(site.id, names, seen.generated))
        except workers.EngineError as error:
            log.warning("mirror_not_refreshed", code=error.code, error=secrets.redact(str(error)))
        except Exception:
            log.exception("mirror_not_refreshed")
        else:
            log.info("mirror_refreshed")
            return True
    return False


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold a lock file, and yield whether it is held. It is released if this process ends."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path, "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


if __name__ == "__main__":
    prepare()
    # A stop of the worker should not leave a fetch behind that continues for minutes.
    end_with_worker()
    refresh_mirrors()
