"""What event streams are made of: the events after a position, of a session, a runner or an account.

A position is what a client sends as `Last-Event-ID`. Within a runner it is the event's number. An account's events have
no common number: to count them, all its sessions would wait for one lock. Their order is the time at which they were
recorded, and they are read up to a time before which nothing can be added any more.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import sqlalchemy as sa

from app import database_changes, db
from app.errors import AppError
from app.models import AgentRunner, AgentRunnerSession, Event, Site
from app.models.states import FINAL, Scope
from app.services import lookup
from app.services.accounts import tokens
from app.services.callers import Caller
from app.services.events import OF_ACCOUNT

MOST_AT_ONCE = 500
MOST_BYTES_AT_ONCE = 256 * 1024
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Cursor(NamedTuple):
    """A position in the events of an account."""

    time: datetime.datetime
    event_id: uuid.UUID

    def __str__(self) -> str:
        return f"{(self.time - _EPOCH) // datetime.timedelta(microseconds=1)}-{self.event_id.hex}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor of the event with that id."""
        microseconds, _, event_id = text.partition("-")
        return cls(_EPOCH + datetime.timedelta(microseconds=int(microseconds)), uuid.UUID(event_id))


Position = int | Cursor


@dataclass(frozen=True)
class Found:
    """Events with their positions, in order."""

    events: list[tuple[Position, Event]]
    is_all: bool
    """False: there are more events already."""
    state: str | None = None
    """The state of the session whose events these are."""
    is_last: bool = False
    """Whether no events will follow, ever."""


@dataclass(frozen=True)
class SessionEvents:
    """The events of a session, to its end."""

    runner_id: uuid.UUID
    session_id: uuid.UUID
    must_lock: ClassVar[bool] = False

    @property
    def key(self) -> uuid.UUID:
        return self.runner_id

    def check(self, caller: Caller) -> None:
        caller.require(Scope.READ)
        lookup.get_session(lookup.get_runner(caller, self.runner_id), self.session_id)

    def read_after(self, position: Position) -> Found:
        # The state is read before the events, so that no event is missed when the state read is final.
        state = db.session.scalar(sa.select(AgentRunnerSession.state).where(AgentRunnerSession.id == self.session_id))
        found, is_all = _read(_of_runner(self.runner_id, position).where(Event.session_id == self.session_id))
        return Found(_numbered(found), is_all, state and state.value, is_all and state in FINAL)


@dataclass(frozen=True)
class RunnerEvents:
    """The events of all sessions of a runner."""

    runner_id: uuid.UUID
    must_lock: ClassVar[bool] = False

    @property
    def key(self) -> uuid.UUID:
        return self.runner_id

    def check(self, caller: Caller) -> None:
        caller.require(Scope.READ)
        lookup.get_runner(caller, self.runner_id)

    def read_after(self, position: Position) -> Found:
        found, is_all = _read(_of_runner(self.runner_id, position))
        return Found(_numbered(found), is_all)


@dataclass(frozen=True)
class AccountEvents:
    """The changes of state in an account, for lists: of sessions, runners and publications; and warnings of budgets."""

    account_id: uuid.UUID
    must_lock: ClassVar[bool] = True

    @property
    def key(self) -> uuid.UUID:
        return self.account_id

    @property
    def runner_id(self) -> None:
        return None

    def check(self, caller: Caller) -> None:
        caller.require(Scope.READ)

    def now(self) -> Cursor:
        """The position after everything that can be read now."""
        return Cursor(database_changes.settled_until(), uuid.UUID(int=0))

    def read_after(self, position: Position) -> Found:
        assert isinstance(position, Cursor)
        settled = database_changes.settled_until()
        place = sa.tuple_(Event.created_at, Event.id)
        after = sa.tuple_(sa.literal(position.time, db.Timestamp()), sa.literal(position.event_id, sa.Uuid()))
        mine = (
            sa.select(Event)
            .join(AgentRunner, AgentRunner.id == Event.agent_runner_id)
            .join(Site, Site.id == AgentRunner.site_id)
            .where(AgentRunner.account_id == self.account_id, Site.deleted_at.is_(None))
            .where(Event.kind.in_(OF_ACCOUNT), place > after)
            .order_by(Event.created_at, Event.id)
        )
        found, is_all = _read(mine.where(Event.created_at < settled))
        is_all = is_all and not db.session.scalar(sa.select(mine.where(Event.created_at >= settled).exists()))
        return Found([(Cursor(event.created_at, event.id), event) for event in found], is_all)


Source = SessionEvents | RunnerEvents | AccountEvents


def _of_runner(runner_id: uuid.UUID, position: Position) -> sa.Select[Event]:
    mine = sa.select(Event).where(Event.agent_runner_id == runner_id, Event.seq > position)
    return mine.order_by(Event.seq)


def _read(query: sa.Select[Event]) -> tuple[list[Event], bool]:
    """The first events of the query, and whether these are all. Few rows are loaded beyond the limit on their size.

    Rows have the same attributes as objects of the session, which take longer to make than to read.
    """
    found: list[Any] = []
    room = MOST_BYTES_AT_ONCE
    columns = query.limit(MOST_AT_ONCE).with_only_columns(*Event.__table__.columns, maintain_column_froms=True)
    with db.session.execute(columns, execution_options={"yield_per": 50}) as rows:
        for event in rows:
            found.append(event)
            room -= sum(len(value) for value in event.payload.values() if isinstance(value, str))
            if room < 0:
                return found, False
    return found, len(found) < MOST_AT_ONCE


def _numbered(found: list[Event]) -> list[tuple[Position, Event]]:
    return [(event.seq, event) for event in found]


def last_numbers(runner_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
    """The number of the last event of each of the runners."""
    numbers = sa.select(AgentRunner.id, AgentRunner.last_event_seq).where(AgentRunner.id.in_(runner_ids))
    return {row.id: row.last_event_seq for row in db.session.execute(numbers)}


Watched = tuple[Caller, Source]


def refusals(watched: Collection[Watched]) -> dict[Watched, AppError]:
    """Those that may not listen any more, such as with a revoked token or to a deleted runner, and why.

    All of them are checked by two queries, and those that fail are then asked in full.
    """
    if not watched:
        return {}
    callers = tokens.find_callers({caller.token_id for caller, _ in watched})
    runner_ids = {source.runner_id for _, source in watched if source.runner_id}
    visible = sa.select(AgentRunner.id, AgentRunner.account_id).join(Site, Site.id == AgentRunner.site_id)
    visible = visible.where(AgentRunner.id.in_(runner_ids), Site.deleted_at.is_(None))
    seen: set[tuple[Any, Any]] = {(runner_id, account_id) for runner_id, account_id in db.session.execute(visible)}
    found: dict[Watched, AppError] = {}
    for caller, source in watched:
        is_same = callers.get(caller.token_id) == caller
        if is_same and (source.runner_id is None or (source.runner_id, caller.account_id) in seen):
            continue
        try:
            source.check(tokens.get_caller(caller.token_id))
        except AppError as error:
            found[caller, source] = error
    return found
