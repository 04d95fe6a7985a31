"""`agent-runners doctor` and the start of a worker: each part that does not work is reported with its remedy."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.models import Account, AgentRunner, AgentRunnerSession, Publication
from app.models.states import PublicationKind, Scope, SessionState
from app.services.accounts import accounts
from app.services.callers import Caller
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tasks.doctor import github, machine
from tests.asking import new_runner
from tests.cli import processes
from tests.cli.processes import environment, run, wait_for
from tests.demo.apps import RegisteredApp
from tests.demo.forge import demo_forge
from tests.program import Started


def findings(folder: Path, **settings: str) -> dict[str, dict[str, Any]]:
    """The finding of doctor for each part."""
    done, found = processes.findings(folder, **settings)
    assert not done.stderr, done.stderr
    faults = [part for part, each in found.items() if each["state"] in ("missing", "failing") and "agent" not in part]
    assert done.returncode == bool(faults)
    return found


def test_on_a_new_machine_missing_parts_are_reported_with_their_remedies(folder: Path) -> None:
    found = findings(folder, SANDBOX="bubblewrap", AGENTS="shell,claude")
    assert {found[part]["state"] for part in ("git", "heartbeat", "agent shell")} == {"working"}
    assert {"sandbox", "agent claude"} <= found.keys()
    assert not {"signing key", "github app"} & found.keys(), "what is not set is not looked at"
    assert not (folder / "data").exists(), "looking creates nothing"
    for part, remedy in {
        "data folder": "agent-runners migrate",
        "database": "agent-runners migrate",
        "artifact store": "agent-runners migrate",
        "broker": "agent-runners broker",
        "workers": "broker first",
        "sweep": "database first",
        "queue": "database first",
    }.items():
        assert found[part]["state"] == "missing" and remedy in found[part]["remedy"], found[part]


def test_the_github_app_is_tried(folder: Path, tmp_path: Path, configure: Callable[..., None]) -> None:
    with demo_forge(tmp_path / "forge") as forge:
        registered = RegisteredApp(forge, tmp_path)
        settings = {
            "GITHUB_APP_ID": "7",
            "GITHUB_APP_KEY_FILE": str(registered.key_file),
            "GITHUB_APP_URL": forge.url,
            "GITHUB_APP_GRANTS": "*=acme,*=widgets/shop",
            "ALLOW_PRIVATE_ADDRESSES": "1",
        }

        registered.install({"owner": "Acme"}, {"owner": "widgets", "repositories": ["shop"]})
        tried = findings(folder, **settings)["github app"]
        assert (tried["state"], tried["detail"]) == ("working", "agent-runners, for acme, widgets")
        for words, changed in (
            ("AGENT_RUNNERS_GITHUB_APP_ID", {"GITHUB_APP_ID": "8"}),
            ("No such file", {"GITHUB_APP_KEY_FILE": "missing.pem"}),
            ("AGENT_RUNNERS_GITHUB_APP_GRANTS", {"GITHUB_APP_GRANTS": ""}),
            ("not installed by gone", {"GITHUB_APP_GRANTS": "*=acme,*=gone"}),
        ):
            configure(**{**settings, **changed})
            found = github.app()
            assert found.state == "failing" and words in f"{found.detail} {found.remedy}"
        registered.install({"owner": "acme"}, permissions={"contents": "read"})
        configure(**settings)
        assert "pull_requests: write" in github.app().detail


def test_the_key_that_signs_commits_is_tried(folder: Path, tmp_path: Path, configure: Callable[..., None]) -> None:
    key = tmp_path / "key"
    configure(SIGNING_KEY_FILE=str(key))
    missing = machine.signing()
    assert (missing.state, "ssh-keygen -t ed25519" in missing.remedy) == ("failing", True)
    if not shutil.which("ssh-keygen"):
        pytest.skip("NOT TESTED: no ssh-keygen; install it with `apt-get install openssh-client`")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    found = findings(folder, SIGNING_KEY_FILE=str(key))["signing key"]
    assert found["state"] == "working" and found["detail"].startswith("ssh-ed25519 ")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_clock_that_differs_from_the_databases_is_reported(
    folder: Path, record: sa.Engine, database_url: str
) -> None:
    body = "SELECT pg_catalog.clock_timestamp() - interval '90 seconds'"
    with record.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA late"))
        connection.execute(
            sa.text(f"CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $${body}$$")
        )
    try:
        late = sa.make_url(database_url).update_query_dict({"options": "-csearch_path=late,pg_catalog,public"})
        found = findings(folder, DATABASE_URL=late.render_as_string(hide_password=False))["clock"]
    finally:
        with record.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA late CASCADE"))
    assert found["state"] == "failing" and found["detail"].startswith(("90 s ahead of", "91 s ahead of")), found
    assert "chrony" in found["remedy"]


def test_a_heartbeat_that_is_too_slow_for_the_lease_is_reported(folder: Path) -> None:
    found = findings(folder, HEARTBEAT_SECONDS="30")["heartbeat"]
    assert found["state"] == "failing" and "every 30 s, for a lease of 30 s" in found["detail"]
    assert "AGENT_RUNNERS_HEARTBEAT_SECONDS" in found["remedy"]


def test_the_table_shows_details_verbatim(folder: Path) -> None:
    done = run(folder, "doctor", EGRESS_HOSTS="[::1]:b:c")
    assert "AGENT_RUNNERS_EGRESS_HOSTS" in done.stdout and "[::1]:b:c" in done.stdout and done.returncode == 1


def test_an_unavailable_database_is_reported_without_its_password(folder: Path) -> None:
    found = findings(folder, DATABASE_URL="postgresql://ada:correct-horse@127.0.0.1:1/there?connect_timeout=2")
    assert found["database"]["state"] == "missing" and "AGENT_RUNNERS_DATABASE_URL" in found["database"]["remedy"]
    assert "correct-horse" not in json.dumps(found)


@pytest.mark.parametrize(
    ("name", "value"), [("EGRESS_HOSTS", "pypi.org,a:b:c"), ("SANDBOX", "jail"), ("LEASE_SECONDS", "soon")]
)
def test_an_invalid_setting_ends_a_worker_at_its_start(folder: Path, name: str, value: str) -> None:
    done = run(folder, "worker", "sessions", **{name: value})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("agent-runners") and f"AGENT_RUNNERS_{name}" in done.stderr
    assert "Traceback" not in done.stderr


def ask(account_name: str, **values: object) -> AgentRunner:
    """A runner whose session is changed directly in the database, to simulate the passing of time."""
    with db.transaction():
        user, _ = accounts.create(account_name, f"{account_name.replace(' ', '-')}@example.org", account_name)
        caller = Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)
        site = sites.create(caller, SiteFields(repo_url="https://github.com/example/shop.git"))
        runner = new_runner(caller, site.id)
        mine = AgentRunnerSession.id == runner.latest_session_id
        db.session.execute(sa.update(AgentRunnerSession).where(mine).values(**values))
        return runner


STUCK = ("queue", "leases", "publications", "lost sessions")


def states(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {part: found[part]["state"] for part in STUCK}


def test_faults_of_the_queue_are_reported_with_their_remedies(
    folder: Path, record: sa.Engine, database_url: str
) -> None:
    ask("waiting", created_at=db.now(-100))
    ask("silent", state=SessionState.RUNNING, attempt=1, lease_expires_at=db.now(-130))
    failure = {"code": "worker_lost", "stage": "agent", "retryable": True, "message": "Three were lost."}
    ask("lost", state=SessionState.ERROR, done_at=db.now(-60), failure=failure)
    runner = ask("publishing", state=SessionState.DONE, done_at=db.now(-2000))
    with db.transaction():
        user_id, kind = runner.user_id, PublicationKind.COMMIT
        row = {"user_id": user_id, "kind": kind, "diff_key": "1/cumulative.patch", "branch": "notes"}
        db.session.add(Publication(agent_runner_id=runner.id, created_at=db.now(-1000), **row))
    found = findings(folder, DATABASE_URL=database_url)
    assert states(found) == dict.fromkeys(STUCK, "failing")
    for part, detail, remedy in (
        ("queue", "and no worker answers", "agent-runners worker sessions"),
        ("leases", "1 sessions are RUNNING", "sweep"),
        ("publications", "1 pull requests and commits", "agent-runners worker control"),
        ("lost sessions", "1 sessions ended with `worker_lost`", "logs of the session workers"),
    ):
        assert detail in found[part]["detail"] and remedy in found[part]["remedy"], found[part]
        assert "docs/faults.md" in found[part]["remedy"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_waiting_session_is_reported_if_a_worker_has_room(folder: Path, record: sa.Engine, database_url: str) -> None:
    # The session is never dispatched, as this process has no broker and no sweep runs.
    ask("waiting", created_at=db.now(-100))
    settings = {"DATABASE_URL": database_url, "SESSION_WORKERS": "1", "SANDBOX": "none", "AGENTS": "shell"}
    log = folder / "log"
    broker, worker = (
        Started(command, environment(folder, **settings), log) for command in (["broker"], ["worker", "sessions"])
    )
    try:
        wait_for("the worker", lambda: log.exists() and "ready" in log.read_text())
        wait_for("its place", lambda: "only 0 of 1 places are taken" in findings(folder, **settings)["queue"]["detail"])
        ask("running", state=SessionState.RUNNING, attempt=1, lease_expires_at=db.now(600))

        def all_places_are_taken() -> bool:
            # A worker that has no second to answer in counts as none.
            found = findings(folder, **settings)["queue"]
            return found["state"] == "working" and "all 1 places are taken" in found["detail"]

        wait_for("the place to be taken", all_places_are_taken)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()
        broker.kill()


def test_ordinary_waits_are_not_reported(folder: Path, record: sa.Engine, database_url: str) -> None:
    ask("asking just now")
    ask("silent for a moment", state=SessionState.RUNNING, attempt=1, lease_expires_at=db.now(-5))
    failure = {"code": "worker_lost", "stage": "agent", "retryable": True, "message": "Three were lost."}
    ask("lost long ago", state=SessionState.ERROR, done_at=db.now(-9000), failure=failure)
    ask("failed otherwise", state=SessionState.ERROR, done_at=db.now(-60), failure={**failure, "code": "stalled"})
    found = findings(folder, DATABASE_URL=database_url)
    assert states(found) == dict.fromkeys(STUCK, "working") and found["clock"]["state"] == "working"


def test_a_session_that_waits_for_a_limit_is_not_reported(folder: Path, record: sa.Engine, database_url: str) -> None:
    limited = ask("limited", created_at=db.now(-100))
    with db.transaction():
        mine = Account.id == limited.account_id
        db.session.execute(sa.update(Account).where(mine).values(max_concurrent_sessions=0))
    assert states(findings(folder, DATABASE_URL=database_url))["queue"] == "working"
