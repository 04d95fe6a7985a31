"""Bring the database to the newest revision."""

from __future__ import annotations

import argparse

from app.cli.processes import private_folder
from app.config import Settings
from migrations import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(_args: argparse.Namespace, settings: Settings) -> int:
    private_folder(settings.data_dir)
    config.migrate(settings.database)
    return 0
