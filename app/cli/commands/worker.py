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
        "celery",
        # Without the banner, which only repeats the settings.
        *(
            "--quiet",
            "--app",
            "tasks.celery_app",
            "worker",
            "--queues",
            args.queue,
            "--hostname",
            f"{args.name or args.queue}@%h",
        ),
        *("--pool", "prefork", "--without-gossip", "--without-mingle"),
        *_options(args, settings),
        # A stop must reach the running session, which is then requeued. Other tasks are short.
        variables={"REMAP_SIGTERM": "SIGQUIT"} if args.queue == "sessions" else None,
    )


def _options(args: argparse.Namespace, settings: Settings) -> list[str]:
    if args.queue == "sessions":
        # One session per process, so that terminating the process of a session cannot hit another one.
        return ["--concurrency", str(settings.session_workers), "--max-tasks-per-child", "1"]
    if args.queue == "sweep":
        # Several sweep workers may share the folder, and each needs its own schedule file.
        schedule = settings.data_dir.absolute() / f"beat-schedule-{args.name or args.queue}"
        return ["--concurrency", "1", "--beat", "--schedule", str(schedule)]
    # Publishing mostly waits for a forge.
    return ["--concurrency", "4"]
