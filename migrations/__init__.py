"""Alembic migrations of the record. Each one also suits the release before it."""
