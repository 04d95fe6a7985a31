"""A server of Git LFS: which of its URLs have an object, and how to send and get it.

We speak its protocol ourselves. The program `git-lfs` takes servers and programs to run from the configuration in a
repository, follows redirects, resolves names by itself and has no limits.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
https://github.com/git-lfs/git-lfs/blob/main/docs/api/basic-transfers.md
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

from workers.errors import EngineError
from workers.forges.http import BadAnswer, Client, Limits, Response, Unreachable
from workers.job import Host
from workers.lfs.batch import Action, BadBatch, Listed, read_batch, redirected, starts_at
from workers.lfs.cache import Writer
from workers.lfs.pointers import Pointer
from workers.repository.remote import Remote

_JSON = "application/vnd.git-lfs+json"
# So many objects are asked for at a time, as the program `git-lfs` does.
_GROUP = 100
_ANSWER_BYTES, _SENT_BYTES = 4 * 1024**2, 1 << 18
AT_ONCE = 8
"""How many objects may be on their way at once."""
_MOST_SERVERS = 8
_MOST_REDIRECTS, _REDIRECTS = 3, (301, 302, 303, 307, 308)
# The codes of `find_addresses` and `Client`, which are about one address.
_OF_ADDRESS = ("repository_refused", "repository_unreachable", "forge_refused")


class LfsFailed(Exception):
    """Why an object, or all of them, cannot be sent or got: the message, which follows a colon.

    `is_of_all`: no other object can be either. `retryable`: it may succeed later.
    """

    def __init__(self, reason: str, *, is_of_all: bool = False, retryable: bool = False) -> None:
        super().__init__(reason)
        self.is_of_all, self.retryable = is_of_all, retryable


class _BrokenOff(LfsFailed):
    """There was no complete answer."""


class OutOfTime(Exception):
    """The time for all calls together is used up, or they are to stop."""


class Server:
    """The LFS server of a repository over HTTP, at the place that Git LFS derives from its URL.

    All calls together end after `seconds`. `check` is called each second and raises if the caller is to stop. Up to
    `AT_ONCE` threads may `get` and `put` at once, but only one may use `list`.
    """

    def __init__(self, remote: Remote, host: Host, seconds: float, check: Callable[[], None]) -> None:
        self._remote, self._host, self._check = remote, host, check
        url = remote.url.rstrip("/").removesuffix(".git")
        self._endpoint = f"{url}.git/info/lfs"
        self._ends_at = time.monotonic() + seconds
        self._clients: dict[str, Client] = {}
        self._connecting = threading.Lock()
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """End all calls, soon, and let none begin."""
        self._is_stopped.set()

    def list(self, operation: Literal["download", "upload"], pointers: Sequence[Pointer]) -> dict[str, Listed]:
        """What the server says of at most `_GROUP` objects, by their ids. Raises LfsFailed."""
        asked = {
            "operation": operation,
            "transfers": ["basic"],
            "objects": [pointer._asdict() for pointer in pointers],
            "hash_algo": "sha256",
        }
        action = Action(f"{self._endpoint}/objects/batch", {"Accept": _JSON, "Content-Type": _JSON})
        body = json.dumps(asked).encode()
        try:
            with self._calling("POST", action, [body], len(body)) as response:
                text = _read(response)
                if response.status != 200:
                    raise _refused(response.status, has_credential=self._authorization is not None)
            return read_batch(text, {pointer.oid: pointer for pointer in pointers})
        except BadBatch as error:
            raise LfsFailed(f"the server's answer makes no sense: {error}", is_of_all=True) from None
        except LfsFailed as failed:
            raise LfsFailed(str(failed), is_of_all=True, retryable=failed.retryable) from None

    def get(self, action: Action, writer: Writer) -> None:
        """Give the content of an object to the writer, in pieces. If the connection breaks, go on once from there.

        Raises LfsFailed, and what `Writer.write` does.
        """
        try:
            self._get(action, writer)
        except _BrokenOff:
            self._get(action, writer)

    def _get(self, action: Action, writer: Writer) -> None:
        """Ask for the part of an object that the writer lacks. A server may send all of it instead (RFC 9110, section 14.2).

        GitLab redirects to where it stores its objects. That is judged as any URL, and gets no headers but the range.
        """
        wanted = {"Range": f"bytes={writer.size}-"} if writer.size else {}
        for _ in range(_MOST_REDIRECTS + 1):
            with self._calling("GET", Action(action.url, {**action.headers, **wanted}), (), None) as response:
                if response.status in _REDIRECTS:
                    action = redirected(action.url, response.headers)
                    continue
                if response.status == 200:
                    writer.begin_anew()
                elif not (wanted and response.status == 206):
                    reason = f"the server answered with status {response.status}"
                    raise LfsFailed(reason, retryable=response.status >= 500)
                elif not starts_at(writer.size, response.headers):
                    raise LfsFailed("the server sent another part of it than the one that was asked for")
                for piece in response.pieces:
                    writer.write(piece)
                return
        raise LfsFailed(f"the server redirects more than {_MOST_REDIRECTS} times")

    def put(self, pointer: Pointer, listed: Listed, file: Path) -> None:
        """Send the content of an object, and have the server verify it if it asks for that. Raises LfsFailed."""
        if listed.action is None:
            return
        headers = {"Content-Type": "application/octet-stream", **listed.action.headers}
        with (
            open(file, "rb") as content,
            self._calling("PUT", Action(listed.action.url, headers), _pieces(content), pointer.size) as response,
        ):
            _read(response)
            _expect_success(response)
        if listed.verify:
            body = json.dumps(pointer._asdict()).encode()
            verify = Action(listed.verify.url, {"Accept": _JSON, "Content-Type": _JSON, **listed.verify.headers})
            with self._calling("POST", verify, [body], len(body)) as response:
                _read(response)
                _expect_success(response)

    @contextlib.contextmanager
    def _calling(
        self, method: str, action: Action, content: Iterable[bytes], size: int | None
    ) -> Generator[Response, None, None]:
        parts = urlsplit(action.url)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        try:
            headers = dict(action.headers)
            value = self._authorization if self._is_own(action.url) else None
            if value and "authorization" not in map(str.lower, headers):
                headers["Authorization"] = value
            with self._client(action.url).stream(method, target, headers, content, size) as response:
                yield response
        except BadBatch as error:
            raise LfsFailed(f"the server's answer makes no sense: {error}") from None
        except Unreachable as error:
            raise _BrokenOff(f"{parts.hostname} did not answer: {error}", retryable=True) from None
        except BadAnswer as error:
            raise LfsFailed(f"{parts.hostname} {error}") from None
        except OutOfTime:
            raise LfsFailed("there was no time left for it", is_of_all=True, retryable=True) from None
        except EngineError as error:
            if error.code not in _OF_ADDRESS:
                raise
            raise LfsFailed(error.message.rstrip("."), retryable=error.retryable) from None

    @functools.cached_property
    def _authorization(self) -> str | None:
        """The header with the site's credential, which may have to be made."""
        return self._remote.authorization

    def _client(self, url: str) -> Client:
        """The client for the server of a URL. Its name is resolved and judged once, like that of the repository."""
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or parts.scheme not in self._host.allowed_protocols:
            raise LfsFailed(f"the server names a URL with {parts.scheme or 'no scheme'}, which is not allowed")
        if parts.username is not None:
            raise LfsFailed("the server names a URL with a user or password")
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._connecting:
            if origin not in self._clients:
                if len(self._clients) >= _MOST_SERVERS:
                    raise LfsFailed(f"the server names more than {_MOST_SERVERS} other servers")
                seconds = self._ends_at - time.monotonic()
                limits = Limits(seconds, total_seconds=AT_ONCE * seconds, calls=10**9, connections=AT_ONCE)
                self._clients[origin] = Client(origin, self._host, limits, self._tick)
            return self._clients[origin]

    def _is_own(self, url: str) -> bool:
        """Whether the URL is one of the repository's own server, to which its credential may go."""
        own, other = urlsplit(self._endpoint), urlsplit(url)
        return (own.scheme, own.netloc.lower()) == (other.scheme, other.netloc.lower())

    def _tick(self) -> None:
        self._check()
        if self._is_stopped.is_set() or time.monotonic() >= self._ends_at:
            raise OutOfTime


def groups(pointers: Sequence[Pointer]) -> Iterable[Sequence[Pointer]]:
    """The pointers in parts for `Server.list`."""
    return (pointers[start : start + _GROUP] for start in range(0, len(pointers), _GROUP))


def _read(response: Response) -> bytes:
    body = bytearray()
    for piece in response.pieces:
        body += piece
        if len(body) > _ANSWER_BYTES:
            raise BadAnswer(f"sent an answer of more than {_ANSWER_BYTES:,} bytes")
    return bytes(body)


def _pieces(content: IO[bytes]) -> Iterable[bytes]:
    return iter(lambda: content.read(_SENT_BYTES), b"")


def _expect_success(response: Response) -> None:
    if not 200 <= response.status < 300:
        raise LfsFailed(f"the server answered with status {response.status}", retryable=response.status >= 500)


def _refused(status: int, *, has_credential: bool) -> LfsFailed:
    """Why the server took no request for a batch."""
    if status in (401, 403):
        if has_credential:
            return LfsFailed("the site's access token was rejected. Replace it with one that may use Git LFS")
        return LfsFailed("it requires an access token. Set the site's access_token")
    if status in (404, 405, 501):
        return LfsFailed("the repository's server has no Git LFS for it. Enable it there")
    if 300 <= status < 400:
        return LfsFailed("the server answers with a redirect. Set the site's repo_url to the address it redirects to")
    return LfsFailed(f"the server answered with status {status}", retryable=status == 429 or status >= 500)
