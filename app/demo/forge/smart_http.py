"""Clone, fetch and push over HTTP, through git's own CGI program: https://git-scm.com/docs/git-http-backend"""

from __future__ import annotations

import contextlib
import functools
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO

from app.demo.forge.access import Access, Caller
from app.demo.forge.faults import Faults
from app.demo.forge.messages import Refused, body_pieces, discard_body
from app.demo.forge.repositories import Repositories, Repository, git_environment

_PATH = re.compile(r"/(?P<owner>[^/]+)/(?P<name>[^/]+?)(\.git)?/(?P<rest>info/refs|git-upload-pack|git-receive-pack)")
_PIECE = 64 * 1024


class SmartHttp:
    """Lets git serve the repositories to whoever may read or write them."""

    def __init__(self, repositories: Repositories, access: Access, hooks: Path, orders: Path) -> None:
        self._repositories = repositories
        self._access = access
        self._hooks = hooks
        self._orders = orders

    def serve(self, handler: BaseHTTPRequestHandler, path: str, query: str, faults: Faults) -> bool:
        """Answer a request of git's; False where it is none."""
        route = _PATH.fullmatch(path)
        if route is None:
            return False
        # The connection is not used again: git's answers have no length, and a refused body may be unread.
        handler.close_connection = True
        service = query.removeprefix("service=") if route["rest"] == "info/refs" else route["rest"]
        try:
            caller = self._access.caller(handler.headers)
            repository = self._admitted(caller, route["owner"], route["name"], service)
        except Refused as refusal:
            _refuse(handler, refusal)
            return True
        variables = {
            "GIT_PROJECT_ROOT": str(repository.folder.parent),
            "PATH_INFO": f"/{repository.folder.name}/{route['rest']}",
            "QUERY_STRING": query,
            "REMOTE_USER": caller.login if caller else "",
            **_cgi_variables(handler),
            **self._settings(faults.protected),
        }
        _run(handler, git_environment(**variables), faults)
        return True

    def _admitted(self, caller: Caller | None, owner: str, name: str, service: str) -> Repository:
        """The repository, for a caller who may have this service of it. Raise `Refused` as GitHub does."""
        if service not in ("git-upload-pack", "git-receive-pack"):
            raise Refused(403, "Please upgrade your git client.")
        repository = self._repositories.find(owner, name)
        hidden = repository is None or repository.is_private or service == "git-receive-pack"
        if hidden and caller is None:
            raise Refused(401, "Authentication is required.")
        if repository is None:
            raise Refused(404, "Repository not found.")
        if service == "git-receive-pack" and caller and not caller.may_write:
            raise Refused(403, f"Permission to {repository.full_name}.git denied to {caller.login}.")
        return repository

    def _settings(self, protected: list[str]) -> dict[str, str]:
        """Git's settings, told by the environment, so that none has to be kept in a repository."""
        settings = [
            ("core.hooksPath", str(self._hooks)),
            ("http.receivepack", "true"),
            ("receive.fsckObjects", "true"),
            ("receive.hideRefs", "refs/pull"),
            *(("receive.procReceiveRefs", f"refs/heads/{branch}") for branch in protected),
        ]
        told = {"GIT_HTTP_EXPORT_ALL": "1", "FORGE_ORDERS": str(self._orders), "GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings):
            told |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return told


def _cgi_variables(handler: BaseHTTPRequestHandler) -> Mapping[str, str]:
    headers = handler.headers
    chunked = "Transfer-Encoding" in headers
    return {
        "REQUEST_METHOD": handler.command,
        "SERVER_PROTOCOL": handler.request_version,
        "REMOTE_ADDR": str(handler.client_address[0]),
        "CONTENT_TYPE": headers.get("Content-Type", ""),
        # Without a length git reads up to the end; that is how a body of chunks reaches it.
        "CONTENT_LENGTH": "" if chunked else headers.get("Content-Length", ""),
        "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": headers.get("Git-Protocol", ""),
    }


def _refuse(handler: BaseHTTPRequestHandler, refusal: Refused) -> None:
    """Say no; git shows the text to its user."""
    discard_body(handler.headers, handler.rfile)
    text = refusal.message.encode()
    handler.send_response(refusal.status)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        handler.send_header("WWW-Authenticate", 'Basic realm="Demo forge"')
    handler.send_header("Content-Type", "text/plain; charset=utf-8")
    handler.send_header("Content-Length", str(len(text)))
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(text)


def _run(handler: BaseHTTPRequestHandler, environment: dict[str, str], faults: Faults) -> None:
    """Let the program read the request and write the answer, both as they come."""
    command = ["git", "http-backend"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        feeder = threading.Thread(target=_feed, args=(handler, process, process.stdin), daemon=True)
        feeder.start()
        headers = dict(_headers(process.stdout))
        pieces = iter(functools.partial(process.stdout.read1, _PIECE), b"")  # type: ignore[attr-defined]
        if handler.command == "POST" and handler.path.endswith("/git-receive-pack"):
            # What is told of a push is short, and none of it is told before the push is done.
            pieces = iter(list(pieces))
            faults.hold("after", f"{handler.command} {handler.path}")
        status = int(headers.pop("Status", "200" if headers else "500").split()[0])
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(piece)
        handler.wfile.flush()
        feeder.join()


def _feed(handler: BaseHTTPRequestHandler, process: subprocess.Popen[bytes], stdin: IO[bytes]) -> None:
    """Pass the body on. What the program no longer wants is read nevertheless, so that the caller gets its answer."""
    wanted = True
    try:
        for piece in body_pieces(handler.headers, handler.rfile):
            if wanted:
                try:
                    stdin.write(piece)
                except BrokenPipeError:
                    wanted = False
    except (ValueError, OSError):
        # Half a body must not look like a whole one.
        process.kill()
    with contextlib.suppress(OSError):
        stdin.close()


def _headers(stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        yield name, value.strip()
