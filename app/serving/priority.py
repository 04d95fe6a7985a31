"""The worker class of the web processes: some of them have a low priority, and serve the accounts that use much.

An account that has used more than its part of the processor time, while others are active, is served by a process of low
priority. The processes that accept connections pass its requests on, together with the connection.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

from app.serving.callers import Callers, key_of
from app.serving.connection import Connection
from app.serving.handover import Handover, lower_priority, receivers_among
from app.serving.intake import IN_MEMORY_BYTES, Request
from app.serving.processor_time import Activity, ProcessorTime
from app.serving.shares import Shares
from app.serving.worker import WAIT_SECONDS, Worker

# How often a receiver looks for a sender, and how often it may find none.
_LOOK_SECONDS = 1.0
_MOST_LOOKS = 5


class PriorityWorker(Worker):
    """A receiver is a process of low priority, and accepts what senders pass on. All others are senders."""

    _handover: Handover | None = None
    _activity: Activity
    alive: bool

    @classmethod
    def setup(cls) -> None:
        """Called before processes are forked, at the start and at each reload: those of a reload have their own receivers."""
        if cls._handover is not None:
            # Those that are forked from now on must not keep what waits for the others.
            cls._handover.close()
        cls._handover, cls._activity = Handover(), Activity()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        handover = type(self)._handover
        assert handover is not None
        # As `setup` left it when this process was forked.
        self._passing = handover
        self._shares = Shares(self._most_threads, ProcessorTime(type(self)._activity))
        self._callers = Callers()
        self._is_receiver = self._passes_on = self._is_lingering = False
        self._next_look, self._looks_in_vain = 0.0, 0

    def init_process(self) -> None:
        self._is_receiver = self._passing.take_role(receivers_among(self.cfg.workers))
        if self._is_receiver:
            lower_priority()
            for listener in self.sockets:
                listener.close()
            self.sockets: list[Any] = [self._passing.receiver]
        super().init_process()

    # A receiver accepts.

    def accept(self, listener: Any) -> None:
        if self._is_receiver:
            self._accept_passed()
        else:
            super().accept(listener)

    def _accept_passed(self) -> bool:
        """Returns whether there was a request."""
        try:
            passed = self._passing.receive()
        except OSError:
            self._make_room()
            return False
        if passed is None:
            return False
        conn = self._add(passed.sock, passed.client, passed.server)
        # The next request on it is a sender's again: behind a proxy it may be anybody's.
        conn.is_ending = True
        begun = time.thread_time()
        is_kept = all(self._take_in(conn, chunk) for chunk in passed.chunks())
        conn.read_seconds += time.thread_time() - begun
        if is_kept:
            self._go_on(conn)
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        return True

    # A sender passes on.

    def _go_on(self, conn: Connection) -> None:
        intake = conn.intake
        if self._passes_on and intake.head is not None:
            conn.key = conn.key or key_of(conn.client, intake.head)
            who = self._callers.find(conn.key)
            # A receiver does nothing else while it reads a long one, so of these it gets none that may be passed on in vain.
            is_short_or_whole = intake.is_ready or intake.request.size <= IN_MEMORY_BYTES
            if (
                who
                and is_short_or_whole
                and self._shares.is_beyond_part(who)
                and self._pass_on(conn, who, intake.request)
            ):
                return
        super()._go_on(conn)

    def finish_request(self, conn: Connection, fs: Future[bool]) -> None:
        share = conn.sock.share
        if conn.key and share is not None and share.who is not None:
            self._callers.remember(conn.key, share.who)
        super().finish_request(conn, fs)

    def _serve_waiting(self, who: str) -> None:
        super()._serve_waiting(who)
        while self._passes_on and (conn := self._shares.next_beyond_part(who)) is not None:
            if not self._pass_on(conn, who, conn.request):
                self._shares.put_back(who, conn)
                break

    def _pass_on(self, conn: Connection, who: str, request: Request) -> bool:
        """Returns whether a receiver has room for it."""
        if not self._passing.send(conn.socket, conn.client, conn.server, request):
            return False
        self._shares.spend(who, conn.read_seconds)
        self._close(conn)
        return True

    # Time passes.

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, WAIT_SECONDS) if self._is_lingering else timeout)

    def murder_keepalived(self, force: bool = False) -> None:
        super().murder_keepalived(force)
        if self._is_lingering:
            self._linger_for_senders()
        elif self._is_receiver:
            self._passing.note_receiver()
            self._look_for_sender()
        else:
            # Without a receiver, those that use much are served here: one at a time.
            self._passes_on = self.alive and self._passing.has_receiver()
            self._shares.most_beyond_part = 0 if self._passes_on else 1

    def _look_for_sender(self) -> None:
        """End, if there has been none for a while: the process that takes this one's place becomes one."""
        now = time.monotonic()
        if now > self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self._looks_in_vain = self._looks_in_vain + 1 if self._passing.is_without_sender() else 0
            if self._looks_in_vain > _MOST_LOOKS:
                self.log.warning("No web process accepts connections. This one of low priority ends, so that one does.")
                self.alive = False

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        self._passes_on = False
        if self._is_receiver:
            # The senders stop at the same time, and what they have passed on may still come. Until they have ended, this
            # counts as a connection that is open.
            self._is_lingering = True
            self.nr_conns += 1
            self.set_accept_enabled(True)

    def _linger_for_senders(self) -> None:
        is_over = self._idle_until is not None and time.monotonic() > self._idle_until
        if is_over or self._passing.is_without_sender():
            # No more than there may be on the way, should a sender go on.
            for _ in range(self.worker_connections):
                if not self._accept_passed():
                    break
            self._is_lingering = False
            self.set_accept_enabled(False)
            self.nr_conns -= 1
