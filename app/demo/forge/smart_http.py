"""Clone, fetch and push over HTTP, through git's own CGI program: https://git-scm.com/docs/git-http-backend"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.client import parse_headers
from pathlib import Path

from flask import Blueprint, Response, request

from app.demo.forge.forge import Refused, check_app, forge, is_authenticated, may_write
from app.demo.forge.repositories import Repository, find, git_environment
from app.demo.forge.shapes import LOGIN

git = Blueprint("git", __name__)
# The body of git's probe request before a large push.
_PROBE = b"0000"


@git.get("/<owner>/<name>/info/refs", defaults={"asked": "info/refs"})
@git.get("/<path:owner>/_git/<name>/info/refs", endpoint="azure_devops", defaults={"asked": "info/refs"})
@git.post("/<owner>/<name>/<any('git-upload-pack', 'git-receive-pack'):asked>")
@git.post("/<path:owner>/_git/<name>/<any('git-upload-pack', 'git-receive-pack'):asked>")
@git.get("/scm/<owner>/<name>/info/refs", defaults={"asked": "info/refs"}, endpoint="serve_below_scm")
@git.post("/scm/<owner>/<name>/<any('git-upload-pack', 'git-receive-pack'):asked>", endpoint="serve_below_scm")
def serve(owner: str, name: str, asked: str) -> Response:
    """Let git answer the request, if the caller may use the service."""
    service = request.args.get("service", "") if asked == "info/refs" else asked
    with tempfile.TemporaryFile() as body:
        # The whole body is read first: an incomplete push must not look complete, and a client that is refused must be
        # able to finish sending.
        shutil.copyfileobj(request.stream, body)
        size = body.tell()
        body.seek(0)
        repository = authorized(owner, name.removesuffix(".git"), service)
        is_push = asked == "git-receive-pack" and size > len(_PROBE)
        variables = {
            # The hooks need Python.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "GIT_PROJECT_ROOT": str(repository.folder.parent),
            "GIT_HTTP_EXPORT_ALL": "yes",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "PATH_INFO": f"/{repository.folder.name}/{asked}",
            "QUERY_STRING": f"service={service}",
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.content_type or "",
            "CONTENT_LENGTH": str(size),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        }
        environment = git_environment(**variables, **_settings())
        process = subprocess.Popen([_backend()], env=environment, stdin=body, stdout=subprocess.PIPE)
    assert process.stdout is not None
    headers = parse_headers(process.stdout)
    status = headers.get("Status", "200 OK" if headers else "500 Internal Server Error")
    del headers["Status"]
    # The answer to a push is short, and the push is finished when it is complete.
    pieces = _pieces(process)
    return Response(b"".join(pieces) if is_push else pieces, status, list(headers.items()))


def authorized(owner: str, name: str, service: str) -> Repository:
    """The repository, if the caller may use this service. Raises `Refused` like GitHub."""
    if service not in ("git-upload-pack", "git-receive-pack"):
        raise Refused(403, "Please upgrade your git client.")
    if request.path.startswith("/scm/"):
        _refuse_names()
    authenticated, repository = is_authenticated(), find(forge().root, owner, name)
    if not authenticated and (repository is None or repository.is_private or service == "git-receive-pack"):
        raise Refused(401, "Authentication is required.")
    if repository is None:
        raise Refused(404, "Repository not found.")
    check_app(repository, "contents", writes=service == "git-receive-pack")
    if service == "git-receive-pack" and not may_write():
        raise Refused(403, f"Permission to {repository.full_name}.git denied to {LOGIN}.")
    return repository


def _refuse_names() -> None:
    """Bitbucket Data Center takes a token with the name of its own user, or without a name:
    https://confluence.atlassian.com/bitbucketserver/http-access-tokens-939515499.html"""
    given = request.authorization
    if given and given.type != "bearer" and given.username != LOGIN:
        raise Refused(401, "Authentication failed. Please check your credentials and try again.")


@functools.cache
def _backend() -> str:
    """The path of git's CGI program. Through `git http-backend` each request would start a program more."""
    return str(Path(subprocess.check_output(["git", "--exec-path"], text=True).strip(), "git-http-backend"))


def _settings() -> dict[str, str]:
    """Variables with the settings that are the same for all repositories."""
    fetches = [("uploadpack.allowFilter", "true"), ("uploadpack.allowAnySHA1InWant", "true")]
    pushes = [("http.receivepack", "true"), ("receive.fsckObjects", "true"), ("receive.hideRefs", "refs/pull")]
    pushes += [("receive.procReceiveRefs", f"refs/heads/{branch}") for branch in forge().protected]
    settings = [("core.hooksPath", str(Path(__file__).with_name("hooks"))), *fetches, *pushes]
    numbered = {f"GIT_CONFIG_KEY_{n}": name for n, (name, _) in enumerate(settings)}
    numbered |= {f"GIT_CONFIG_VALUE_{n}": value for n, (_, value) in enumerate(settings)}
    return {"GIT_CONFIG_COUNT": str(len(settings)), **numbered}


def _pieces(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    with process:
        assert process.stdout is not None
        while piece := process.stdout.read1(64 * 1024):  # type: ignore[attr-defined]
            yield piece
