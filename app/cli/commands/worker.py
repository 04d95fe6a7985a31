"""Run a worker for one queue: sessions (long), control (publish, refresh), or sweep (repairs, with its timer)."""

from __future__ import annotations

import argparse

from app.cli.processes import become_module, private_folder
from app.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("queue", choices=("sessions", "control", "sweep"))
    parser.add_argument("--name", help="name of this worker, unique on its host (default: the queue)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    private_folder(settings.data_dir)
    become_module(
        settings,
        "tasks.worker",
        args.queue,
        args.name or args.queue,
        # A stop must reach the running session, which is then requeued. Other tasks are short.
        variables={"REMAP_SIGTERM": "SIGQUIT"} if args.queue == "sessions" else None,
    )
