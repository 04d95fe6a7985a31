"""Checks of the database, and of the state of the deployment that it stores."""

from __future__ import annotations

import datetime
from pathlib import Path

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app import db
from app.config import settings
from app.deployment_secrets import own_secrets
from app.services import last_runs, secret_key
from app.services.artifacts import references
from migrations.config import alembic_config
from tasks.doctor.finding import FAULTS, Finding

# This many sweeps may be late before it is a fault.
LATE_SWEEPS = 12
# The expiry of messages, at least `redispatch_seconds`, is set by one host's clock and checked by another's.
CLOCKS_APART_SECONDS = 5.0


def configure() -> None:
    """Point this process at the database. Raises FileNotFoundError for a file that does not exist: looking creates none."""
    url = sa.make_url(settings().database)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise FileNotFoundError(f"there is no file {url.database}")
    db.configure(settings().database)


def database() -> Finding:
    try:
        configure()
    except FileNotFoundError as error:
        return Finding("database", "missing", f"sqlite, {error}", "Run: agent-runners migrate")
    engine = db.make_engine(settings().database)
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    detail = f"{engine.dialect.name}, revision {revision}"
    engine.dispose()
    if revision != ScriptDirectory.from_config(alembic_config()).get_current_head():
        return Finding("database", "missing", detail, "Run: agent-runners migrate")
    return Finding("database", "working", detail)


def clock() -> Finding:
    configure()
    with db.transaction(read_only=True):
        apart = (datetime.datetime.now(datetime.UTC) - references.moment(0)).total_seconds()
    if abs(apart) <= CLOCKS_APART_SECONDS:
        return Finding("clock", "working", "the same as the database's")
    detail = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the clock of the database"
    return Finding("clock", "failing", detail, f"Synchronize both clocks, for example with chrony. {FAULTS}")


def key() -> Finding:
    if not own_secrets(settings())["secret_key"]:
        return Finding(
            "secret key", "off", "this machine has none yet", "Start a process; the first one generates the key"
        )
    configure()
    with db.transaction(read_only=True):
        is_same = secret_key.is_same()
    if is_same is False:
        return Finding("secret key", "failing", "different from the deployment's key", secret_key.REMEDY)
    return Finding("secret key", "working", "the deployment's key" if is_same else "no process has started yet")


def sweep() -> Finding:
    configure()
    with db.transaction(read_only=True):
        age = last_runs.age(last_runs.SWEEP)
    detail = "no sweep has run yet" if age is None else f"the last sweep ended {age:.0f} s ago"
    if age is None or age > settings().sweep_seconds * LATE_SWEEPS:
        remedy = "Start the sweep worker: agent-runners worker sweep. It repairs what lost workers and messages leave"
        return Finding("sweep", "missing", detail, remedy)
    return Finding("sweep", "working", detail)
