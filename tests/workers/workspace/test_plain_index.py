"""The agent's index is read without git, and says the same, or is left to git."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import tracemalloc
from pathlib import Path

import pytest

from tests.workers.engine import linux
from tests.workers.repositories import commit_all, make_host, make_job, make_origin, prepare
from tests.workers.workspace.test_overlay import as_agent, needs_overlay, shell
from workers.job import Host
from workers.sandbox.base import Overlay
from workers.workspace.agent_index import read_agent_index
from workers.workspace.plain_index import read_plain_index
from workers.workspace.workspace import Workspace

pytestmark = [linux, needs_overlay]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files: dict[str, str | bytes] = {
        "src/a/one": "1\n",
        "src/b": "2\n",
        "text": "t\n",
        "run": "#!\n",
        ".gitignore": "dist\n",
    }
    made = make_origin(tmp_path_factory.mktemp("plain") / "origin", files)
    (made / "run").chmod(0o755)
    (made / "link").symlink_to("src")
    commit_all(made)
    return made


@pytest.fixture(scope="module")
def host(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return make_host(tmp_path_factory.mktemp("host"), sandbox="bubblewrap", local_repositories=origin.parent)


@pytest.fixture
def workspace(host: Host, origin: Path) -> Workspace:
    made = prepare(dataclasses.replace(make_job(origin), session_id=origin.parent.name), host)
    made.after_setup(has_run=False)
    return made


PLAIN = [
    "echo more >> text; git add --all; git rm --quiet --cached src/b",
    "echo more >> text; mkdir dist; echo built > dist/app.js; git add --force dist; git commit --quiet --all --message x",
    "touch --date=yesterday text; git status",
    "echo new > new; git add --intent-to-add new",
    "git update-index --skip-worktree text; git update-index --assume-unchanged run",
    "git mv text moved; chmod -x run; git add run; ln -sfn run link; git add link",
    "git rm -r --quiet src; mkdir text_; git mv text text_/text",
]
LEFT_TO_GIT = [
    "git update-index --split-index; echo more >> text; git add text",
    "git update-index --index-version 4",
    "git sparse-checkout set --cone --sparse-index src/a",
    "git switch --quiet --create other; echo 1 > text; git commit --quiet --all --message 1; git switch --quiet -;"
    " echo 2 > text; git commit --quiet --all --message 2; git merge --quiet other || :",
    "git init --quiet sub; git -C sub commit --quiet --allow-empty --message x; git add sub",
    "rm -rf .git; git init --quiet; git add text",
    "git repack -adq; echo more >> text; git add text",
    "rm .git/index",
    "mv .git/index .git/other; ln -s other .git/index",
    "rm .git/index; mkfifo .git/index",
    "echo more >> text; git add text; mv .git other; ln -s other .git",
    "git rm -r --quiet --cached .",
]


@pytest.mark.parametrize("script", PLAIN)
def test_a_plain_index_says_what_git_says_of_it(script: str, host: Host, workspace: Workspace) -> None:
    as_agent(workspace, shell(script))
    plain, by_git = (
        read_plain_index(workspace.overlay, workspace.git.object_format),
        read_agent_index(host, workspace, workspace.base_sha),
    )
    assert plain is not None and by_git is not None
    for said in ("staged", "dropped", "sparse", "submodules"):
        assert sorted(getattr(plain, said)) == sorted(getattr(by_git, said)), said


@pytest.mark.parametrize("script", LEFT_TO_GIT)
def test_any_other_index_is_left_to_git(script: str, workspace: Workspace) -> None:
    as_agent(workspace, shell(script))
    assert read_plain_index(workspace.overlay, workspace.git.object_format) is None


def _entry(path: bytes, mode: int = 0o100644, flags: int = 0) -> bytes:
    record = struct.pack(">10L20sH", *[0] * 6, mode, *[0] * 3, b"\1" * 20, flags | len(path)) + path
    return record + bytes(8 - len(record) % 8)


def _index(count: int, entries: bytes) -> bytes:
    data = struct.pack(">4sLL", b"DIRC", 2, count) + entries
    return data + hashlib.sha1(data).digest()


@pytest.mark.parametrize(
    "content",
    [
        _index(2**32 - 1, _entry(b"x")),
        _index(1, _entry(b"../x")),
        _index(1, _entry(b".git/config")),
        _index(1, _entry(b"x" * 5000)),
        _index(1, _entry(b"x", mode=0o160000)),
        _index(1, _entry(b"x", flags=0x1000)),
        _index(1, _entry(b"x").rstrip(b"\0")),
        _index(1, _entry(b"x") + struct.pack(">4sL", b"link", 0)),
        _index(1, _entry(b"x") + b"sd"),
        _index(1, _entry(b"x"))[:-1] + b"?",
        b"",
        bytes(1024**2),
    ],
    ids=range(12),
)
def test_what_no_git_wrote_is_left_to_git(content: bytes, workspace: Workspace) -> None:
    def write(folder: Path) -> None:
        (folder / ".git/index").write_bytes(content)

    as_agent(workspace, write)
    assert read_plain_index(workspace.overlay, workspace.git.object_format) is None


def test_an_index_is_read_that_a_program_wrote_as_git_does(workspace: Workspace) -> None:
    def write(folder: Path) -> None:
        (folder / ".git/index").write_bytes(_index(1, _entry(b"x")))

    as_agent(workspace, write)
    plain = read_plain_index(workspace.overlay, workspace.git.object_format)
    assert plain is not None and plain.staged == [b"x"]


@pytest.mark.parametrize("is_of_agent", [True, False], ids=["of the agent", "of the base"])
def test_a_large_index_is_not_parsed_nor_what_it_is_compared_with(tmp_path: Path, *, is_of_agent: bool) -> None:
    overlay = Overlay(tmp_path / "lower", tmp_path / "upper", tmp_path / "work")
    some = _index(4000, b"".join(_entry(b"%d" % number) for number in range(4000)))
    for folder in (overlay.lower, overlay.upper):
        (folder / ".git/objects/pack").mkdir(parents=True)
        (folder / ".git/index").write_bytes(bytes(1024**2) if is_of_agent == (folder == overlay.upper) else some)
    tracemalloc.start()
    try:
        assert read_plain_index(overlay, "sha1") is None
        assert tracemalloc.get_traced_memory()[1] < 2 * len(some)
    finally:
        tracemalloc.stop()


def test_a_plain_index_is_read_for_a_session(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.workspace.workspace.read_agent_index", None)
    as_agent(workspace, shell(PLAIN[1]))
    tree = workspace.snapshot()
    assert b"dist/app.js" in workspace.saving.run("ls-tree", "-r", "--name-only", tree)
