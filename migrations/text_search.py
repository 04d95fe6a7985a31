"""The indexes for searching the titles and prompts of runners on Postgres. They need the extension pg_trgm, which not every
user of a database may create, so they are optional: without them, a search reads all titles and prompts."""

from __future__ import annotations

import sqlalchemy as sa

from app import db
from migrations.indexes import PROMPTS, TITLES, drop_invalid

# The expressions that searches compare.
_INDEXES = {
    TITLES: "agent_runners USING gin ((coalesce(title_folded, lower(title))) gin_trgm_ops)",
    PROMPTS: "events USING gin (prompt_folded gin_trgm_ops) WHERE prompt_folded IS NOT NULL",
}
# Insufficient privilege; the extension is not installed on the server; it is in a schema that is not searched.
_UNAVAILABLE = ("42501", "0A000", "58P01", "42704")


def index_texts(url: str) -> str:
    """Create the indexes unless they exist. Returns why that is impossible and what to do, else an empty text."""
    engine = db.make_engine(url)
    try:
        if engine.dialect.name != "postgresql":
            return ""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
            for name, on in _INDEXES.items():
                drop_invalid(connection, name)
                connection.execute(sa.text(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {on}"))
        return ""
    except db.DatabaseError as error:
        if getattr(error.orig, "sqlstate", None) not in _UNAVAILABLE:
            raise
        reason = str(error.orig).strip().splitlines()[0]
        return (
            f"titles and prompts are searched without an index, which is slow with many runners: {reason}. As an "
            "administrator of the database run CREATE EXTENSION pg_trgm, and then agent-runners migrate again"
        )
    finally:
        engine.dispose()
