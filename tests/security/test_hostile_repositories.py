"""Repositories and addresses made to harm whoever fetches them: refused before anything runs, or harmless."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workers.attempts import Attempt, Engine, code, engine_in
from tests.workers.engine import SANDBOXES
from tests.workers.repositories import git, write

Make = Callable[[Path, str], str]
"""Puts a tree into a repository, which is to run the command that is given, and names it."""
OBJECT = "1" * 40


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, "none", (("file", "one\n"),)) as made:
        yield made


def tree(repository: Path, *entries: tuple[str, str, str]) -> str:
    """A tree of exactly these entries, (mode, name, object), which git itself would not make."""
    raw = b"".join(f"{mode} ".encode() + name.encode() + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries)
    return git(repository, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)


def blob(repository: Path, content: str) -> str:
    return git(repository, "hash-object", "-w", "--stdin", stdin=content.encode())


def commit(repository: Path, top: str) -> None:
    git(repository, "update-ref", "refs/heads/main", git(repository, "commit-tree", "-m", "evil", top))


# Addresses


ADDRESSES = [
    "ext::sh -c 'touch CANARY'",
    "ext::touch%20CANARY",
    "ext::CANARY",
    "fd::0",
    "fd::7,8/x",
    "transport-helper::x",
    "--upload-pack=touch CANARY",
    "-u touch CANARY",
    "-oProxyCommand=touch${IFS}CANARY",
    "ssh://-oProxyCommand=touch${IFS}CANARY/x",
    "ssh://git@-oProxyCommand=touch${IFS}CANARY/x",
    "-oProxyCommand=touch${IFS}CANARY:x",
    "git@-oProxyCommand=touch${IFS}CANARY:x",
    "file:///etc/",
    "file://localhost/etc",
    "file://elsewhere/etc",
    "FILE:///etc",
    "/etc",
    "../../../../etc",
    "BELOW/../outside",
    "BELOW/link-out",
    "file://BELOW/%2e%2e/outside",
    "git://127.0.0.1:9/x",
    "http://127.0.0.1:9/x",
    "https://user:password@127.0.0.1:9/x",
    "https://127.0.0.1:9/x\n--upload-pack=touch CANARY",
    "https://127.0.0.1:9/x\0y",
    "rsync://127.0.0.1/x",
    "bundle://CANARY",
    "gopher://127.0.0.1:9/x",
    "",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_hostile_address_is_refused_before_anything_runs(engine: Engine, tmp_path: Path, address: str) -> None:
    """By the worker itself, which does not rely on what the API refuses: `tests/api/test_sites.py` has those."""
    canary, below = tmp_path / "canary", engine.source.parent
    outside = tmp_path / "outside"
    git(tmp_path, "clone", "--quiet", "--bare", str(engine.source), str(outside))
    (below / "link-out").symlink_to(outside)
    attempt = engine.run("true", repo_url=address.replace("CANARY", str(canary)).replace("BELOW", str(below)))
    assert code(attempt.outcome) == ("repository_refused", "checkout"), attempt.text
    assert not canary.exists()
    assert not list(engine.host.work_dir.rglob("HEAD")), "not even a mirror was made"


# Trees that no honest git makes


def dot_git_in_a_tree(repository: Path, canary: str) -> str:
    config = blob(repository, f"[core]\n\tfsmonitor = {canary}\n")
    return tree(repository, ("40000", ".git", tree(repository, ("100644", "config", config))))


def dot_git_through_a_link(repository: Path, canary: str) -> str:
    """The pattern of CVE-2014-9390 and CVE-2021-21300: a link, and beside it the folder that case folds into it."""
    hook = blob(repository, f"#!/bin/sh\n{canary}\n")
    hooks = tree(repository, ("100755", "post-checkout", hook))
    return tree(
        repository,
        ("40000", "A", tree(repository, ("40000", "modules", hooks))),
        ("120000", "a", blob(repository, ".git/hooks")),
    )


def a_link_and_a_folder_of_one_name(repository: Path, canary: str) -> str:
    inside = tree(repository, ("100644", "written", blob(repository, canary)))
    return tree(repository, ("120000", "x", blob(repository, "/tmp")), ("40000", "x", inside))


def climbing(repository: Path, canary: str) -> str:
    inside = tree(repository, ("100644", "written", blob(repository, canary)))
    return tree(repository, ("40000", "..", inside))


def a_slash_in_a_name(repository: Path, canary: str) -> str:
    return tree(repository, ("100644", "x/../../written", blob(repository, canary)))


def a_backslash_climbs_on_some_systems(repository: Path, canary: str) -> str:
    return tree(repository, ("100644", "..\\..\\written", blob(repository, canary)))


def a_short_name(repository: Path, canary: str) -> str:
    return tree(repository, ("40000", "GIT~1", tree(repository, ("100644", "config", blob(repository, canary)))))


def a_name_with_what_is_not_seen(repository: Path, canary: str) -> str:
    return tree(repository, ("40000", ".g\u200cit", tree(repository, ("100644", "config", blob(repository, canary)))))


def modules_by_a_link(repository: Path, canary: str) -> str:
    return tree(
        repository, ("120000", ".gitmodules", blob(repository, "evil")), ("100644", "evil", blob(repository, canary))
    )


def modules(url: str, name: str = "sub", path: str = "sub", update: str = "checkout") -> Make:
    def make(repository: Path, canary: str) -> str:
        text = f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n\tupdate = {update}\n'.replace("CANARY", canary)
        return tree(repository, ("100644", ".gitmodules", blob(repository, text)), ("160000", "sub", OBJECT))

    return make


def a_submodule_through_a_link(repository: Path, canary: str) -> str:
    """The pattern of CVE-2024-32002: the path of a submodule leads through a link into the repository."""
    text = f'[submodule "x/y"]\n\tpath = A/modules/x\n\turl = ext::{canary}\n'
    inside = tree(repository, ("40000", "modules", tree(repository, ("160000", "x", OBJECT))))
    return tree(
        repository,
        ("100644", ".gitmodules", blob(repository, text)),
        ("40000", "A", inside),
        ("120000", "a", blob(repository, ".git")),
    )


def settings_in_the_tree(repository: Path, canary: str) -> str:
    """Files that are configuration elsewhere, and filters and hooks that only they would name."""
    text = f'[core]\n\thooksPath = hooks\n\tfsmonitor = {canary}\n[filter "lfs"]\n\tprocess = {canary}\n\trequired\n'
    script = f"#!/bin/sh\n{canary}\n"
    names = (".gitconfig", "config", ".lfsconfig", ".gitattributes", "file")
    contents = (text, text, f"[lfs]\n\turl = ext::{canary}\n", "* filter=lfs diff=lfs merge=lfs text ident\n", "x\n")
    hooks = [
        ("100755", name, blob(repository, script)) for name in ("post-checkout", "post-index-change", "pre-commit")
    ]
    files = [("100644", name, blob(repository, text)) for name, text in zip(names, contents, strict=True)]
    bare = [("100644", "HEAD", blob(repository, "ref: refs/heads/main\n")), ("40000", "objects", tree(repository))]
    entries = [*files, *bare, ("40000", "hooks", tree(repository, *sorted(hooks, key=lambda each: each[1])))]
    return tree(repository, *sorted(entries, key=lambda each: each[1]))


def a_path_that_is_too_long(repository: Path, canary: str) -> str:
    """Git can still make it from where the checkout begins; together with the path of that, no system takes it."""
    configuration = ("100644", ".mcp.json", blob(repository, "{}\n"))
    inner = tree(repository, configuration, ("100644", "file", blob(repository, "x\n")))
    for length in (50, *16 * (250,)):
        inner = tree(repository, ("40000", "y" * length, inner))
    return inner


REFUSED = {
    "a .git in a tree": dot_git_in_a_tree,
    "a link and a folder of one name": a_link_and_a_folder_of_one_name,
    "a path that climbs": climbing,
    "a slash in a name": a_slash_in_a_name,
    "a short name": a_short_name,
    "a name with what is not seen": a_name_with_what_is_not_seen,
    ".gitmodules by a link": modules_by_a_link,
    "a submodule with an option for an address": modules("--upload-pack=CANARY"),
    "a submodule with an option for a path": modules("https://127.0.0.1:9/x", path="--upload-pack=CANARY"),
    "a submodule with a name that climbs": modules("https://127.0.0.1:9/x", name="../../../hooks"),
    "a submodule that runs a command": modules("https://127.0.0.1:9/x", update="!CANARY"),
    "a submodule with a line end in its address": modules('"https://127.0.0.1:9/x\\n--upload-pack=CANARY"'),
}
HARMLESS = {
    "a link that case folds into a folder": dot_git_through_a_link,
    "a backslash that climbs elsewhere": a_backslash_climbs_on_some_systems,
    "a submodule through a link": a_submodule_through_a_link,
    "a submodule by ext": modules("ext::CANARY"),
    "a submodule of the host": modules("file:///etc"),
    "settings in the tree": settings_in_the_tree,
    "a path that is too long": a_path_that_is_too_long,
}


def run_on(engine: Engine, make: Make, tmp_path: Path) -> Attempt:
    commit(engine.source, make(engine.source, f"touch {tmp_path}/canary"))
    before = around(tmp_path)
    attempt = engine.run("echo work > work")
    assert around(tmp_path) - before <= {engine.host.work_dir}, "nothing ran and nothing was written outside"
    return attempt


def around(tmp_path: Path) -> set[Path]:
    """Everything in the folders above those of the engine, where a canary would appear."""
    return {*tmp_path.iterdir(), *(tmp_path / "private").iterdir(), *(tmp_path / "repositories").iterdir()}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_a_repository_that_git_knows_for_hostile_is_refused(engine: Engine, tmp_path: Path, make: Make) -> None:
    attempt = run_on(engine, make, tmp_path)
    assert code(attempt.outcome) == ("repository_refused", "checkout"), attempt.text
    assert engine.sink.diffs == {}


@pytest.mark.parametrize("make", HARMLESS.values(), ids=HARMLESS.keys())
@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_another_that_is_hostile_to_some_does_no_harm(tmp_path: Path, sandbox: str, make: Make) -> None:
    with engine_in(tmp_path, sandbox) as engine:
        attempt = run_on(engine, make, tmp_path)
        assert attempt.outcome.failure is None, attempt.text
        assert engine.diff.count("diff --git") == 1 and "+work" in engine.diff
        base, diff = attempt.outcome.base_sha, engine.sink.diffs["cumulative"]
        later = engine.run("cat work", base_sha=base, start_diff=lambda: iter([diff]))
        assert later.outcome.result == "work"


def test_hooks_of_a_repository_that_is_served_from_this_machine_do_not_run(engine: Engine, tmp_path: Path) -> None:
    """Its own configuration and hooks are the operator's, yet git runs some of them for whoever fetches."""
    for name in ("post-checkout", "pre-receive", "post-update", "reference-transaction"):
        write(engine.source, {f".git/hooks/{name}": f"#!/bin/sh\ntouch {tmp_path}/canary\n"})
        (engine.source / ".git/hooks" / name).chmod(0o755)
    git(engine.source, "config", "uploadpack.packObjectsHook", f"touch {tmp_path}/canary; cat")
    assert engine.run("true").outcome.failure is None
    assert not (tmp_path / "canary").exists()


def test_these_repositories_are_real(engine: Engine, tmp_path: Path) -> None:
    """Git that does not look at what it fetches takes most of them."""
    taken = 0
    for number, make in enumerate(REFUSED.values()):
        commit(engine.source, make(engine.source, "true"))
        command = [
            "git",
            "-c",
            "fetch.fsckObjects=false",
            "clone",
            "--quiet",
            "--bare",
            str(engine.source),
            f"c{number}",
        ]
        taken += subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    assert taken >= len(REFUSED) - 1
