"""Show the diff of a runner, and apply it to a checkout."""

from __future__ import annotations

import sys
import time
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

_POLL_SECONDS = 0.5


@click.command()
@runner_argument
@click.option("--session", "session_id", help="Only what this session changed; `latest` is the newest.")
@click.option("--cumulative", is_flag=True, help="With --session: what all sessions up to it changed.")
@click.option("--from", "from_id", help="Compare with this session, or with the `base`.")
@click.option(
    "--to", "to_id", help="With --from: the session to compare. Default: the one that the runner's diff comes from."
)
@click.option("--stat", is_flag=True, help="List the files with the number of lines.")
@click.option("--apply", "applied", is_flag=True, help="Apply it to the checkout in this folder, merged.")
@json_option
@pass_client
def diff(
    client: Client,
    given: str | None,
    session_id: str | None,
    cumulative: bool,
    from_id: str | None,
    to_id: str | None,
    stat: bool,
    applied: bool,
    as_json: bool,
) -> None:
    """Show what a runner changed: in colours on a terminal, else byte for byte.

    \b
    agent-runners diff | git apply
    agent-runners diff 3f9a01bc --stat
    agent-runners diff --from 0197c1de-0000-7000-8000-000000000004
    """
    if from_id is not None and (applied or session_id is not None or cumulative):
        raise click.UsageError("--from can be combined only with --to, --stat and --json.")
    if to_id is not None and from_id is None:
        raise click.UsageError("--to needs --from.")
    if applied and session_id is not None:
        raise click.UsageError("--apply is for the runner's diff; leave --session out.")
    runner = find_runner(client, given)
    if session_id == "latest":
        session_id = runner["latest_session_id"]
    if from_id is not None:
        _show_comparison(client, _compared(client, runner, from_id, to_id), stat=stat, as_json=as_json)
    elif stat or as_json:
        kind = "cumulative" if cumulative else "result"
        _list(client.diff_files(runner["id"], session_id, kind), as_json=as_json)
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


def apply_result_to(root: Path, client: Client, runner_id: str, session_id: str) -> None:
    """Apply what a session changed to a checkout that has the changes that the session started with."""
    files = client.diff_files(runner_id, session_id)
    checkout.apply(root, client.result_diff(runner_id, session_id), ())
    say(f"Applied to {len(files)} files in {root}.")


def _read(client: Client, runner_id: str, session_id: str | None, *, cumulative: bool) -> bytes:
    if session_id is None:
        return client.diff(runner_id)
    return (client.cumulative_diff if cumulative else client.result_diff)(runner_id, session_id)


def _compared(client: Client, runner: dict[str, Any], from_id: str, to_id: str | None) -> dict[str, Any]:
    """The comparison of two sessions, when it is done."""
    to_id = to_id or runner["head_session_id"]
    if to_id is None:
        raise CommandError("the runner has no diff. Name the session with --to")
    made = client.compare(runner["id"], None if from_id == "base" else from_id, to_id)
    while made["state"] == "pending":
        time.sleep(_POLL_SECONDS)
        made = client.comparison(runner["id"], made["id"])
    if made["failure"]:
        raise CommandError(
            f"the sessions could not be compared ({made['failure']['code']}): {made['failure']['message']}"
        )
    return made


def _show_comparison(client: Client, made: dict[str, Any], *, stat: bool, as_json: bool) -> None:
    ids = (made["agent_runner_id"], made["id"])
    if stat or as_json:
        _list(client.comparison_files(*ids) if made["has_diff"] else [], as_json=as_json)
    elif made["has_diff"]:
        _show(client.comparison_diff(*ids))
    else:
        say("The files are the same.")


def _list(files: list[dict[str, Any]], *, as_json: bool) -> None:
    print_json(files) if as_json else print_rows(("file", "added", "removed"), [_row(file) for file in files])


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
