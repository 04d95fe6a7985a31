"""Show the diff of a runner, and apply it to a checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from app.cli.errors import CommandError
from app.cli.remote import checkout
from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_json, print_rows, say
from app.cli.remote.selection import find_runner, runner_argument
from app.cli.view import View
from app.client import Client


@click.command()
@runner_argument
@click.option("--session", "session_id", help="Only what this session changed; `latest` is the newest.")
@click.option("--cumulative", is_flag=True, help="With --session: what all sessions up to it changed.")
@click.option("--stat", is_flag=True, help="List the files with the number of lines.")
@click.option("--apply", "applied", is_flag=True, help="Apply it to the checkout in this folder, merged.")
@json_option
@pass_client
def diff(
    client: Client,
    given: str | None,
    session_id: str | None,
    cumulative: bool,
    stat: bool,
    applied: bool,
    as_json: bool,
) -> None:
    """Show what a runner changed: in colours on a terminal, else byte for byte.

    \b
    agent-runners diff | git apply
    agent-runners diff 3f9a01bc --stat
    """
    if applied and session_id is not None:
        raise click.UsageError("--apply is for the runner's diff; leave --session out.")
    runner = find_runner(client, given)
    if session_id == "latest":
        session_id = runner["latest_session_id"]
    if stat or as_json:
        kind = "cumulative" if cumulative else "result"
        files = client.diff_files(runner["id"], session_id, kind)
        print_json(files) if as_json else print_rows(("file", "added", "removed"), [_row(file) for file in files])
    elif applied:
        found = checkout.find(Path())
        if found is None:
            raise CommandError("this folder is not in a checkout. Go to one, and try again")
        apply_to(found.root, client, runner["id"])
    else:
        _show(_read(client, runner["id"], session_id, cumulative=cumulative))


def apply_to(root: Path, client: Client, runner_id: str) -> None:
    """Apply the runner's diff to a checkout, as `checkout.apply` does, and say so."""
    files = client.diff_files(runner_id)
    paths = {path for file in files for path in (file["path"], file["old_path"]) if path}
    checkout.apply(root, client.diff(runner_id), paths)
    say(f"Applied to {len(files)} files in {root}.")


def _read(client: Client, runner_id: str, session_id: str | None, *, cumulative: bool) -> bytes:
    if session_id is None:
        return client.diff(runner_id)
    return (client.cumulative_diff if cumulative else client.result_diff)(runner_id, session_id)


def _show(text: bytes) -> None:
    if sys.stdout.isatty():
        View().diff(text)
    else:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()


def _row(file: dict[str, Any]) -> tuple[str, str, str]:
    name = f"{file['old_path']} => {file['path']}" if file["old_path"] else file["path"]
    counts = ("-", "-") if file["binary"] else (str(file["additions"]), str(file["deletions"]))
    return name, *counts
