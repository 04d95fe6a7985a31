"""Upgrades a database to the newest revision."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from migrations.locks import retried
from migrations.text_search import index_texts

HERE = Path(__file__).parent


def alembic_config(url: str = "") -> Config:
    """The `[alembic]` settings of `setup.cfg`, for the database at `url`; empty means the one that the settings name."""
    config = Config(str(HERE.parent / "setup.cfg"))
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def migrate(url: str) -> str:
    """Migrate the database to the newest revision. Does nothing to one that has it already.

    Returns what could not be set up and what to do about it, else an empty text.
    """
    retried(lambda: command.upgrade(alembic_config(url), "head"))
    return index_texts(url)
