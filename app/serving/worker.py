"""Gunicorn's threaded worker, except that no thread ever waits for a client.

One loop reads requests and sends answers, for all connections of the process. A thread is occupied only between: once
all of a request is here, until its answer is written. So clients that are slow, or never continue, cost a connection each,
and a connection that makes no progress is closed. Requests of one account occupy three quarters of the threads at most, and
one thread if they use much processor time while other accounts are active.
"""

from __future__ import annotations

import errno
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from app.serving.connection import PATIENCE_SECONDS, Connection
from app.serving.intake import BodyLimit, Intake
from app.serving.outlet import Outlet
from app.serving.shares import MustWait, Share, Shares

BODY_LIMIT = "agent_runners.body_limit"
"""The key of the `BodyLimit` in `Flask.extensions`."""
# After the last answer, how long the client has to close the connection by itself.
LINGER_SECONDS = 2.0
READ_BYTES = 256 * 1024
# What all incomplete requests together may take of the disk.
MOST_KEPT_BYTES = 1024 * 1024 * 1024
# After how long a thread lets another one continue. A short request, which waits for the database a dozen times, would otherwise
# wait 5 ms each time while long answers are made for somebody else.
SWITCH_SECONDS = 0.0005
# How long requests wait before the loop looks at them again.
WAIT_SECONDS = 0.02
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Worker(ThreadWorker):
    """All methods but those that handle a request run in the loop. It watches a connection whenever no thread serves it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watched: dict[Connection, int] = {}
        self._looked_at = 0.0
        self._idle_until: float | None = None
        self._most_threads = max(self.cfg.threads * 3 // 4, 1)
        """The share of one account."""
        self._shares = Shares(self._most_threads)

    def init_process(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self._body_limit: BodyLimit = self.wsgi.extensions[BODY_LIMIT]

    # A connection comes, and a request on it.

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self._add(sock, client, listener.getsockname())
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _add(self, sock: socket.socket, client: Any, server: Any) -> Connection:
        """Wait for a request on a connection."""
        sock.setblocking(False)
        self.nr_conns += 1
        outlet = Outlet(sock, lambda: self.method_queue.defer(self._send_rest, conn))
        conn = Connection(self.cfg, sock, client, server, Intake(self._body_limit), outlet)
        self._watch(conn, selectors.EVENT_READ, self._read)
        return conn

    def _watch(self, conn: Connection, event: int, callback: Callable[[Connection, Any], None]) -> None:
        self._ignore(conn)
        self._watched[conn] = event
        self.poller.register(conn.socket, event, partial(callback, conn))

    def _ignore(self, conn: Connection) -> None:
        if self._watched.pop(conn, None):
            self.poller.unregister(conn.socket)

    def _receive(self, conn: Connection) -> bytes | None:
        try:
            return conn.socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _read(self, conn: Connection, _socket: Any) -> None:
        begun = time.thread_time()
        data = self._receive(conn)
        if data:
            is_kept = self._take_in(conn, data)
            conn.read_seconds += time.thread_time() - begun
            if is_kept:
                self._go_on(conn)
        elif data is not None:
            self._close(conn)

    def _take_in(self, conn: Connection, data: bytes) -> bool:
        """Keep what was received. Returns whether there was space for it; the connection is closed otherwise."""
        if not conn.intake.received:
            conn.begin(PATIENCE_SECONDS)
        try:
            conn.intake.feed(data)
        except OSError as error:
            self.log.error("A request cannot be kept until it is complete: %s", error)
            self._close(conn)
            return False
        return True

    def _go_on(self, conn: Connection) -> None:
        """With what is here of a request."""
        if conn.intake.wants_continue:
            try:
                conn.sock.sendall(CONTINUE)
            except OSError:
                self._close(conn)
                return
        if conn.intake.is_ready:
            self._serve(conn)

    def _serve(self, conn: Connection) -> None:
        self._ignore(conn)
        conn.is_served, conn.initialized = True, False
        conn.sock.share = Share(self._shares, conn.read_seconds)
        self.enqueue_req(conn)

    def _serve_waiting(self, who: str) -> None:
        """Serve the request that has waited longest for its account's share of the threads, if there is room."""
        if (conn := self._shares.next(who)) is not None:
            conn.initialized = False
            conn.sock.share.resume()
            self.enqueue_req(conn)

    # A thread serves it.

    def handle_request(self, req: Any, conn: Connection) -> Any:
        # That was answered when the head came.
        req._expected_100_continue = False
        if conn.is_ending:
            req.should_close = lambda: True
        share = conn.sock.share
        assert share is not None
        begun = time.thread_time()
        try:
            return super().handle_request(req, conn)
        finally:
            share.leave(time.thread_time() - begun)

    # The answer is sent.

    def finish_request(self, conn: Connection, fs: Future[bool]) -> None:
        share = conn.sock.share
        assert share is not None
        # One that was resumed has its share before it comes to `handle_request`.
        share.leave(0.0)
        if share.who is not None and not fs.cancelled() and isinstance(fs.exception(), MustWait):
            self._shares.wait(share.who, conn)
        else:
            self._end_request(conn, fs)
        if share.who is not None:
            self._serve_waiting(share.who)

    def _end_request(self, conn: Connection, fs: Future[bool]) -> None:
        conn.is_served = False
        if conn.sock.is_detached:
            self.nr_conns -= 1
            return
        conn.is_ending = bool(conn.is_ending or fs.cancelled() or fs.exception() or not fs.result())
        conn.forget_request()
        if not conn.sock.has_unsent:
            self._sent(conn)

    def _send_rest(self, conn: Connection) -> None:
        if conn.sock.has_unsent and conn not in self._watched:
            self._watch(conn, selectors.EVENT_WRITE, self._send)
        holding = [conn for conn in self._watched if conn.sock.holds_thread]
        if len(holding) > self.cfg.threads // 2:
            # Those who read slowest give way, so that half of the threads are there for others.
            self._give_up(min(holding, key=Connection.rate))

    def _send(self, conn: Connection, _socket: Any) -> None:
        conn.sock.flush()
        if not conn.sock.has_unsent:
            self._ignore(conn)
            if not conn.is_served:
                self._sent(conn)

    def _sent(self, conn: Connection) -> None:
        """Go on to the next request, or end the connection."""
        if conn.sock.has_failed:
            self._close(conn)
        elif conn.is_ending:
            self._linger(conn)
        elif conn.intake.is_ready:
            self._serve(conn)
        else:
            conn.begin(self.cfg.keepalive)
            self._watch(conn, selectors.EVENT_READ, self._read)

    def _linger(self, conn: Connection) -> None:
        """Wait for the client to close the connection: if it is still sending, closing would cost it the answer."""
        try:
            conn.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        conn.intake.close()
        conn.begin(LINGER_SECONDS)
        self._watch(conn, selectors.EVENT_READ, self._discard)

    def _discard(self, conn: Connection, _socket: Any) -> None:
        if self._receive(conn) == b"":
            self._close(conn)

    def _close(self, conn: Connection) -> None:
        self._ignore(conn)
        if not conn.is_closed:
            conn.is_closed = True
            self.nr_conns -= 1
            conn.forget_request()
            conn.intake.close()
            conn.sock.fail()
            conn.socket.close()

    # Time passes, and space runs out.

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the loop. Requests that wait are served as time passes, too, since there may be room for them by then."""
        waiting = self._shares.waiting()
        super().wait_for_and_dispatch_events(min(timeout, WAIT_SECONDS) if waiting else timeout)
        for who in waiting:
            self._serve_waiting(who)

    def _give_up(self, conn: Connection) -> None:
        if conn.is_served:
            # Its thread waits for the client, and ends the request.
            self._ignore(conn)
            conn.sock.fail()
        else:
            self._close(conn)

    def _make_room(self) -> None:
        """Close a connection: of the address that has the most of them, the one that has waited longest."""
        waiting = [conn for conn in self._watched if not conn.is_served]
        if not waiting:
            if (evicted := self._shares.evict()) is not None:
                self._close(evicted)
            else:
                # All are served, or the files are somebody else's.
                time.sleep(0.05)
            return
        (address, _), *_ = Counter(_address(conn) for conn in waiting).most_common(1)
        self._close(min((conn for conn in waiting if _address(conn) == address), key=lambda conn: conn.since))

    def murder_keepalived(self, force: bool = False) -> None:
        """Called by the loop after each of its turns."""
        now = time.monotonic()
        if not force and now - self._looked_at < 0.5:
            return
        self._looked_at = now
        for conn in list(self._watched):
            is_stopping = self._idle_until is not None and now > self._idle_until
            is_idle = not (conn.is_served or conn.sock.has_unsent or conn.intake.received)
            if force or now > conn.deadline() or (is_stopping and is_idle):
                self._give_up(conn)
        kept = {conn: conn.intake.received for conn in self._watched}
        while sum(kept.values()) > MOST_KEPT_BYTES:
            largest = max(kept, key=lambda conn: kept[conn])
            del kept[largest]
            self._give_up(largest)

    def _cap_keepalive(self, deadline: float) -> None:
        """Called when the worker begins to stop: until then, a request that is already under way is answered."""
        self._idle_until = deadline
        self._shares.end()


def _address(conn: Connection) -> Any:
    return conn.client[0] if conn.client and not isinstance(conn.client, (str, bytes)) else ""
