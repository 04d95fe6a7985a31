"""Deletes stored objects at once, because their runner was purged. `garbage` waits until an object is old.

What is to be deleted is listed in the transaction that deletes the rows. So after a crash either both are there, or the
list is, and what of it was not deleted yet is deleted the next time.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator

import sqlalchemy as sa
import structlog

from app import artifacts, db, queue
from app.config import settings
from app.models import ArtifactDeletion
from app.services.artifacts import conversations, diff_index, diffs, lfs_objects, references

log = structlog.get_logger()
_FOLDERS = (diffs.SESSIONS, diffs.RUNNERS, conversations.FOLDER, lfs_objects.FOLDER)
_AT_ONCE = 100


def request(runner_id: uuid.UUID) -> None:
    """List everything that is stored for a runner whose rows the transaction in progress is about to delete."""
    folders = [f"{folder}/{runner_id}/" for folder in _FOLDERS]
    # A runner that began with the diff of another one refers to an object of that.
    others = [key for key in references.keys_of_runner(runner_id) if not key.startswith(tuple(folders))]
    db.session.add_all(ArtifactDeletion(key=key) for key in (*folders, *others))
    db.after_commit(lambda: queue.send(queue.DELETE_ARTIFACTS, expires=settings().garbage_seconds))


def delete_requested() -> int:
    """Delete what is listed, except objects that other rows refer to. Returns how many objects were deleted.

    It opens short transactions of its own. None is open during calls to the store, which may be slow.
    """
    with db.transaction(read_only=True):
        listed = db.session.execute(sa.select(ArtifactDeletion.id, ArtifactDeletion.key)).all()
    deleted = 0
    for row_id, key in listed:
        try:
            deleted += _delete(_objects(key))
        except artifacts.StoreUnavailable as error:
            # It stays listed. The store would fail on the next ones too.
            log.warning("artifact_not_deleted", key=key, error=str(error))
            break
        with db.transaction():
            db.session.execute(sa.delete(ArtifactDeletion).where(ArtifactDeletion.id == row_id))
    return deleted


def _objects(key: str) -> Iterator[str]:
    """The keys of the objects that a listed key stands for, and of the indexes of diffs among them."""
    for each in (key, diff_index.key_of(key)):
        if each.endswith("/"):
            yield from (found for found, _ in artifacts.store().list(each))
        else:
            yield each


def _delete(keys: Iterator[str]) -> int:
    deleted = 0
    while batch := list(itertools.islice(keys, _AT_ONCE)):
        with db.transaction(read_only=True):
            referenced = references.find_referenced(map(diff_index.diff_key_of, batch))
        unneeded = [key for key in batch if diff_index.diff_key_of(key) not in referenced]
        for key in unneeded:
            artifacts.store().delete(key)
        deleted += len(unneeded)
    return deleted
