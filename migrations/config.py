"""Upgrades a database to the newest revision."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

HERE = Path(__file__).parent


def alembic_config(url: str = "") -> Config:
    """The `[alembic]` settings of `setup.cfg`, for the database at `url`; empty means the one that the settings name."""
    config = Config(str(HERE.parent / "setup.cfg"))
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def migrate(url: str = "") -> None:
    """Bring the database to the newest revision. Safe to call on one that is there already."""
    command.upgrade(alembic_config(url), "head")
