"""The HTTP side of the gateway: it reads a request of the agent, makes the call, and passes the answer on as it arrives.

Requests are read whole, because usage has to be asked for in some; answers are streamed. What an answer says about
usage is passed on only when the worker has counted it. So the agent never has an answer that was not counted.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence

import h11
import httpcore

from ..refusals import Refusals
from ..rules import Refused
from .agent_connection import Agent, Caps
from .answers import Meter
from .apis import Denied, offers_tools, status_of
from .bound import Bound, find_bound, pass_on
from .quota import limited, words_of
from .reports import Reports
from .routes import Call, Route, call_of, find_route
from .upstream import Unreachable, Upstream, pieces

# Beyond this, an answer in one piece is passed on without having been counted.
_LONGEST_WHOLE = 32 * 1024**2
_LONGEST_ERROR = 256 * 1024
_KEPT_HEADERS = (b"content-type", b"content-encoding", b"retry-after", b"request-id", b"x-request-id")


class Server:
    """Serves any number of listening sockets with the same routes."""

    def __init__(
        self,
        routes: Sequence[Route],
        upstream: Upstream,
        reports: Reports,
        refusals: Refusals,
        bound: Mapping[str, Bound],
        hosts: Upstream,
    ) -> None:
        """`upstream` reaches the servers of models, and `hosts` those of the secrets in `bound`."""
        self._routes, self._upstream, self._reports, self._refusals = routes, upstream, reports, refusals
        self._bound, self._hosts = bound, hosts
        self._caps = Caps()
        self._slots = threading.BoundedSemaphore(self._caps.connections)
        self._lock = threading.Lock()
        self._held = 0

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the socket is shut down. At the limit of connections, further clients wait."""
        while True:
            self._slots.acquire()
            try:
                client, _ = listener.accept()
            except OSError:
                self._slots.release()
                return
            threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        try:
            # A broken connection needs no report: the agent sees it.
            with client, contextlib.suppress(OSError, h11.ProtocolError):
                client.settimeout(self._caps.idle_seconds)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                agent = Agent(client, self._caps)
                while self._exchange(agent):
                    pass
        finally:
            self._slots.release()

    def _exchange(self, agent: Agent) -> bool:
        """Answer one request. Returns whether there may be another on the same connection."""
        request = agent.read_head()
        if request is None:
            return False
        path = request.target.decode("latin-1").partition("?")[0]
        if bound := find_bound(path, self._bound):
            self._reach(agent, bound, request)
        else:
            self._call(agent, path, request)
        return agent.goes_on()

    def _reach(self, agent: Agent, bound: Bound, request: h11.Request) -> None:
        """Answer a request to the host of a secret."""
        try:
            with self._holding(agent) as body:
                pass_on(agent, self._hosts, bound, request, body)
        except Denied as denied:
            agent.reply(denied.status, {"error": f"Agent Runners: {denied}"})
        except Refused as refused:
            self._refusals.add(bound.host, str(refused))
            agent.reply(
                502, {"error": f"Agent Runners: {bound.host}, the host of {bound.name}, was refused. {refused}"}
            )
        except Unreachable as error:
            agent.reply(502, {"error": f"Agent Runners: {bound.host} did not answer: {error}"})

    def _call(self, agent: Agent, path: str, request: h11.Request) -> None:
        """Answer a call of a model."""
        route = find_route(path, self._routes) or next(iter(self._routes), None)
        error = route.api.error if route else _error
        try:
            call = call_of(request, self._routes)
            with self._holding(agent) as body:
                self._make(agent, call, call.route.api.prepare(call.path, body) if call.generates else body)
        except Denied as denied:
            self._refusals.add(f"{request.method.decode('latin-1')} {path}", str(denied))
            agent.reply(denied.status, error(denied.status, f"Agent Runners: {denied}"))
        except Refused as refused:
            assert route
            message = f"The model's server was refused. {refused}"
            self._refusals.add(route.base.netloc.rpartition("@")[2], str(refused))
            agent.reply(502, error(502, f"Agent Runners: {message}"))
        except Unreachable as failed:
            agent.reply(502, error(502, f"Agent Runners: the model's server did not answer: {failed}"))

    @contextlib.contextmanager
    def _holding(self, agent: Agent) -> Iterator[bytes]:
        """The body of the request. Raises Denied where it, or those of all requests together, are too large."""
        body = bytearray()
        held = 0
        try:
            for piece in agent.read_body():
                body += piece
                with self._lock:
                    self._held += len(piece)
                    held += len(piece)
                    if len(body) > self._caps.body_bytes or self._held > self._caps.bodies_bytes:
                        raise Denied(413, f"The request has more than {self._caps.body_bytes:,} bytes.")
            yield bytes(body)
        finally:
            with self._lock:
                self._held -= held

    def _make(self, agent: Agent, call: Call, body: bytes) -> None:
        """Make the call and pass its answer on. Raises Refused, and Unreachable if there is no answer."""
        with contextlib.ExitStack() as stack:
            try:
                answer = stack.enter_context(
                    self._upstream.call(call.route.base, call.method, call.target, call.headers, body)
                )
            except OSError as error:
                if call.generates:
                    message = f"It did not answer: {error}."
                    self._reports.limited({"status": 502, "exhausted": False, "reset_at": None, "message": message})
                raise Unreachable(str(error)) from None
            if answer.status >= 400:
                self._pass_error(agent, call, answer)
            else:
                self._pass_answer(agent, call, answer, has_tools=offers_tools(body))

    def _pass_error(self, agent: Agent, call: Call, answer: httpcore.Response) -> None:
        body = bytearray()
        with contextlib.suppress(OSError):
            for piece in pieces(answer):
                body += piece
                if len(body) > _LONGEST_ERROR:
                    break
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        text = bytes(body[:_LONGEST_ERROR])
        report = limited(answer.status, headers, text.decode(errors="replace"))
        # Some servers repeat what they were sent.
        for token, key in call.route.keys.items():
            text = text.replace(key.encode(), token.encode()) if key else text
        if report and call.generates:
            self._reports.limited({**report, "message": words_of(text)})
        agent.begin(answer.status, [*_kept(answer), (b"content-length", str(len(text)).encode())])
        agent.send(text)
        agent.end()

    def _pass_answer(self, agent: Agent, call: Call, answer: httpcore.Response, *, has_tools: bool) -> None:
        streams = _header(answer, b"content-type").startswith(b"text/event-stream")
        meter = _Metered(self._reports, call, streams=streams) if call.generates else None
        length = _header(answer, b"content-length")
        framing = (b"content-length", length) if length else (b"transfer-encoding", b"chunked")
        agent.begin(answer.status, [*_kept(answer), framing])
        held = list[bytes]()
        holds = meter is not None and not streams
        is_cut = False
        try:
            for piece in pieces(answer):
                if meter:
                    meter.feed(piece)
                if holds:
                    held.append(piece)
                    holds = sum(map(len, held)) <= _LONGEST_WHOLE
                else:
                    agent.send(b"".join([*held, piece]))
                    held.clear()
        except OSError:
            is_cut = True
        if meter:
            meter.finish(is_cut=is_cut, has_tools=has_tools)
        if is_cut:
            # The server broke off, and so does the agent's connection.
            agent.abort()
        agent.send(b"".join(held))
        agent.end()


class _Metered:
    """Counts one answer, and reports each change and how it ends."""

    def __init__(self, reports: Reports, call: Call, *, streams: bool) -> None:
        named = call.path.rpartition("/")[2].partition(":")[0] if ":" in call.path else None
        self._url = call.route.base.geturl()
        self._meter = Meter(call.route.api, named, streams=streams)
        self._reports = reports
        self._number = reports.next_call()
        self._is_counted = False

    def feed(self, piece: bytes) -> None:
        if counts := self._meter.feed(piece):
            self._is_counted = True
            self._reports.used(self._number, self._meter.model, self._url, counts)

    def finish(self, *, is_cut: bool, has_tools: bool) -> None:
        meter = self._meter
        counts = meter.finish(is_cut=is_cut)
        if counts or not self._is_counted:
            self._reports.used(self._number, meter.model, self._url, counts)
        status = None if meter.is_complete else status_of(meter.error)
        if status and (report := limited(status, {}, json.dumps(meter.error))):
            # It refuses the call as it could have done before the answer.
            self._reports.limited({**report, "message": meter.message or ""})
        self._reports.ended(meter.model, meter.message, complete=meter.is_complete, offers_tools=has_tools)


def _error(status: int, message: str) -> dict[str, object]:
    """An error for a session without a model."""
    return {"error": message}


def _kept(answer: httpcore.Response) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that agents use: its type, its id, and the provider's limits."""
    lowered = [(name.lower(), value) for name, value in answer.headers]
    return [(name, value) for name, value in lowered if name in _KEPT_HEADERS or b"ratelimit" in name]


def _header(answer: httpcore.Response, name: bytes) -> bytes:
    return next((value for each, value in answer.headers if each.lower() == name), b"")
