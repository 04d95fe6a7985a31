"""What claim, beat, finish, stop and sweep are to do, said a second time and without a database.

One thing happens at a time here, and time passes only where `pass_lease` and `pass_dispatch_wait` say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_LOST = 2
"""One less than usual, so that it is often reached."""


@dataclass(eq=False)
class Account:
    most: int | None
    sites: list[Site] = field(default_factory=list)
    last_claim: int = 0


@dataclass(eq=False)
class Site:
    account: Account
    most: int | None


@dataclass(eq=False)
class Runner:
    site: Site
    sessions: list[Session] = field(default_factory=list)
    diff: str | None = None
    events: list[tuple[str, int]] = field(default_factory=list)
    """The kind of each, and the attempt that it belongs to."""

    @property
    def state(self) -> str:
        kept = [session.state for session in self.sessions if session.state != "CANCELLED"]
        return kept[-1] if kept else "DONE"


@dataclass(eq=False)
class Session:
    runner: Runner
    number: int
    """Counted from the oldest."""
    state: str = "NEW"
    attempt: int = 0
    workers_lost: int = 0
    dispatches: int = 1
    waits_for_dispatch: bool = True
    """It is to be dispatched again at some time; `is_dispatch_due` says that the time has come."""
    is_dispatch_due: bool = False
    has_lease: bool = False
    is_lease_over: bool = False
    steps: int = 0
    diff: str | None = None
    is_saved: bool = False

    @property
    def is_active(self) -> bool:
        return self.state in ("NEW", "RUNNING")


class Model:
    def __init__(self, limits: list[tuple[int | None, list[int | None]]]) -> None:
        """The limits of each account, and of its sites."""
        self.accounts = [Account(most) for most, _ in limits]
        for account, (_, sites) in zip(self.accounts, limits, strict=True):
            account.sites = [Site(account, most) for most in sites]
        self.runners: list[Runner] = []
        self._claims = 0

    def sessions(self) -> Iterator[Session]:
        for runner in self.runners:
            yield from runner.sessions

    def running(self, place: Account | Site) -> int:
        return sum(s.state == "RUNNING" and place in (s.runner.site, s.runner.site.account) for s in self.sessions())

    def ask(self, site: Site) -> Session:
        runner = Runner(site)
        self.runners.append(runner)
        return self.follow_up(runner)

    def follow_up(self, runner: Runner) -> Session:
        session = Session(runner, sum(1 for _ in self.sessions()))
        runner.sessions.append(session)
        self._enter(session, "NEW")
        return session

    def claim(self, rung_for: Session) -> Session | None:
        """Receive the message of a session; what is claimed is the one scheduled next."""
        if rung_for.state == "RUNNING":
            self._lose_worker(rung_for)
        session = self._next()
        if session is None:
            return None
        self._claims += 1
        session.runner.site.account.last_claim = self._claims
        session.attempt += 1
        session.dispatches, session.waits_for_dispatch, session.is_dispatch_due = 0, False, False
        session.has_lease, session.is_lease_over = True, False
        session.steps, session.diff = 0, None
        self._enter(session, "RUNNING")
        if session.attempt > 1:
            self._add_step(session)
        return session

    def _next(self) -> Session | None:
        """Of those that have room: the account that runs fewest, then the one that waited longest, then the oldest."""
        having_room = [
            (self.running(site.account), site.account.last_claim, session.number, session)
            for session in self.sessions()
            if session.state == "NEW" and self._has_room(site := session.runner.site) and self._has_room(site.account)
        ]
        return min(having_room)[-1] if having_room else None

    def _has_room(self, place: Account | Site) -> bool:
        return place.most is None or self.running(place) < place.most

    def refusal(self, session: Session, attempt: int) -> str | None:
        """Why a write of `attempt` is refused, None if it is not."""
        if attempt == session.attempt and session.state == "RUNNING":
            return None
        stopped = attempt == session.attempt and session.state == "CANCELLED"
        return "session_cancelled" if stopped else "lease_lost"

    def beat(self, session: Session) -> None:
        session.is_lease_over = False

    def step(self, session: Session) -> None:
        self._add_step(session)

    def finish(self, session: Session, state: str, diff: str | None) -> None:
        session.diff, session.is_saved = diff or session.diff, session.is_saved or diff is not None
        self._enter(session, state)
        if state == "DONE" and diff:
            session.runner.diff = diff

    def stop(self, session: Session) -> None:
        self._enter(session, "CANCELLED")

    def requeue(self, session: Session, attempt: int) -> bool:
        held = self.refusal(session, attempt) is None
        if held:
            self._requeue(session)
        return held

    def keep_work(self, session: Session, attempt: int, diff: str) -> bool:
        kept = attempt == session.attempt and session.state in ("CANCELLED", "ERROR") and not session.is_saved
        if kept:
            session.diff, session.is_saved = diff, True
            session.runner.events.append(("state", session.attempt))
        return kept

    def pass_lease(self, session: Session) -> None:
        session.is_lease_over = session.has_lease

    def pass_dispatch_wait(self, session: Session) -> None:
        session.is_dispatch_due = session.waits_for_dispatch

    def due(self) -> set[Session]:
        return {session for session in self.sessions() if session.is_lease_over or session.is_dispatch_due}

    def repair(self, session: Session) -> None:
        if session.is_dispatch_due:
            self._ring(session)
        else:
            self._lose_worker(session)

    def _lose_worker(self, session: Session) -> None:
        if not session.is_lease_over:
            return
        session.workers_lost += 1
        if session.workers_lost == MOST_LOST:
            self._enter(session, "ERROR")
        else:
            self._requeue(session)

    def _requeue(self, session: Session) -> None:
        session.has_lease = session.is_lease_over = False
        self._ring(session)
        self._enter(session, "NEW")

    def _ring(self, session: Session) -> None:
        session.dispatches += 1
        session.waits_for_dispatch, session.is_dispatch_due = True, False

    def _enter(self, session: Session, state: str) -> None:
        session.state = state
        if not session.is_active:
            session.has_lease = session.is_lease_over = session.waits_for_dispatch = session.is_dispatch_due = False
        session.runner.events.append(("state", session.attempt))

    def _add_step(self, session: Session) -> None:
        session.steps += 1
        session.runner.events.append(("step", session.attempt))
