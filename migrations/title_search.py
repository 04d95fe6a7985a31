"""The index for searching the titles of runners on Postgres. It needs the extension pg_trgm, which not every user of a
database may create, so it is optional: without it, a search reads the titles of all runners of the account."""

from __future__ import annotations

import sqlalchemy as sa

from app import db
from migrations.indexes import TITLES, drop_invalid

# The expression that the search compares.
_CREATE = f"""CREATE INDEX CONCURRENTLY IF NOT EXISTS {TITLES} ON agent_runners
    USING gin ((coalesce(title_folded, lower(title))) gin_trgm_ops)"""
# Insufficient privilege; the extension is not installed on the server; it is in a schema that is not searched.
_UNAVAILABLE = ("42501", "0A000", "58P01", "42704")


def index_titles(url: str) -> str:
    """Create the index unless it exists. Returns why that is impossible and what to do, else an empty text."""
    engine = db.make_engine(url)
    try:
        if engine.dialect.name != "postgresql":
            return ""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
            drop_invalid(connection, TITLES)
            connection.execute(sa.text(_CREATE))
        return ""
    except db.DatabaseError as error:
        if getattr(error.orig, "sqlstate", None) not in _UNAVAILABLE:
            raise
        reason = str(error.orig).strip().splitlines()[0]
        return (
            f"titles are searched without an index, which is slow with many runners: {reason}. As an administrator of "
            "the database run CREATE EXTENSION pg_trgm, and then agent-runners migrate again"
        )
    finally:
        engine.dispose()
