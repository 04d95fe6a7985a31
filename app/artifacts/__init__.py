"""The artifact store: diffs and uploaded files, stored under keys, and signed URLs to upload, read and delete them."""

from __future__ import annotations

import functools

from app.artifacts.base import Store, Stored, StoreUnavailable
from app.artifacts.local import LocalStore
from app.artifacts.signed_urls import SignedUrl
from app.config import Settings, settings

__all__ = ["LocalStore", "SignedUrl", "Store", "StoreUnavailable", "Stored", "local_store", "make_store", "store"]


@functools.cache
def store() -> Store:
    """The store selected by the settings."""
    return make_store(settings())


def make_store(settings: Settings) -> Store:
    if not settings.s3_bucket:
        return LocalStore(settings.artifacts, settings.public_url)
    # Imported only here, because boto3 takes a tenth of a second to import.
    from app.artifacts.s3 import S3Store

    return S3Store(
        settings.s3_bucket,
        settings.s3_endpoint_url,
        settings.s3_region,
        path_style=settings.s3_path_style,
        public_url=settings.public_url,
    )


def local_store() -> LocalStore | None:
    """The local store; None if another one is used."""
    found = store()
    return found if isinstance(found, LocalStore) else None
