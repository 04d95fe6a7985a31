"""Publishing what sessions made, on a plain repository and without a pull request."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.errors import Conflict, Invalid
from app.models import Publication
from app.models.states import Forge, PublicationKind, PublicationState, Scope, SensitiveFiles
from app.services.artifacts import uploads
from app.services.callers import Caller
from app.services.publishing import commit_messages, publication_attempts, publications
from app.services.runners import head
from app.services.sites import sites
from app.services.sites.site_secrets import secrets_of
from app.services.sites.sites import SiteFields
from app.services.variables.values import Variables
from tasks.jobs.publication_jobs import publish_job_of
from tasks.publications import publish
from tasks.sessions import run_session
from tests.asking import new_session
from tests.deployment import wait_for
from tests.statements import counted
from tests.tasks.conftest import read, runner_of
from tests.tasks.recorded import end_session, record_run
from tests.workers.repositories import commit_all, git, write
from workers.processes.lifeline import Lifeline
from workers.publishing.publish import PublishJob

SECRET = "the-token-of-the-forge-1"
HOW = {"x": False, "squashed": True}
"""Branches to commit to, and whether as one commit."""


def ada_of(session_id: uuid.UUID) -> Caller:
    session = read(session_id)
    return Caller(session.account_id, session.user_id, uuid.uuid4(), Scope.ADMIN)


def follow_up(session_id: uuid.UUID, script: str, *, runs: bool = True, **fields: Any) -> uuid.UUID:
    """Another session of the runner, which the engine `runs`, or which is recorded."""
    ada = ada_of(session_id)
    uploaded = uploads.find_uploaded(ada, fields.get("file_keys", []))
    with db.transaction():
        asked = {"agent": "shell", **fields}
        made = new_session(ada, runner_of(session_id).id, script, uploaded, **asked).id
    end_session(made, runs=runs)
    return made


def commit(session_id: uuid.UUID, **fields: Any) -> Publication:
    """Ask for a commit and have it made."""
    with db.transaction():
        publications.request_commit(ada_of(session_id), runner_of(session_id).id, fields)
        publication = newest(session_id)
    publish(str(publication.id))
    with db.transaction():
        return newest(session_id)


def newest(session_id: uuid.UUID) -> Publication:
    mine = Publication.agent_runner_id == read(session_id).agent_runner_id
    return db.session.scalars(sa.select(Publication).where(mine).order_by(Publication.id.desc())).first()


def others_commit(origin: Path, name: str, branch: str = "shared") -> None:
    """Put a file onto a branch, as somebody else does."""
    git(origin, "checkout", "--quiet", *([] if git(origin, "branch", "--list", branch) else ["-b"]), branch)
    write(origin, {name: "others\n"})
    commit_all(origin)
    git(origin, "checkout", "--quiet", "main")


@pytest.fixture
def origin(tmp_path: Path, ask) -> Path:
    return tmp_path / "origin"


def test_what_was_committed_to_a_branch_is_not_replaced_by_a_pull_request(ask, origin):
    git(origin, "branch", "shared")
    session_id = ask("echo changed > a.txt")
    record_run(session_id)
    landed = commit(session_id, target_branch="shared")
    assert landed.state == PublicationState.DONE, landed.error
    with db.transaction():
        runner = runner_of(session_id)
        asked = Publication(
            agent_runner_id=runner.id,
            session_id=session_id,
            user_id=runner.user_id,
            kind=PublicationKind.PULL_REQUEST,
            diff_key=runner.diff_key,
            branch="shared",
        )
        db.session.add(asked)
    with db.transaction():
        assert publication_attempts.claim(asked.id).own_shas == frozenset()


def test_what_has_landed_is_not_committed_again_and_a_follow_up_lands_on_top_of_it(ask, origin):
    for branch in HOW:
        others_commit(origin, "b.txt", branch)
    session_id = ask("echo one > a.txt")
    record_run(session_id)
    for branch, squash in HOW.items():
        first = commit(session_id, target_branch=branch, squash=squash)
        assert first.error is None and first.pushed_sha == git(origin, "rev-parse", branch)
        others_commit(origin, "c.txt", branch)
        tip = git(origin, "rev-parse", branch)
        again = commit(session_id, target_branch=branch, squash=squash, message="Once more" if squash else None)
        assert (again.state, git(origin, "rev-parse", branch)) == (PublicationState.DONE, tip)
        assert again.pushed_sha == runner_of(session_id).merge_commit_sha == first.pushed_sha
    follow_up(session_id, "echo two > a.txt", runs=False)
    for branch, squash in HOW.items():
        assert commit(session_id, target_branch=branch, squash=squash).error is None
        files = [git(origin, "show", f"{branch}:{name}") for name in ("a.txt", "b.txt", "c.txt")]
        assert files == ["two", "others", "others"]


def test_a_merge_says_what_the_caller_says_and_is_found_by_the_worker_after_one_that_was_lost(ask, origin):
    """The worker that pushed the merge pushed what went into it first, and was refused."""
    others_commit(origin, "b.txt")
    session_id = ask("echo one > a.txt")
    record_run(session_id)
    landed = commit(session_id, target_branch="shared", message="My words")
    made_by = "Co-authored-by: shell <shell@agent-runners.invalid>"
    for each in ("shared", "shared^2"):
        assert git(origin, "log", "-1", "--format=%B", each).strip() == f"My words\n\n{made_by}"
    merge, ours = git(origin, "rev-parse", "shared"), git(origin, "rev-parse", "shared^2")
    with db.transaction():
        row = db.session.get_one(Publication, landed.id)
        row.state, row.planned_shas, row.pushed_sha = PublicationState.PENDING, [ours, merge], None
    publish(str(landed.id))
    assert newest_settled(session_id).pushed_sha == merge


def test_commits_say_what_was_written_ahead_or_what_the_caller_says_and_name_everyone(ask, origin):
    session_id = ask("echo one > a.txt; echo Did one")
    record_run(session_id)
    follow_up(session_id, "echo two > a.txt; echo 'Fixes #1, did two'", requested_by="grace<x>", runs=False)
    # A message for the last session is not lost, although it has changed nothing. Nobody made a commit by that session.
    follow_up(session_id, "echo Nothing to do", requested_by="heidi", runs=False)
    with db.transaction(read_only=True):
        written = commit_messages.find(ada_of(session_id), runner_of(session_id).id)
    assert written.last == "echo two > a.txt; echo 'Fixes #1, did two'\n\nFixes #\u200b1, did two"
    shell, grace, heidi = (
        "Co-authored-by: shell <shell@agent-runners.invalid>",
        "Co-authored-by: grace x <gracex@users.noreply.invalid>",
        "Co-authored-by: heidi <heidi@users.noreply.invalid>",
    )
    for squash in (False, True):
        made_by = "\n".join([shell, grace, heidi] if squash else [grace, shell])
        own = ("My words\r\n\r\nAnd why.", "My words\n\nAnd why.")
        for number, (message, said) in enumerate([(None, written.squashed if squash else written.last), own]):
            branch = f"{'squashed' if squash else 'x'}-{number}"
            assert commit(session_id, target_branch=branch, message=message, squash=squash).error is None
            assert git(origin, "log", "-1", "--format=%an", branch) == "Ada"
            assert git(origin, "log", "-1", "--format=%B", branch).strip() == f"{said}\n\n{made_by}"
            earlier = git(origin, "log", "--format=%s", f"main..{branch}").splitlines()[1:]
            assert earlier == ([] if squash else ["echo one > a.txt; echo Did one"])


def test_a_publication_takes_few_statements_however_many_sessions_there_are(ask, origin):
    session_id = ask("echo one > a.txt")
    record_run(session_id)
    for number in range(3):
        follow_up(session_id, f"echo {number} >> a.txt", runs=False)
    with db.transaction():
        publications.request_commit(ada_of(session_id), runner_of(session_id).id, {"target_branch": "x"})
        publication = newest(session_id)
    with counted() as asked:
        publish(str(publication.id))
    assert git(origin, "rev-list", "--count", "main..x") == "4"
    # Heartbeats come as time goes by.
    statements = [each for each in asked.statements if not each.startswith("UPDATE publications SET lease_expires_at")]
    assert len(statements) <= 24, statements


def test_a_branch_that_moves_during_the_push_is_merged_into(ask, origin):
    git(origin, "checkout", "--quiet", "-b", "others")
    write(origin, {"b.txt": "others\n"})
    commit_all(origin)
    git(origin, "checkout", "--quiet", "main")
    git(origin, "branch", "shared")
    hook = origin / ".git" / "hooks" / "pre-receive"
    move = "env -u GIT_QUARANTINE_PATH git update-ref refs/heads/shared refs/heads/others"
    hook.write_text(f'#!/bin/sh\nset -e\nrm "$0"\n{move}\n')
    hook.chmod(0o755)
    session_id = ask("echo mine > a.txt")
    record_run(session_id)
    landed = commit(session_id, target_branch="shared")
    assert (landed.state, landed.error) == (PublicationState.DONE, None)
    assert not hook.exists()
    assert git(origin, "show", "shared:a.txt") == "mine"
    assert git(origin, "show", "shared:b.txt") == "others"


def test_a_revert_waits_for_a_commit_that_is_being_made(ask, origin):
    session_id = ask("echo changed > a.txt")
    record_run(session_id)
    with db.transaction():
        publications.request_commit(ada_of(session_id), runner_of(session_id).id, {"target_branch": "x"})
    with pytest.raises(Conflict), db.transaction():
        head.revert(ada_of(session_id), runner_of(session_id).id, None)


def test_a_branch_that_a_pull_request_failed_on_may_be_replaced_by_another(ask, origin):
    session_id = ask("echo changed > a.txt")
    record_run(session_id)
    branches = []
    for asked in ("taken", "free", None):
        with db.transaction():
            runner = runner_of(session_id)
            db.session.merge(runner.site).forge = Forge.GITHUB
        with db.transaction():
            made = publications.request_pull_request(ada_of(session_id), runner.id, {"branch": asked})
            branches.append(made.result_branch)
            publication = newest(session_id)
        with db.transaction():
            attempt = publication_attempts.claim(publication.id).publication.attempt
        with db.transaction():
            publication_attempts.fail(
                publication.id, attempt, "The branch holds commits that this runner did not make."
            )
    assert branches == ["taken", "free", "free"]


def holding(session_id: uuid.UUID, token: str) -> None:
    """Give the site of a session an access token."""
    with db.transaction():
        runner = runner_of(session_id)
        sites.update(ada_of(session_id), runner.site_id, SiteFields(access_token=token))


def test_secrets_that_later_sessions_took_out_reach_no_commit(ask, origin, monkeypatch):
    """One that only the worker of its session knew, and one of the site."""
    of_worker = "the-key-that-one-worker-knew"
    monkeypatch.setenv("ANTHROPIC_API_KEY", of_worker)
    first = ask(f"echo more > b.txt; echo {of_worker} > a.txt")
    run_session(str(first))
    assert read(first).contains_secret and runner_of(first).contains_secret
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    holding(first, SECRET)
    assert read(follow_up(first, f"echo clean > a.txt; echo {SECRET} > c.txt")).contains_secret
    with pytest.raises(Invalid, match="another session") as refused:
        commit(first, target_branch="x")
    assert refused.value.error_code == "contains_secret"
    follow_up(first, "echo clean > c.txt")
    assert not runner_of(first).contains_secret
    for branch, squash in HOW.items():
        assert commit(first, target_branch=branch, squash=squash).error is None
        files = [git(origin, "show", f"{branch}:{name}") for name in ("a.txt", "b.txt", "c.txt")]
        assert files == ["clean", "more", "clean"]
        assert git(origin, "log", "--format=%s", f"main..{branch}").count("\n") == 0
        patches = git(origin, "log", "--patch", "--format=fuller", f"main..{branch}")
        assert SECRET not in patches and of_worker not in patches


def test_a_token_of_another_key_is_named_with_a_remedy(ask, origin, configure):
    session_id = ask("echo more > b.txt")
    record_run(session_id)
    holding(session_id, SECRET)
    configure(SECRET_KEY="another key for tests, which is long enough")
    failed = commit(session_id, target_branch="x")
    assert failed.state == PublicationState.FAILED
    assert "access_token" in failed.error and "AGENT_RUNNERS_SECRET_KEY" in failed.error


def test_a_secret_that_became_known_after_the_session_is_found_before_the_push(ask, origin):
    session_id = ask(f"printf '\\000{SECRET}' > b.bin")
    record_run(session_id)
    assert not read(session_id).contains_secret
    holding(session_id, SECRET)
    failed = commit(session_id, target_branch="x")
    assert (failed.state, failed.pushed_sha) == (PublicationState.FAILED, None)
    assert "Nothing was pushed" in failed.error
    assert git(origin, "branch", "--list", "x") == ""


UPDATES_BY_COMMAND = '[submodule "x"]\\n\\tpath = x\\n\\turl = https://example.org/x\\n\\tupdate = !cmd\\n'


def test_what_git_forbids_reaches_no_commit(ask, origin):
    first = ask(f"printf '{UPDATES_BY_COMMAND}' > .gitmodules; echo b > b")
    record_run(first)
    for branch, squash in HOW.items():
        failed = commit(first, target_branch=branch, squash=squash)
        assert (failed.state, failed.pushed_sha) == (PublicationState.FAILED, None)
        assert ".gitmodules (gitmodulesUpdate)" in failed.error
        assert "Nothing was pushed" in failed.error and git(origin, "branch", "--list", branch) == ""
    follow_up(first, "rm .gitmodules", runs=False)
    git(origin, "config", "receive.fsckObjects", "true")
    for branch, squash in HOW.items():
        assert commit(first, target_branch=branch, squash=squash).error is None
        assert git(origin, "show", f"{branch}:b") == "b"
        assert git(origin, "log", "--format=%s", f"main..{branch}").count("\n") == 0


def test_what_is_published_quotes_no_secret_and_nothing_unseen(ask, origin):
    shape = "ghp" + "_" + "a1B2" * 9
    body = "\n".join(f"{'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC' * 2}{number:02}" for number in range(50))
    key = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"
    session_id = ask(
        f"# {SECRET} \u202e {'x' * 50}{SECRET} {shape}\necho changed > a.txt\n: '\n{key}'\n"
        f"printf '{SECRET} {shape} \\342\\200\\256 \\033[31m'"
    )
    holding(session_id, SECRET)
    run_session(str(session_id))
    for fields in ({}, {"message": f"by {SECRET}\n\n{shape}\u2066", "squash": True}):
        assert commit(session_id, target_branch=f"x{len(fields)}", **fields).error is None
    said = git(origin, "log", "--format=%B", "main..x0") + git(origin, "log", "--format=%B", "main..x2")
    assert SECRET not in said and shape not in said and "MIIEvQ" not in said and "[redacted]" in said
    assert not set("\u202e\u2066\x1b") & set(said) and "\\u202e" in said and "\\u2066" in said
    with db.transaction():
        db.session.merge(runner_of(session_id).site).forge = Forge.GITHUB
    job = job_of(session_id, {})
    messages = [change.message for change in job.changes]
    said = "\n".join([job.pull_request.default_title, job.pull_request.sessions, job.branch, *messages])
    assert SECRET not in said and SECRET[:12] not in said and shape not in said and "MIIEvQ" not in said
    assert said.count("[redacted]") == 12 and "\u202e" not in said


FAMILY, PERSIAN = "\U0001f469\u200d\U0001f467", "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"


def test_words_arrive_as_they_were_written(ask, origin):
    session_id = ask(
        f"# {FAMILY} {PERSIAN}\r\n#\techo\r\necho changed > a.txt; printf 'Did \\342\\200\\215 more'",
        title=f"{FAMILY}\r\n{PERSIAN}",
    )
    run_session(str(session_id))
    with db.transaction():
        runner = runner_of(session_id)
        runner.user.full_name = f"Ada {PERSIAN}\r\nLovelace"
        db.session.merge(runner.user)
        db.session.merge(runner.site).forge = Forge.GITHUB
    assert commit(session_id, target_branch="x").error is None
    assert f"Ada {PERSIAN} Lovelace" in git(origin, "log", "-1", "--format=%an %B", "x")
    job = job_of(session_id, {"body": f"{FAMILY}\r\n{PERSIAN}\rend\x1b\u202e"})
    assert job.pull_request.default_title == f"{FAMILY} {PERSIAN}"
    assert job.pull_request.body == f"{FAMILY}\n{PERSIAN}\nend\\x1b\\u202e"
    [change] = job.changes
    assert change.message == f"{FAMILY} {PERSIAN}\n\nDid \u200d more"
    assert change.author_name == f"Ada {PERSIAN} Lovelace"


def job_of(session_id: uuid.UUID, asked: dict[str, Any]) -> PublishJob:
    """The job of a pull request that is asked for with these fields."""
    with db.transaction():
        publications.request_pull_request(ada_of(session_id), runner_of(session_id).id, asked)
        publication = newest(session_id)
    with db.transaction():
        claim = publication_attempts.claim(publication.id)
    return publish_job_of(claim, secrets_of(claim.site, Variables()), Lifeline(600))


def test_a_publication_that_kills_its_worker_each_time_fails_after_three(ask, origin):
    session_id = ask("echo changed > a.txt")
    record_run(session_id)
    with db.transaction():
        publications.request_commit(ada_of(session_id), runner_of(session_id).id, {"target_branch": "notes"})
        number = newest(session_id).id
    for _ in range(3):
        assert claim_and_die(number)
    assert not claim_and_die(number)

    settled, runner = newest_settled(session_id), runner_of(session_id)
    assert (settled.state, settled.attempt, settled.workers_lost) == (PublicationState.FAILED, 3, 3)
    assert "3 workers were lost" in runner.merge_commit_error
    assert not runner.merge_commit_is_being_created
    assert commit(session_id, target_branch="notes").state == PublicationState.DONE, "it may be asked for again"


def test_an_attempt_that_fails_after_another_has_taken_over_records_nothing(ask, origin, configure, tmp_path):
    # It fails before its heartbeat notices.
    configure(HEARTBEAT_SECONDS="60", LEASE_SECONDS="300")
    pushed, refuse = tmp_path / "pushed", tmp_path / "refuse"
    hook = origin / ".git" / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\ntouch {pushed}\nuntil test -e {refuse}; do sleep 0.05; done\nexit 1\n")
    hook.chmod(0o755)
    session_id = ask("echo changed > a.txt")
    record_run(session_id)
    with db.transaction():
        publications.request_commit(ada_of(session_id), runner_of(session_id).id, {"target_branch": "notes"})
        publication_id = newest(session_id).id
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(publish, str(publication_id))
        wait_for("the push", pushed.exists)
        with db.transaction():
            db.session.get_one(Publication, publication_id).lease_expires_at = db.now(-1)
        with db.transaction():
            assert publication_attempts.claim(publication_id).publication.attempt == 2
        refuse.touch()
        assert first.result() is None
    left = newest_settled(session_id)
    assert (left.state, left.attempt, left.error) == (PublicationState.PENDING, 2, None)


def claim_and_die(number: uuid.UUID) -> bool:
    """Claim a publication and let its lease run out."""
    with db.transaction():
        claimed = publication_attempts.claim(number)
        if claimed is not None:
            claimed.publication.lease_expires_at = db.now(-1)
    return claimed is not None


def newest_settled(session_id: uuid.UUID) -> Publication:
    with db.transaction(read_only=True):
        return newest(session_id)


def test_what_an_agent_says_commands_nothing_on_the_forge(ask, origin):
    session_id = ask("# Closes #7, said @ada\necho changed > a.txt; echo 'Fixes #1 for @team'")
    record_run(session_id)
    with db.transaction():
        db.session.merge(runner_of(session_id).site).forge = Forge.GITHUB
    job = job_of(session_id, {})
    [change] = job.changes
    asked, answer = job.pull_request.sessions.split("\n\n")
    assert change.message.split("\n\n")[1] == answer == "Fixes #\u200b1 for @\u200bteam"
    assert asked.startswith("> # Closes #7, said @ada\n"), "the caller's own words have their effect"


def test_what_a_hook_delivered_commands_nothing_on_the_forge(ask, origin):
    """Who may open an issue may not close others, or notify people, in the name of the user of a hook."""
    session_id = ask("# Closes #7, said @ada ![](https://elsewhere.example)\necho b > a.txt", quotes_others=True)
    record_run(session_id)
    with db.transaction():
        site = db.session.merge(runner_of(session_id).site)
        site.forge, site.pr_body_template = Forge.GITHUB, "For: {{ title }}"
    job = job_of(session_id, {})
    [change] = job.changes
    spec = job.pull_request
    for said in (spec.default_title, spec.before, spec.sessions, change.message):
        assert "Closes #\u200b7, said @\u200bada !\u200b[](https" in said


def test_a_worker_refuses_sensitive_files_whatever_was_found_when_it_was_asked_for(ask, origin):
    session_id = ask("mkdir -p .husky; echo make > .husky/pre-push")
    record_run(session_id)
    with db.transaction():
        refuse = SiteFields(sensitive_files=SensitiveFiles.REFUSE)
        sites.update(ada_of(session_id), runner_of(session_id).site_id, refuse)
    refused = commit(session_id, target_branch="shared")
    assert refused.state == PublicationState.FAILED and "touches Git hooks, which the site refuses" in refused.error
    assert git(origin, "branch", "--list", "shared") == ""
