"""The API as a caller sees it, and a worker that is played by calling the verbs that tasks call."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app import db
from app.models import Account, Base, Token, User
from app.models.states import SessionState
from app.services.accounts import accounts
from app.services.artifacts import diffs
from app.services.execution import progress, session_attempts
from app.services.execution.outcomes import Failure, Outcome, Work
from app.services.execution.session_attempts import Claim
from tests.api.calling import Api, Person, created, ok, patch_of, path_of, session_path
from tests.application import application

_known: dict[str, tuple[str, list[tuple[type[Base], dict[str, Any]]]]] = {}


@pytest.fixture
def app(record: sa.Engine) -> Flask:
    """The application, with an empty database."""
    return application()


@pytest.fixture
def join(app: Flask) -> Callable[[str], Person]:
    """Make an account with one user."""

    def make(name: str) -> Person:
        with db.transaction():
            user, token = _copied(name) if name in _known else _created(name)
        return Person(user, Api(app.test_client(), token))

    return make


def _created(name: str) -> tuple[User, str]:
    user, token = accounts.create(f"{name}'s team", f"{name.lower()}@example.org", name)
    rows: list[tuple[type[Base], dict[str, Any]]] = []
    for model, is_made in (
        (Account, Account.id == user.account_id),
        (User, User.id == user.id),
        (Token, Token.user_id == user.id),
    ):
        row = dict(db.session.execute(sa.select(model.__table__).where(is_made)).mappings().one())
        rows.append((model, {column: value for column, value in row.items() if column not in ("id", "created_at")}))
    _known[name] = token, rows
    return user, token


def _copied(name: str) -> tuple[User, str]:
    """What was created for an earlier test, with new ids. Nearly every test needs an account, and this is quicker."""
    token, rows = _known[name]
    ids = {"account_id": db.new_id(), "user_id": db.new_id()}
    for (model, row), id in zip(rows, (*ids.values(), db.new_id()), strict=True):
        of_others = {column: value for column, value in ids.items() if column in row}
        db.session.execute(sa.insert(model), [{**row, **of_others, "id": id}])
    return db.session.get_one(User, ids["user_id"]), token


@pytest.fixture
def ada(join: Callable[[str], Person]) -> Person:
    return join("Ada")


@pytest.fixture
def api(ada: Person) -> Api:
    """Ada, who administers her account."""
    return ada.admin


@pytest.fixture
def make_site(api: Api) -> Callable[..., dict[str, Any]]:
    def make(by: Api = api, **fields: Any) -> dict[str, Any]:
        given = {"repo_url": "https://github.com/example/shop.git", "default_branch": "main", **fields}
        return created(by.post("/sites", given))

    return make


@pytest.fixture
def make_runner(api: Api, make_site: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Make a runner, on a new site unless `site` is given."""

    def make(by: Api = api, site: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        site = site or make_site(by)
        return created(by.post("/agent_runners", {"site_id": site["id"], "prompt": "Say hello.", **fields}))

    return make


class Worker:
    """One of our own workers, which writes to the record."""

    def claim(self, session_id: str) -> Claim:
        claim = self.find_claim(session_id)
        assert claim is not None, "the session is not to be had"
        return claim

    def find_claim(self, session_id: str) -> Claim | None:
        with db.transaction():
            return session_attempts.claim(uuid.UUID(session_id), str(uuid.uuid4()))

    def step(self, claim: Claim, title: str, message: str = "") -> None:
        self.steps(claim, [(title, message)])

    def steps(self, claim: Claim, steps: Iterable[tuple[str, str]]) -> None:
        """Report steps together, each with its title and message."""
        reports = [progress.Step(title, message, of_agent=True) for title, message in steps]
        with db.transaction():
            progress.record(claim.session.id, claim.attempt, reports)

    def hand_over(self, claim: Claim, agent: str, model: str | None = None) -> None:
        """Report that another agent takes over."""
        with db.transaction():
            progress.record(claim.session.id, claim.attempt, [progress.Takeover(agent, model)])

    def store(self, claim: Claim, kind: str, text: str | bytes) -> str:
        name = diffs.new_name(diffs.attempt_key(claim.runner.id, claim.session.id, claim.attempt, kind))
        return diffs.put(name, lambda: [text.encode() if isinstance(text, str) else text])

    def finish(
        self,
        claim: Claim,
        state: SessionState = SessionState.DONE,
        diff: str | bytes | None = None,
        *,
        result: str | None = None,
        failure: Failure | None = None,
        questions: list[dict[str, Any]] | None = None,
        **work: Any,
    ) -> None:
        if diff is not None:
            work |= {f"{kind}_diff_key": self.store(claim, kind, diff) for kind in ("result", "cumulative")}
        with db.transaction():
            session_attempts.finish(
                claim.session.id,
                claim.attempt,
                state,
                Outcome(Work(**work), result, failure=failure, questions=questions),
            )

    def run(self, session_id: str, diff: str | bytes | None = None, **arguments: Any) -> Claim:
        """Claim and finish a session at once."""
        claim = self.claim(session_id)
        self.finish(claim, diff=diff, **arguments)
        return claim

    def keep(self, claim: Claim) -> None:
        """Say that a session that was stopped has ended, without work."""
        with db.transaction():
            session_attempts.keep_work(claim.session.id, claim.attempt, Work())

    def lose(self, claim: Claim) -> None:
        """Let the lease run out, as if the worker had died."""
        with db.transaction():
            row = db.session.merge(claim.session)
            row.lease_expires_at = db.now(-1)


@pytest.fixture
def worker(record: sa.Engine) -> Worker:
    return Worker()


@pytest.fixture
def make_done_runner(api: Api, make_runner: Callable[..., dict[str, Any]], worker: Worker) -> Callable[..., Any]:
    """Make a runner whose first session is DONE, with a diff unless asked otherwise."""

    def make(diff: str | bytes | None = patch_of("one"), **fields: Any) -> dict[str, Any]:
        runner = make_runner(**fields)
        worker.run(runner["latest_session_id"], diff)
        return ok(api.get(path_of(runner)))

    return make


@pytest.fixture
def follow_up(api: Api, worker: Worker) -> Callable[..., dict[str, Any]]:
    """Ask for another session of a runner and have it done, with a diff if one is given."""

    def ask(runner: dict[str, Any], diff: str | bytes | None = None, **arguments: Any) -> dict[str, Any]:
        session = created(api.post(path_of(runner, "/sessions"), {"prompt": "More."}))
        worker.run(session["id"], diff, **arguments)
        return ok(api.get(session_path(runner, session["id"])))

    return ask


@pytest.fixture
def five(make_runner: Callable[..., dict[str, Any]], make_site: Callable[..., dict[str, Any]]) -> list[str]:
    """Five runners of one site, the newest first."""
    site = make_site()
    return [make_runner(site=site, title=f"Runner {n}")["id"] for n in range(5)][::-1]
