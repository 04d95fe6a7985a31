"""Neither an agent nor a server can make our git run their code, follow a redirect or leak a credential.

Each tampering plants a canary: a command that would make a file. A test fails if that file ever appears.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from traceback import format_exception

import pytest

from tests.matrix import FULL
from tests.processes import each_process
from tests.workers.repositories import (
    ENVIRONMENT,
    applied,
    commit_all,
    fetch_base,
    finish,
    following,
    git,
    make_job,
    make_origin,
    prepare,
    stored_diffs,
    write,
)
from workers.errors import EngineError, Interrupted
from workers.job import Host, Job
from workers.repository.remote import Remote

TOKEN = "t0ken-s3cret"
Tampering = Callable[[Path, str], None]
HOOKS = ("pre-commit", "post-checkout", "post-index-change", "pre-applypatch", "post-applypatch", "fsmonitor-watchman")
HOOKS += ("reference-transaction", "post-update", "pre-auto-gc", "update", "pre-receive", "post-rewrite", "pre-push")


# An agent tampers with its checkout


def config(text: str) -> Tampering:
    def tamper(checkout: Path, canary: str) -> None:
        with open(checkout / ".git/config", "a") as file:
            file.write(text.replace("CANARY", canary))

    return tamper


def attributes(text: str, settings: str) -> Tampering:
    def tamper(checkout: Path, canary: str) -> None:
        for name in (".gitattributes", "folder/.gitattributes", ".git/info/attributes"):
            (checkout / name).parent.mkdir(exist_ok=True)
            with open(checkout / name, "a") as file:
                file.write(text)
        config(settings)(checkout, canary)

    return tamper


def every_hook(checkout: Path, canary: str) -> None:
    for name in HOOKS:
        for folder in (".git/hooks", "hooks"):
            write(checkout, {f"{folder}/{name}": f"#!/bin/sh\n{canary}\n"})
            (checkout / folder / name).chmod(0o755)


def hooks_elsewhere(checkout: Path, canary: str) -> None:
    every_hook(checkout, canary)
    config("[core]\n\thooksPath = hooks\n")(checkout, canary)


def pointer_to_a_hostile_directory(checkout: Path, canary: str) -> None:
    config("[core]\n\tfsmonitor = CANARY\n\thooksPath = hooks\n")(checkout, canary)
    (checkout / ".git").rename(checkout / "moved")
    (checkout / ".git").write_text("gitdir: moved\n")


def pointer_to_our_directory(checkout: Path, canary: str) -> None:
    (checkout / ".git").rename(checkout.parent / "old")
    (checkout / ".git").write_text("gitdir: ../ours.git\n")


def link_to_a_hostile_directory(checkout: Path, canary: str) -> None:
    config("[core]\n\tfsmonitor = CANARY\n")(checkout, canary)
    (checkout / ".git").rename(checkout / "moved")
    (checkout / ".git").symlink_to("moved")


def work_tree_elsewhere(checkout: Path, canary: str) -> None:
    config("[core]\n\tworktree = /etc\n\tbare = true\n[extensions]\n\tworktreeConfig = true\n")(checkout, canary)
    write(checkout, {".git/config.worktree": f"[core]\n\tfsmonitor = {canary}\n", ".git/commondir": "../moved\n"})


def a_bare_repository_in_plain_sight(checkout: Path, canary: str) -> None:
    git(checkout, "init", "--quiet", "--bare", "--template=", "bare")
    for name in ("HEAD", "config", "objects", "refs"):
        os.rename(checkout / "bare" / name, checkout / name)
    with open(checkout / "config", "a") as file:
        file.write(f"[core]\n\tfsmonitor = {canary}\n\tbare = false\n\tworktree = .\n")


def a_nested_repository(checkout: Path, canary: str) -> None:
    nested = checkout / "nested"
    git(checkout, "init", "--quiet", "nested")
    write(nested, {"file": "x\n", ".gitattributes": "* filter=canary diff=canary\n"})
    commit_all(nested)
    config(FILTER + "[core]\n\tfsmonitor = CANARY\n")(nested, canary)
    every_hook(nested, canary)


def a_submodule(checkout: Path, canary: str) -> None:
    a_nested_repository(checkout, canary)
    settings = f'[submodule "nested"]\n\tpath = nested\n\turl = ext::{canary}\n\tupdate = !{canary}\n\tignore = none\n'
    write(checkout, {".gitmodules": settings, ".gitattributes": "nested diff=canary\n"})
    config(settings + "[diff]\n\tsubmodule = log\n[submodule]\n\trecurse = true\n")(checkout, canary)


def environment_like_files(checkout: Path, canary: str) -> None:
    for folder in (".", ".config/git", "../home", "../home/.config/git"):
        write(checkout / folder, {".gitconfig": f"[core]\n\tfsmonitor = {canary}\n"})
        write(checkout / folder, {"config": f"[core]\n\tfsmonitor = {canary}\n\tpager = {canary}\n"})


def programs_in_the_way(checkout: Path, canary: str) -> None:
    for name in ("git", "git-add", "git-lfs", "git-diff", "env", "sh", "less"):
        write(checkout, {name: f"#!/bin/sh\n{canary}\n"})
        (checkout / name).chmod(0o755)


def hostile_index_and_objects(checkout: Path, canary: str) -> None:
    write(checkout, {".git/index": os.urandom(500), ".git/objects/info/alternates": "/etc\n", ".git/HEAD": "x" * 9999})
    write(checkout, {".git/shared.lock": "", ".git/index.lock": "", ".git/info/sparse-checkout": "!*\n"})


FILTER = '[filter "canary"]\n\tclean = CANARY; cat\n\tsmudge = CANARY; cat\n\tprocess = CANARY\n\trequired = true\n'
DIFF = '[diff "canary"]\n\tcommand = CANARY\n\ttextconv = CANARY\n\txfuncname = x\n\tcachetextconv = true\n'
MERGE = '[merge "canary"]\n\tdriver = CANARY\n'

TAMPERINGS: dict[str, Tampering] = {
    "fsmonitor": config("[core]\n\tfsmonitor = CANARY\n\tuntrackedCache = true\n"),
    "hooks path": hooks_elsewhere,
    "hooks": every_hook,
    "clean and process filter": attributes("* filter=canary text ident\n", FILTER),
    "a filter by the name of lfs": attributes(
        "* filter=lfs diff=lfs merge=lfs -text\n", FILTER.replace("canary", "lfs")
    ),
    "textconv and diff command": attributes("* diff=canary\n", DIFF),
    "a macro for a driver": attributes("[attr]mine diff=canary filter=canary\n* mine\n", DIFF + FILTER),
    "merge driver": attributes("* merge=canary\n", MERGE),
    "external diff": config("[diff]\n\texternal = CANARY\n\tnoprefix = true\n"),
    "pager and editor": config(
        "[core]\n\tpager = CANARY\n\teditor = CANARY\n[pager]\n\tdiff = CANARY\n\tadd = CANARY\n"
    ),
    "aliases": config("[alias]\n\tadd = !CANARY\n\tdiff = !CANARY\n\twrite-tree = !CANARY\n"),
    "an include": config("[include]\n\tpath = ../evil\n[core]\n\tsshCommand = CANARY\n\taskPass = CANARY\n"),
    "credential helper and alternate refs": config(
        "[credential]\n\thelper = !CANARY\n[core]\n\talternateRefsCommand = CANARY\n\tgitProxy = CANARY\n"
    ),
    "signing program": config("[gpg]\n\tprogram = CANARY\n[commit]\n\tgpgSign = true\n[log]\n\tshowSignature = true\n"),
    "a pointer file to a hostile directory": pointer_to_a_hostile_directory,
    "a pointer file to our directory": pointer_to_our_directory,
    "a link to a hostile directory": link_to_a_hostile_directory,
    "a work tree elsewhere": work_tree_elsewhere,
    "a bare repository in plain sight": a_bare_repository_in_plain_sight,
    "a nested repository": a_nested_repository,
    "a submodule": a_submodule,
    "configuration files in homes": environment_like_files,
    "programs in the way": programs_in_the_way,
    "a hostile index": hostile_index_and_objects,
}


# What undoes other tampering, or leaves no repository that git could read.
ALONE = [
    "hooks",
    "a filter by the name of lfs",
    "a pointer file to a hostile directory",
    "a pointer file to our directory",
    "a link to a hostile directory",
    "a work tree elsewhere",
    "a bare repository in plain sight",
    "a hostile index",
]


def everything_else(checkout: Path, canary: str) -> None:
    # Repositories are made first: git would run what the rest sets up.
    others = [name for name in TAMPERINGS if name not in ALONE]
    for name in sorted(others, key=lambda name: name != "a submodule"):
        if name != "a nested repository":  # That is a part of the submodule.
            TAMPERINGS[name](checkout, canary)


USUAL = {"everything else": everything_else, **{name: TAMPERINGS[name] for name in ALONE}}
TRIED = TAMPERINGS if FULL else USUAL


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"file": "one\n", "folder/inside": "x\n"})


@pytest.mark.parametrize("tampering", TRIED.values(), ids=TRIED.keys())
def test_tampering_with_the_checkout_runs_nothing(
    tampering: Tampering, host: Host, origin: Path, tmp_path: Path
) -> None:
    job = make_job(origin)
    workspace = prepare(job, host)
    workspace.after_setup()
    tampering(workspace.checkout, f"touch {tmp_path}/canary")
    write(workspace.checkout, {"file": "two\n", "folder/new": "y\n"})
    tree = finish(workspace, job)
    follow_up = prepare(following(job, 2, base_sha=workspace.base_sha), host)
    assert follow_up.start_tree == tree
    assert applied(origin, workspace.base_sha, stored_diffs(job)["cumulative"]) == tree
    assert git(workspace.git.directory, "cat-file", "blob", f"{tree}:file") == "two"
    workspace.dispose()
    follow_up.dispose()
    assert not (tmp_path / "canary").exists()


def test_git_in_the_checkout_would_run_the_agents_code(origin: Path, tmp_path: Path) -> None:
    """Shows that the tampering and the canaries work: git in the checkout itself runs some of the code."""
    sung = set()
    for number, (name, tampering) in enumerate({**TAMPERINGS, **USUAL}.items()):
        checkout = make_origin(tmp_path / f"naive{number}" / "checkout", {"file": "one\n", "folder/inside": "x\n"})
        tampering(checkout, f"touch {tmp_path}/canary")
        write(checkout, {"file": "two\n"})
        for command in (["add", "--all"], ["diff", "HEAD"], ["status"]):
            subprocess.run(["git", *command], cwd=checkout, env=ENVIRONMENT, capture_output=True, check=False)
        if (tmp_path / "canary").exists():
            (tmp_path / "canary").unlink()
            sung.add(name)
    assert len(sung) >= 8 and {"everything else", "hooks", "hooks path"} <= sung, sung


def test_the_workers_environment_does_not_reach_git(
    host: Host, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "canary"
    hostile = {
        "GIT_DIR": "/nowhere",
        "GIT_WORK_TREE": "/etc",
        "GIT_INDEX_FILE": str(canary),
        "GIT_OBJECT_DIRECTORY": str(canary),
        "GIT_EXTERNAL_DIFF": f"touch {canary}",
        "GIT_TRACE": str(canary),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='touch {canary}'",
        "GIT_NAMESPACE": "elsewhere",
        "GIT_DEFAULT_HASH": "sha256",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    # With this one no host is furnished, so that all of git runs.
    commit_all(origin)
    job = make_job(origin)
    workspace = prepare(job, host)
    write(workspace.checkout, {"file": "two\n"})
    finish(workspace, job)
    assert b"+two" in stored_diffs(job)["result"]
    assert not canary.exists()


def test_a_hostile_base_runs_nothing_and_writes_nothing_outside(host: Host, tmp_path: Path) -> None:
    origin = make_origin(
        tmp_path / "hostile",
        {
            ".gitattributes": "* filter=canary diff=canary export-subst ident\nfile working-tree-encoding=UTF-16\n",
            ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::touch {tmp_path}/canary\n\tupdate = checkout\n',
            ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:9/\n",
            "file": "one\n".encode("utf-16"),
        },
    )
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},x")
    git(origin, "commit", "--quiet", "--message", "hostile")
    job = make_job(origin)
    workspace = prepare(job, host)
    write(workspace.checkout, {"file": "two\n"})
    finish(workspace, job)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("entry", [".git/config", ".GIT/config", "git~1/config", "a/../../evil"])
def test_a_base_with_a_name_that_escapes_is_refused(host: Host, tmp_path: Path, entry: str) -> None:
    origin = make_origin(tmp_path / "hostile", {"file": "x\n"})
    tree = git(origin, "rev-parse", "HEAD^{tree}")
    blob = git(origin, "rev-parse", "HEAD:file")
    for number, part in enumerate(reversed(entry.split("/"))):
        mode = "100644" if number == 0 else "40000"
        raw = f"{mode} {part}".encode() + b"\0" + bytes.fromhex(blob if number == 0 else tree)
        tree = git(origin, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
    commit = git(origin, "commit-tree", "-m", "evil", tree)
    git(origin, "update-ref", "refs/heads/main", commit)
    with pytest.raises(EngineError) as caught:
        prepare(make_job(origin), host)
    assert caught.value.code == "repository_refused"


# Fetching over HTTP with a credential


class Server(ThreadingHTTPServer):
    """Serves one repository with `git http-backend` to clients that send the token."""

    daemon_threads = True

    def __init__(self, repository: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.asked: list[str] = []
        self.redirect_to = ""
        self.stall = False
        self.status = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/repository.git"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        expected = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
        if self.server.status:
            self.send_error(self.server.status)
        elif self.server.redirect_to:
            self.send_response(302)
            self.send_header("Location", self.server.redirect_to + self.path.removeprefix("/repository.git"))
            self.end_headers()
        elif self.headers.get("Authorization") not in (expected, f"Bearer {TOKEN}"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.server.stall:
            time.sleep(20)
        else:
            self._run_backend()

    do_POST = do_GET

    def _run_backend(self) -> None:
        path, _, query = self.path.partition("?")
        answer = subprocess.run(
            ["git", "-c", "safe.directory=*", "http-backend"],
            input=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            env={
                **ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(self.server.repository.parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path.replace("repository.git", self.server.repository.name + "/.git"),
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            },
            capture_output=True,
            check=False,
        ).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(repository: Path) -> Iterator[Server]:
    with Server(repository) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(origin: Path) -> Iterator[Server]:
    with serving(origin) as running:
        yield running


@pytest.fixture
def web_host(host: Host) -> Host:
    return dataclasses.replace(host, allowed_protocols=("http",), allow_private_addresses=True)


def failure(host: Host, job: Job) -> EngineError:
    with pytest.raises(EngineError) as caught:
        fetch_base(host, job)
    for secret in (TOKEN, base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()):
        assert secret not in "".join([repr(caught.value), caught.value.message, *format_exception(caught.value)])
    return caught.value


def test_a_bearer_token_gives_access_and_is_in_no_message(web_host: Host, server: Server) -> None:
    assert fetch_base(web_host, make_job(server.url, credential=f"Bearer {TOKEN}"))
    remote = Remote(server.url, f"Bearer {TOKEN}", web_host)
    assert TOKEN not in remote.scrub(f"fatal: {TOKEN}; Authorization: Bearer {TOKEN}")


def test_a_token_gives_access_and_is_stored_nowhere(web_host: Host, server: Server, origin: Path) -> None:
    job = make_job(server.url, credential=TOKEN)
    seen: list[bytes] = []
    with _watching_arguments(seen):
        workspace = prepare(job, web_host)
    assert workspace.base_sha == git(origin, "rev-parse", "HEAD")
    assert any(b"fetch" in line for line in seen)
    assert not any(TOKEN.encode() in line for line in seen)
    assert not any(TOKEN in path for path in server.asked)
    for path in web_host.work_dir.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


@contextlib.contextmanager
def _watching_arguments(seen: list[bytes]) -> Iterator[None]:
    """Collect the argument lists of all processes of this machine."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for _, line in each_process("cmdline"):
                if line not in seen:
                    seen.append(line)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_user_and_password_may_be_given_as_well(web_host: Host, server: Server) -> None:
    assert fetch_base(web_host, make_job(server.url, credential=f"x-access-token:{TOKEN}"))


def test_a_wrong_token_and_a_missing_one_give_different_errors(web_host: Host, server: Server) -> None:
    wrong = failure(web_host, make_job(server.url, credential="wrong"))
    missing = failure(web_host, make_job(server.url))
    assert wrong.code == missing.code == "repository_auth"
    assert not wrong.retryable and wrong.message != missing.message


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(403, "repository_auth", False), (404, "repository_unreachable", False), (503, "repository_unreachable", True)],
)
def test_the_status_of_the_server_decides_the_error(
    web_host: Host, server: Server, status: int, code: str, retryable: bool
) -> None:
    server.status = status
    error = failure(web_host, make_job(server.url, credential=TOKEN))
    assert (error.code, error.retryable) == (code, retryable)


def test_a_redirect_is_refused_and_not_followed(web_host: Host, server: Server, origin: Path) -> None:
    with serving(origin) as internal:
        server.redirect_to = internal.url
        error = failure(web_host, make_job(server.url, credential=TOKEN))
        assert error.code == "repository_unreachable"
        assert "redirect" in error.message
        assert internal.asked == []


def test_a_branch_that_is_missing_over_http_is_named(web_host: Host, server: Server) -> None:
    error = failure(web_host, make_job(server.url, credential=TOKEN, branch="other"))
    assert error.code == "branch_not_found" and "other" in error.message


# Fetches that do not end


def processes_of(folder: Path) -> list[int]:
    """Processes with the folder in their arguments."""
    return [
        process for process, line in each_process("cmdline") if os.fsencode(folder) in line and process != os.getpid()
    ]


def test_a_fetch_that_takes_too_long_times_out(web_host: Host, server: Server) -> None:
    server.stall = True
    hasty = dataclasses.replace(web_host, fetch_timeout_seconds=0.5)
    error = failure(hasty, make_job(server.url, credential=TOKEN))
    assert (error.code, error.retryable) == ("fetch_timeout", True)
    assert processes_of(web_host.work_dir) == []


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_an_interrupted_fetch_leaves_no_process_and_no_workspace(
    web_host: Host, server: Server, origin: Path, exception: type[BaseException]
) -> None:
    server.stall = True

    def interrupt(number: int, frame: object) -> None:
        raise exception

    before = signal.signal(signal.SIGUSR2, interrupt)
    timer = threading.Thread(target=_signal_once_fetching, args=(server,))
    try:
        timer.start()
        with pytest.raises(exception):
            prepare(make_job(server.url, credential=TOKEN), web_host)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR2, before)
    assert processes_of(web_host.work_dir) == []
    assert not (web_host.work_dir / "workspaces" / "session-1").exists()
    server.stall = False
    assert prepare(make_job(server.url, credential=TOKEN), web_host).base_sha == git(origin, "rev-parse", "HEAD")


def _signal_once_fetching(server: Server) -> None:
    deadline = time.monotonic() + 300
    while len(server.asked) < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)


def test_an_expired_lifeline_ends_a_fetch(web_host: Host, server: Server) -> None:
    server.stall = True
    job = make_job(server.url, credential=TOKEN)
    timer = threading.Timer(0.3, job.lifeline.cut)
    timer.start()
    with pytest.raises(Interrupted):
        fetch_base(web_host, job)
    timer.join()
    assert processes_of(web_host.work_dir) == []
