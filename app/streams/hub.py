"""The event streams of a process: one event loop in a thread of its own, which all its listeners share.

A topic is what some listeners follow: a session, a runner or an account. When it has news, the hub reads them once from
each position that a listener is at, which nearly always is one, encodes them once, and sends them to all. So a listener
costs a socket, and an event costs a query and a write for each listener. The database is read by a few other threads.

Announcements of the database only say where to look. They may be lost: every few seconds the hub looks for itself.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from app import db
from app.config import settings
from app.errors import AppError
from app.services import event_streams
from app.services.event_streams import Found, Position, Source, Watched
from app.streams import admission, messages
from app.streams.announcements import Announcements
from app.streams.listener import Connection, Listener
from app.streams.messages import Batch

T = TypeVar("T")
READERS = 2
RIGHTS_SECONDS = 3.0
RETRY_SECONDS = 1.0
# After a read a topic is left alone for this long. A first event after a silence is sent at once; of a flood, many are
# sent together.
PAUSE_SECONDS = 0.05
log = structlog.get_logger()


class Topic:
    """The listeners of one source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.listeners: set[Listener] = set()
        self.is_served = False
        self.known = 0
        """The number of the runner's last event when the hub looked for itself, and woke the listeners."""
        self.state: str | None = None

    def next_group(self) -> list[Listener]:
        """Listeners who are at one position, after which there may be events, and can take some."""
        behind = [listener for listener in self.listeners if listener.is_behind and listener.can_take]
        return [listener for listener in behind if listener.position == behind[0].position]


class Hub:
    """All methods but `add` run on the hub's own loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="events")
        self._topics: dict[Source, Topic] = {}
        self._by_key: defaultdict[uuid.UUID, set[Topic]] = defaultdict(set)
        self._announcements: Announcements | None = None
        self._is_looking = self._must_look = False
        self._tasks: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._run, name="event-streams", daemon=True).start()

    def _run(self) -> None:
        self._start(self._send_heartbeats())
        self._start(self._check_rights())
        self._loop.run_forever()

    def add(self, listener: Listener, connection: Connection) -> None:
        """Send the events of the listener's source over the connection, which is the hub's from now on."""
        connecting = listener.connect(connection, self._ready, self._lost)
        self._loop.call_soon_threadsafe(self._start, connecting)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        # The loop itself keeps only a weak reference.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        try:
            reading = self._readers.submit(function)
        except RuntimeError:
            # The process is ending, and this thread with it.
            return await self._loop.create_future()
        return await asyncio.wrap_future(reading)

    # Listeners come and go.

    def _ready(self, listener: Listener) -> None:
        topic = self._topics.get(listener.source)
        if topic is None:
            topic = self._topics[listener.source] = Topic(listener.source)
            self._by_key[topic.source.key].add(topic)
        topic.listeners.add(listener)
        if self._announcements is None:
            self._announcements = Announcements(lambda keys: self._loop.call_soon_threadsafe(self._hear, keys))
        self._serve(topic)

    def _lost(self, listener: Listener) -> None:
        admission.release(listener)
        topic = self._topics.get(listener.source)
        if topic is None:
            return
        topic.listeners.discard(listener)
        if not topic.listeners:
            del self._topics[topic.source]
            self._by_key[topic.source.key].discard(topic)
            if not self._by_key[topic.source.key]:
                del self._by_key[topic.source.key]
        if not self._topics and self._announcements is not None:
            self._announcements.stop()
            self._announcements = None

    # News come.

    def _hear(self, keys: set[uuid.UUID]) -> None:
        for key in keys:
            for topic in self._by_key.get(key, ()):
                self._wake(topic)
        if not keys:
            self._must_look = True
            if not self._is_looking:
                self._is_looking = True
                self._start(self._look())

    async def _look(self) -> None:
        """Find out which topics have news that were not announced."""
        while self._must_look:
            self._must_look = False
            topics = list(self._topics.values())
            runner_ids = {topic.source.runner_id for topic in topics if topic.source.runner_id}
            numbers = await self._try(functools.partial(_last_numbers, runner_ids)) or {}
            for topic in topics:
                number = numbers.get(topic.source.runner_id, 0) if topic.source.runner_id else 0
                if topic.source.runner_id is None or number > topic.known:
                    topic.known = number
                    self._wake(topic)
        self._is_looking = False

    def _wake(self, topic: Topic) -> None:
        for listener in topic.listeners:
            listener.is_behind = True
        self._serve(topic)

    def _serve(self, topic: Topic) -> None:
        if not topic.is_served:
            topic.is_served = True
            self._start(self._send_news(topic))

    async def _send_news(self, topic: Topic) -> None:
        """Read and send until all listeners have everything."""
        while group := topic.next_group():
            position = group[0].position
            for listener in group:
                listener.is_behind = False
            read = await self._try(functools.partial(_read, topic.source, position))
            if read is None:
                for listener in group:
                    listener.is_behind = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._send(topic, group, *read)
            await asyncio.sleep(PAUSE_SECONDS)
        topic.is_served = False

    def _send(self, topic: Topic, group: list[Listener], found: Found, batch: Batch) -> None:
        topic.state = found.state
        if found.events:
            last = found.events[-1][0]
            for listener in group:
                listener.position = last
                listener.send(batch, self._loop.time())
        for listener in group:
            if found.is_last:
                listener.end(messages.done(found.state, listener.position))
            elif not found.is_all:
                listener.is_behind = True

    async def _try(self, function: Callable[[], T]) -> T | None:
        """The result, or None if the database is unavailable."""
        try:
            return await self._in_thread(function)
        except db.UNAVAILABLE as error:
            log.warning("event_streams_wait", error=type(getattr(error, "orig", error)).__name__)
        except Exception:
            log.exception("event_streams_failed")
        return None

    # Time passes.

    async def _send_heartbeats(self) -> None:
        while True:
            silence = settings().stream_heartbeat_seconds
            await asyncio.sleep(min(1.0, silence / 2))
            now = self._loop.time()
            for topic in list(self._topics.values()):
                heartbeat = messages.heartbeat(topic.state)
                for listener in list(topic.listeners):
                    if listener.can_take and now - listener.last_sent >= silence:
                        listener.send(heartbeat, now)
                    else:
                        listener.drop_if_stalled(now)

    async def _check_rights(self) -> None:
        """End the streams of those who may not listen any more."""
        while True:
            await asyncio.sleep(RIGHTS_SECONDS)
            listeners = [listener for topic in self._topics.values() for listener in topic.listeners]
            watched = {(listener.caller, listener.source) for listener in listeners}
            refused = await self._try(functools.partial(_refusals, watched)) or {}
            for listener in listeners:
                if error := refused.get((listener.caller, listener.source)):
                    listener.end(messages.refusal(error))


def _read(source: Source, position: Position) -> tuple[Found, Batch]:
    with db.transaction(read_only=not source.must_lock):
        found = source.read_after(position)
        return found, messages.events(found)


def _last_numbers(runner_ids: set[uuid.UUID]) -> dict[uuid.UUID, int]:
    with db.transaction(read_only=True):
        return event_streams.last_numbers(runner_ids)


def _refusals(watched: set[Watched]) -> dict[Watched, AppError]:
    with db.transaction(read_only=True):
        return event_streams.refusals(watched)


_made = functools.cache(Hub)
_making = threading.Lock()


def hub() -> Hub:
    """The hub of this process, started when it is first asked for: after the server has forked."""
    with _making:
        return _made()
