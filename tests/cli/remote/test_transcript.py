"""Exactly what every command prints, in one long day at the shell: on a terminal, in a pipe, and as JSON.

`transcripts/` has what was typed and printed. After a change that is meant, write them anew, and read the difference:
`TRANSCRIPTS=write .venv/bin/pytest tests/cli/remote/test_transcript.py`. Ids, times and secrets are
replaced by others of the same width. Of JSON there are the names of the fields, because the values are those of the API.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa

from app import db
from app.cli.main import agent_runners
from app.models import (
    Account,
    AgentRunner,
    AgentRunnerSession,
    Budget,
    Event,
    ForgeAccount,
    Hook,
    Preflight,
    Publication,
    Schedule,
    Token,
    User,
    Webhook,
    WebhookDelivery,
)
from app.models.states import PublicationKind, PublicationState, PullRequestState, Scope
from app.services.accounts import forge_accounts, tokens
from app.services.preflights import preflights
from app.services.publishing import publication_attempts
from app.services.publishing.pull_requests import PullRequestFacts
from tests.cli.remote.conftest import Run
from tests.cli.remote.test_running import CHANGE

pytestmark = pytest.mark.same_on_both_databases
TRANSCRIPTS = Path(__file__).with_name("transcripts")
ELSEWHERE = {
    **dict.fromkeys(("demo", "up", "broker", "web", "worker", "flower"), "they run until they are stopped"),
    **dict.fromkeys(("migrate", "doctor", "key accept"), "they are about the machine that they run on"),
    "mcp": "it speaks a protocol of its own",
}
"""The commands that are in no transcript, and why."""
ID, SHORT_ID = "0197c1de-0000-7000-8000-00003f9a01bc", "3f9a01bc"
MASKS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}"), ID),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "2026-11-28T12:00:00.000Z"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "2026-11-28"),
    (re.compile(r"\b(ar|whsec)_[\w+/=-]+"), r"\1_..."),
    (re.compile(r"\b[0-9a-f]{16}\b"), "0011223344556677"),
    (re.compile(r"(?<=Saved in )\S+/"), ".../"),
)
"""What differs each time, and what is shown instead, in the same width where a column follows."""
_AGE = re.compile(r"\b\d{1,4}[sm]\b *")
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SPINNER = re.compile("[\u2800-\u28ff]")

DAY = """
login http://testserver < {token}
whoami
agents
sites add https://github.com/example/shop.git --name shop --default-branch main
sites set shop --setup-command "npm ci"
sites list
sites check shop & checked
run "Make it b" --site shop --agent codex & done
show
list
rebase & done
steps
follow
diff
diff --stat
say "Make it c" --detach --agent codex
stop
stop
revert --session {first}
pr --title "Make it b" & published
commit notes & published
commit main
archive
purge 00000000-0000-7000-8000-000000000000 --yes
show 00000000-0000-7000-8000-000000000000
hooks add shop "Fix {{{{ issue.title }}}}" --name fixes
hooks list shop
hooks stop shop {hook}
hooks start shop {hook}
hooks rotate shop {hook}
hooks deliveries shop {hook}
hooks remove shop {hook}
schedules add shop "0 9 * * MON" "Update the dependencies." --timezone Europe/Berlin
schedules list shop
schedules stop shop {schedule}
schedules start shop {schedule}
schedules run shop {schedule}
schedules remove shop {schedule}
forge-webhooks add shop
forge-webhooks show shop
forge-webhooks set shop --archive-merged
forge-webhooks rotate shop
forge-webhooks deliveries shop
forge-webhooks remove shop
webhooks add https://hooks.example.org/in --event session.done --event session.error
webhooks list
webhooks set {webhook} --event session.error
webhooks rotate {webhook}
webhooks deliveries {delivered}
webhooks replay {webhook} {delivery}
webhooks remove {webhook}
variables set NPM_TOKEN < not-to-be-shown
variables list
variables remove NPM_TOKEN
budgets set --tokens 1000000
budgets list
budgets remove {budget}
forge-accounts add github < not-to-be-shown & connected
forge-accounts list
forge-accounts remove {forge_account}
tokens create ci --scope read
tokens list
tokens revoke {new_token}
members add grace@example.org "Grace Hopper"
members set {member} --role viewer
members list
members remove {member}
console --print
logout
whoami
"""
OPERATOR = """
account create "Bob's team" --email bob@example.org --max-queued-sessions 10
account list
account set {account} --max-concurrent-sessions 2
account list
token create --user bob@example.org --scope read --name dashboards
token list
token revoke {operators_token}
key check
init
"""


def _id(model: Any, *where: Any) -> str:
    """The id of the first row."""
    with db.transaction(read_only=True):
        return str(db.session.scalars(sa.select(model.id).where(*where).order_by(model.created_at).limit(1)).one())


def _delivered() -> str:
    """The webhook, which has tried for a day to deliver something."""
    with db.transaction():
        tried = {"event_type": "session.error", "state": "failed", "tries": 24, "status": 500, "tried_at": db.now()}
        ids = {
            "webhook_id": uuid.UUID(_id(Webhook)),
            "event_id": db.session.scalars(sa.select(Event.id).limit(1)).one(),
        }
        error = "The receiver answered 500, and not with a success."
        db.session.add(WebhookDelivery(error=error, **ids, **tried))
    return _id(Webhook)


COPIED: Mapping[str, Callable[[], str]] = {
    "first": lambda: _id(AgentRunnerSession),
    "hook": lambda: _id(Hook),
    "schedule": lambda: _id(Schedule),
    "webhook": lambda: _id(Webhook),
    "delivered": _delivered,
    "delivery": lambda: _id(WebhookDelivery),
    "budget": lambda: _id(Budget),
    "forge_account": lambda: _id(ForgeAccount),
    "new_token": lambda: _id(Token, Token.name == "ci"),
    "member": lambda: _id(User, User.email == "grace@example.org"),
    "account": lambda: _id(Account, Account.name == "Bob's team"),
    "operators_token": lambda: _id(Token, Token.name == "dashboards"),
}
"""What a person copies from what was printed before."""


class _Copied(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return COPIED[name]()


def checked() -> None:
    """Play the control worker that makes the checks of a site."""
    record_id = _eventually(Preflight.id)
    with db.transaction():
        preflights.record(record_id, [{"name": "push", "status": "ok", "code": None, "message": "It may."}])
    db.close()


def connected() -> None:
    """Play the control worker that asks the forge whose token it is."""
    account_id = _eventually(ForgeAccount.id)
    with db.transaction():
        forge_accounts.succeed(account_id, login="ada", name="Ada Lovelace", email="ada@example.org")
    db.close()


def published() -> None:
    """Play the control worker that opens a pull request, or makes a commit."""
    publication_id = _eventually(Publication.id, Publication.state == PublicationState.PENDING)
    facts = PullRequestFacts(7, "https://github.com/example/shop/pull/7", PullRequestState.OPEN)
    with db.transaction():
        claim = publication_attempts.claim(publication_id)
        assert claim is not None
        is_pull_request = claim.publication.kind == PublicationKind.PULL_REQUEST
        publication_attempts.succeed(
            publication_id, claim.publication.attempt, "d" * 40, facts if is_pull_request else None
        )
    db.close()


def _eventually(column: Any, *where: Any) -> uuid.UUID:
    while True:
        with db.transaction(read_only=True):
            found: uuid.UUID | None = db.session.scalar(sa.select(column).where(*where).limit(1))
        if found is not None:
            return found
        time.sleep(0.02)


def _masked(printed: str) -> str:
    """Without what differs each time."""
    for pattern, constant in MASKS:
        printed = pattern.sub(constant, printed)
    with db.transaction(read_only=True):
        ids = [*db.session.scalars(sa.select(AgentRunner.id)), *db.session.scalars(sa.select(AgentRunnerSession.id))]
    for each in ids:
        printed = printed.replace(str(each)[-8:], SHORT_ID)
    return _AGE.sub(lambda found: "0s".ljust(len(found[0])), printed)


def _shown(stdout: str, *, is_json: bool) -> str:
    if is_json and stdout:
        return f"{_fields(json.loads(stdout))}\n"
    lines = [line.rstrip() for line in _STYLE.sub("", stdout).replace("\r", "\n").split("\n")]
    if any(map(_SPINNER.search, lines)):
        # What moves while one waits is erased again, and how often it was shown depends on the machine.
        lines = [*filter(None, (line for line in lines if not _SPINNER.search(line))), ""]
    return "\n".join(lines)


def _fields(value: Any) -> str:
    if isinstance(value, list):
        return f"[{_fields(value[0])}]" if value else "[]"
    return ", ".join(value) if isinstance(value, dict) else json.dumps(value)


@pytest.fixture
def type_in(run_logged_out: Run, token: str, when_started: Any) -> Callable[..., str]:
    """Type commands one after the other; returns what was typed and printed."""
    players: Mapping[str, Callable[[], threading.Thread]] = {
        "done": lambda: when_started(diff=CHANGE, result="It is b now.", base_sha="0" * 40),
        "checked": lambda: _started(checked),
        "connected": lambda: _started(connected),
        "published": lambda: _started(published),
    }

    def type_in(commands: str, *, is_terminal: bool, is_json: bool) -> str:
        transcript = ""
        for line in commands.strip().splitlines():
            typed, _, player = line.partition(" & ")
            typed, _, stdin = typed.format_map(_Copied()).partition(" < ")
            playing = players[player]() if player else None
            words = [*shlex.split(typed), *(["--json"] if is_json else [])]
            result = run_logged_out(*words, stdin=f"{stdin}\n", is_terminal=is_terminal)
            if playing:
                playing.join()
            said = "".join(f"! {each}\n" for each in result.stderr.splitlines())
            status = f"(exit status {result.status})\n" if result.status else ""
            shown = _shown(result.stdout, is_json=is_json)
            transcript += f"$ agent-runners {typed}\n{shown}{said}{status}\n"
        return _masked(transcript)

    return type_in


def _started(play: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=play)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["terminal", "pipe", "json", "operator"])
def test_what_is_typed_prints_exactly_this(
    type_in: Callable[..., str],
    token: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The application is in this process, and logs to the same terminal.
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    with db.transaction():
        administrators = tokens.create_for_email("ada@example.org", Scope.ADMIN, "admin")[1]
    commands = OPERATOR if kind == "operator" else DAY.replace("{token}", administrators)
    printed = type_in(commands, is_terminal=kind == "terminal", is_json=kind == "json")
    assert token not in printed and administrators not in printed and "not-to-be-shown" not in printed
    path = TRANSCRIPTS / f"{kind}.txt"
    if os.environ.get("TRANSCRIPTS") == "write":
        path.write_text(printed)
    assert printed == path.read_text(), "if this is meant: TRANSCRIPTS=write, and read the difference"


def test_every_command_is_in_a_transcript() -> None:
    typed = f"{DAY}{OPERATOR}"
    without = [path for path in _paths(agent_runners, "") if f"\n{path}" not in typed and path not in ELSEWHERE]
    assert not without, "type it in DAY or OPERATOR, and write the transcripts anew"


def _paths(command: click.Command, path: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _paths(found, f"{path} {name}".strip())
