"""What a session worker does before its pool is forked, so that no process of the pool has to."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import sqlalchemy as sa

from app import db
from app.models import Base
from app.models.states import BudgetPeriod, Scope
from app.services.budgets import budgets
from app.services.budgets.budgets import BudgetFields, Whose
from app.services.callers import Caller
from tasks.startup.rehearsal import rehearse
from tests.asking import new_session
from tests.tasks.conftest import read

# Of command lines, of Flower, of the web process and of other workers.
OF_OTHERS = {
    "prompt_toolkit",
    "rich",
    "tornado",
    "pygments",
    "wcwidth",
    "flask",
    "flower",
    "marshmallow",
    "gunicorn",
    "cffi",
    "cronsim",
    "smtplib",
}

SCRIPT = """date +%N > a.txt
echo '{"type": "usage", "input_tokens": 10}'"""
OF_AN_AGENT = """date +%N > a.txt
mkdir -p ~/.agent-runners/session; date > ~/.agent-runners/session/memory
echo '{"type": "step", "title": "Write a.txt"}'
echo '{"type": "usage", "input_tokens": 10}'
echo '{"type": "session", "id": "one"}'
echo '{"type": "result", "text": "Done."}'"""


def caller_of(session_id: uuid.UUID) -> Caller:
    session = read(session_id)
    return Caller(session.account_id, session.user_id, uuid.uuid4(), Scope.ADMIN)


def test_a_session_finds_everything_imported_and_compiled_and_nothing_that_only_others_need(ask, configure, tmp_path):
    configure(AGENTS="shell,scripted")
    first = ask(SCRIPT, agent="scripted")
    with db.transaction():
        budgets.create(caller_of(first), Whose(), BudgetPeriod.MONTH, BudgetFields(max_tokens=1_000))
    command, log = [sys.executable, "-m", "tests.tasks.pool_process"], tmp_path / "log"
    with (
        open(log, "w") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as pool,
    ):

        def run(session_id: uuid.UUID) -> dict[str, list[str]]:
            """Run it as a process of a pool does, with what the pool was forked with."""
            print(session_id, file=pool.stdin, flush=True)
            told = pool.stdout.readline()
            assert told, log.read_text()
            found = json.loads(told)
            assert read(session_id).state == "DONE"
            assert not found["compiled"], "compiled by the session; run it in tasks.startup.rehearsal"
            return found

        found = run(first)
        assert not found["new"], "imported by the session; import it in tasks.startup.warm_up"
        assert not OF_OTHERS & {module.partition(".")[0] for module in found["modules"]}, "only others need it"
        with db.transaction():
            more = "echo more > a.txt; echo done"
            follow_up = new_session(caller_of(first), read(first).agent_runner_id, more, agent="shell").id
        run(follow_up)
        remembering = ask(OF_AN_AGENT, agent="scripted")
        run(remembering)
        with db.transaction():
            resumed = new_session(caller_of(first), read(remembering).agent_runner_id, OF_AN_AGENT).id
        run(resumed)
        assert read(resumed).conversation_key and read(resumed).result
    assert "statements_not_compiled" in log.read_text(), "it starts without its database as well"


def test_the_rehearsal_waits_for_no_lock_and_leaves_no_trace(record):
    db.close()  # A worker that starts has no connections yet.
    with record.begin() as other:
        if record.dialect.name == "postgresql":
            for table in Base.metadata.sorted_tables:
                other.execute(sa.text(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE"))
        rehearse()
    with record.connect() as connection:
        for table in Base.metadata.sorted_tables:
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0, table.name
