"""People's own accounts on forges: a worker asks whose token it is, and work that they ask for is theirs there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from app import db, keys
from app.models import AgentRunnerSession, ForgeAccount, User
from app.models.states import Forge
from app.services.accounts import forge_accounts
from app.services.publishing import publication_attempts
from tasks.forge_accounts import connect_forge_account
from tests.demo.forge import DemoForge
from tests.matrix import usual
from tests.tasks.pull_request import Opened, Work
from tests.tasks.test_publishing import job_of, newest


@pytest.fixture
def make_work(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Callable[..., Work]:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    return lambda kind=Forge.GITHUB: Work(forge, ask("# Make one\necho one > a.txt; echo Did one."), kind)


def connect(work: Work | Opened, kind: Forge, login: str) -> dict[str, Any] | None:
    """Connect an account of Ada's with the token of that person on the forge; the failure, if there is one."""
    token = work.forge.tokens_of_people.get(login, "a-token-of-nobody")
    api_url = f"{work.forge.url}/ada" if kind == Forge.AZURE_DEVOPS else work.forge.url
    with db.transaction():
        made = forge_accounts.connect(work.ada, forge=kind, forge_api_url=api_url, token=token).row
    connect_forge_account(str(made.id))
    with db.transaction(read_only=True):
        return forge_accounts.get(work.ada, made.id).failure


def author_of(work: Work) -> tuple[str, str]:
    sha = work.repository.branches()[work.runner.pr_branch or ""]
    name, email, message = work.repository.git("log", "-1", "--format=%an%x00%ae%x00%B", sha).strip().split("\0")
    assert "Co-authored-by: shell <shell@agent-runners.invalid>" in message
    return name, email


def test_who_asks_is_the_author_and_what_is_done_later_is_done_with_the_token_of_the_site(
    make_work: Callable[..., Work],
) -> None:
    """Other forges: `test_other_forges_have_pull_requests_too_which_are_of_who_asks`."""
    work = make_work()
    assert connect(work, Forge.GITHUB, "ada") is None
    assert work.publish().pr_warnings is None and work.pull["user"]["login"] == "ada"
    name, email = author_of(work)
    assert name.lower() == "ada" and email != "ada@example.org" and "ada" in email
    work.follow_up("# Make two\necho two > a.txt")
    with db.transaction():
        # It would be refused.
        db.session.execute(sa.update(ForgeAccount).values(token_encrypted=keys.encrypt("a-token-that-is-no-more")))
    assert work.publish(title="Later").pr_warnings is None and work.pull["title"] == "Later"


@pytest.mark.parametrize("kind", usual([Forge.GITHUB, Forge.GITLAB, Forge.GITEA]))
def test_where_the_forge_refuses_the_person_the_site_opens_it_and_says_so(
    make_work: Callable[..., Work], kind: Forge
) -> None:
    work = make_work(kind)
    connect(work, kind, "grace")
    runner = work.publish()
    assert work.pull["user"]["login"] == "demo"
    [warning] = runner.pr_warnings or []
    assert "not by grace: the forge refused the token" in warning and "Connect the account again" in warning
    assert author_of(work)[0].lower() == "grace"


def test_a_token_that_is_nobodys_fails_and_is_shown_nowhere(
    make_work: Callable[..., Work], capfd: pytest.CaptureFixture[str]
) -> None:
    work = make_work()
    failure = connect(work, Forge.GITHUB, "nobody")
    assert failure is not None and failure["code"] == "forge_auth" and "Connect the account again" in failure["message"]
    work.publish()
    assert work.pull["user"]["login"] == "demo" and author_of(work) == ("Ada", "ada@example.org")
    assert "a-token-of-nobody" not in str(failure) + str(capfd.readouterr())


def test_the_token_is_in_no_log_no_text_and_no_row(
    make_work: Callable[..., Work], capfd: pytest.CaptureFixture[str]
) -> None:
    work = make_work()
    connect(work, Forge.GITHUB, "ada")
    token = work.forge.tokens_of_people["ada"]
    work.publish(title=f"Use {token}", body=f"It is {token}.")
    assert token not in str(work.pull) and "[redacted]" in work.pull["title"]
    with db.transaction(read_only=True):
        rows = [db.session.execute(sa.text(f"SELECT * FROM {name}")).all() for name in ("events", "forge_accounts")]
    assert token not in str(rows) + str(capfd.readouterr())


def test_an_account_is_used_on_its_own_server_of_who_is_active_and_asks(make_work: Callable[..., Work]) -> None:
    work = make_work()
    connect(work, Forge.GITHUB, "ada")

    def used() -> tuple[str | None, bool]:
        """Whose account opens a pull request that Ada asks for now, and whether its commit is by that account."""
        job = job_of(work.first, {})
        with db.transaction():
            publication = newest(work.first)
            publication_attempts.fail(publication.id, publication.attempt, "It is not made.")
        assert job.pull_request is not None
        [change], opener = job.changes, job.pull_request.opener
        return opener.login if opener else None, change.author_email != "ada@example.org"

    def change(table: type[ForgeAccount] | type[User] | type[AgentRunnerSession], **values: object) -> None:
        with db.transaction():
            db.session.execute(sa.update(table).values(**values))

    assert used() == ("ada", True)
    change(ForgeAccount, forge_api_url="https://git.example.org/api/v3")
    assert used() == (None, False), "it is one of another server"
    change(ForgeAccount, forge_api_url=work.forge.url)
    change(User, disabled_at=db.now())
    assert used() == (None, False), "she is disabled"
    change(User, disabled_at=None)
    assert used() == ("ada", True)
    change(AgentRunnerSession, requested_by="mallory")
    assert used()[0] is None, "somebody else has asked for it on the forge, and she has only allowed that"


def test_an_account_that_is_removed_while_a_publication_runs_is_not_used(
    make_work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = make_work()
    connect(work, Forge.GITHUB, "ada")
    claim = publication_attempts.claim

    def claim_and_remove(publication_id: uuid.UUID) -> publication_attempts.PublicationClaim | None:
        claimed = claim(publication_id)
        forge_accounts.delete_all(work.ada.user_id)
        return claimed

    monkeypatch.setattr(publication_attempts, "claim", claim_and_remove)
    runner = work.publish()
    assert work.pull["user"]["login"] == "demo"
    assert "disconnected meanwhile" in str(runner.pr_warnings)


def test_of_a_token_with_an_address_the_token_alone_is_secret_too(make_work: Callable[..., Work]) -> None:
    work = make_work()
    connect(work, Forge.GITHUB, "ada")
    with db.transaction():
        encrypted = keys.encrypt("ada@example.org:an-api-token-of-hers")
        db.session.execute(sa.update(ForgeAccount).values(token_encrypted=encrypted))
    work.publish(body="It is an-api-token-of-hers.")
    assert work.pull["body"] == "It is [redacted]."
