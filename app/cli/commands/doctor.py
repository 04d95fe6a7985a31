"""Say what works on this machine, and how to mend what does not."""

from __future__ import annotations

import argparse

from app.cli.processes import become_module
from app.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="answer with one JSON document")


def run(args: argparse.Namespace, settings: Settings) -> int:
    become_module(settings, "tasks.doctor", *(["--json"] if args.json else []))
