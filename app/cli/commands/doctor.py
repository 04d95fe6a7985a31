"""Check every part of this deployment, and say how to fix what does not work."""

from __future__ import annotations

import argparse

from app.cli.processes import become_module
from app.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, one finding a line")


def run(args: argparse.Namespace, settings: Settings) -> int:
    become_module(settings, "tasks.doctor", *(["--json"] if args.json else []))
