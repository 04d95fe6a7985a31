"""Any trees, and any way from one to the next: plain git makes of the stored diffs the very trees that the agent left."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import matrix
from tests.workers.git_versions import can_be_undone
from tests.workers.repositories import (
    Sink,
    finish,
    following,
    git,
    make_host,
    make_job,
    prepare,
    stored_diffs,
)
from tests.workers.workspace.test_overlay import UID, as_agent
from workers.job import Host, Job
from workers.repository.cone import Cone
from workers.repository.object_format import ID_LENGTHS
from workers.workspace.overlay_probe import can_overlay

FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"


class Entry(NamedTuple):
    """A mode, and the content of a file, the target of a link or the commit of a submodule, which SHA-1 has the start of."""

    mode: str
    content: bytes


Tree = dict[bytes, Entry]

# Names that look like git's own are refused, which other tests are about. Most trees share names, so that a path is a file
# here and a folder there.
ODD_NAMES = [
    b"sp ace",
    b" ",
    b"-",
    b'"',
    b"t\tab",
    b"n\nl",
    b"\xff\xfe",
    b"b\\s",
    b"\xc3\xa9",
    b"*",
    b"a => b",
    b"dev",
    b"\r",
]
names = st.sampled_from([b"a", b"b", b"c", b"a b", *ODD_NAMES]) | st.binary(min_size=1, max_size=5).filter(
    lambda name: not set(name) & set(b"\0/gG~") and name not in (b".", b"..")
)
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)

LINES = [b"line %d" % number for number in range(12)]
ODD_LINES = [
    b"",
    b" ",
    b"-- ",
    b"+++ b/a",
    b"diff --git a/a b/a",
    b"@@ -1 +1 @@",
    b"\\ No newline",
    b"$Id$",
    b"caf\xe9",
    b"x" * 300,
]


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    lines = [*LINES] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 3))):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(ODD_LINES)))
    ending = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"\n\r\n"]))
    return ending.join(lines) + draw(st.sampled_from([b"", ending]))


contents = texts() | st.binary(max_size=40) | st.binary(min_size=1, max_size=4).map(lambda each: b"\0" + each * 900)
files = st.builds(Entry, st.sampled_from([FILE, FILE, PROGRAM]), contents)
targets = st.binary(min_size=1, max_size=12).filter(lambda target: b"\0" not in target)
links = st.builds(Entry, st.just(LINK), st.sampled_from([b"a", b"b/c", b".."]) | targets)
submodules = st.builds(Entry, st.just(SUBMODULE), st.sampled_from([b"1" * 64, b"2" * 64]))
entries = files | files | files | links | submodules
ATTRIBUTES = [
    *(
        "* text=auto",
        "* eol=crlf",
        "a ident",
        "* filter=lfs diff=lfs merge=lfs -text",
        "* working-tree-encoding=UTF-16",
    ),
    *(
        "* -diff",
        "* binary",
        "* diff=java",
        "a export-ignore",
        "* whitespace=trailing-space",
        "* conflict-marker-size=3",
        "[x",
    ),
]
attributes = st.builds(
    Entry, st.just(FILE), st.lists(st.sampled_from(ATTRIBUTES)).map(lambda lines: "\n".join(lines).encode())
)


def fitting(found: Iterable[tuple[bytes, Entry]]) -> Tree:
    """The entries without those that would be in the place of a folder, or below a file."""
    tree: Tree = {}
    for path, entry in found:
        above = {path[:place] for place in range(len(path)) if path[place : place + 1] == b"/"}
        if not above & tree.keys() and not any(other.startswith(path + b"/") for other in tree):
            tree[path] = entry
    return tree


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    found = draw(st.lists(st.tuples(paths, entries), min_size=1, max_size=8))
    if draw(st.booleans()):
        found.append((draw(st.sampled_from([b".gitattributes", b"a/.gitattributes"])), draw(attributes)))
    return fitting(found)


@st.composite
def changed(draw: st.DrawFn, tree: Tree) -> Tree:
    """A tree that an agent could make of this one."""
    found = []
    for path, entry in tree.items():
        match draw(
            st.sampled_from(["keep", "keep", "remove", "move", "move and edit", "edit", "mode", "replace", "below"])
        ):
            case "keep":
                found.append((path, entry))
            case "move":
                found.append((draw(paths), entry))
            case "move and edit":
                found.append((draw(paths), edited(entry)))
            case "edit":
                found.append((path, edited(entry)))
            case "mode":
                found.append((path, entry._replace(mode={FILE: PROGRAM, PROGRAM: FILE}.get(entry.mode, entry.mode))))
            case "replace":
                found.append((path, draw(entries)))
            case "below":
                found.append((path + b"/" + draw(names), entry))
    return fitting([*found, *draw(trees()).items()])


def edited(entry: Entry) -> Entry:
    if entry.mode == SUBMODULE:
        return Entry(SUBMODULE, b"3" * 64)
    return entry._replace(content=entry.content + (b"more" if entry.mode == LINK else b"\nmore\n"))


def imported(repository: Path, trees: Mapping[str, Tree], object_format: str = "sha1") -> None:
    """Commit each of the trees to a branch, without any conversion."""
    stream = b""
    for branch, tree in trees.items():
        stream += f"commit refs/heads/{branch}\ncommitter A <a@example.org> 0 +0000\ndata 0\ndeleteall\n".encode()
        for path, entry in tree.items():
            quoted = b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'
            if entry.mode == SUBMODULE:
                commit = entry.content[: ID_LENGTHS[object_format]]
                stream += b"M 160000 %s %s\n" % (commit, quoted)
            else:
                stream += b"M %s inline %s\n" % (entry.mode.encode(), quoted)
                stream += b"data %d\n%s\n" % (len(entry.content), entry.content)
    options = ("--quiet", "--bare", "--initial-branch=main", f"--object-format={object_format}")
    git(repository.parent, "init", *options, str(repository))
    git(repository, "fast-import", "--quiet", stdin=stream)


def make(folder: Path, before: Tree, tree: Tree) -> None:
    """Do what an agent does to leave this tree in a checkout that has `before`."""
    top = os.fsencode(folder)
    for name in os.listdir(top):
        path = os.path.join(top, name)
        if name != b".git":
            shutil.rmtree(path) if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink(path)
    for path, entry in tree.items():
        place = os.path.join(top, path)
        os.makedirs(place if entry.mode == SUBMODULE else os.path.dirname(place), exist_ok=True)
        if entry.mode == LINK:
            os.symlink(entry.content, place)
        elif entry.mode != SUBMODULE:
            with open(place, "wb") as file:
                file.write(entry.content)
            os.chmod(place, int(entry.mode[-3:], 8))
    old, new = (({each for each in which.items() if each[1].mode == SUBMODULE}) for which in (before, tree))
    if old != new:
        length = ID_LENGTHS[git(folder, "rev-parse", "--show-object-format")]
        lines = [b"0 %s\t%s\0" % (b"0" * length, path) for path, _ in old - new]
        lines += [b"160000 %s\t%s\0" % (entry.content[:length], path) for path, entry in new - old]
        git(folder, "update-index", "--add", "--replace", "-z", "--index-info", stdin=b"".join(lines))


def applied(origin: Path, *patches: bytes, undone: bytes = b"") -> str:
    """The tree that plain git makes of the base with these patches, and without one of them again.

    What git makes is not left in the repository: it would take a binary file from there instead of its patch.
    """
    with tempfile.TemporaryDirectory(dir=origin.parent) as folder:
        (Path(folder) / "objects").mkdir()
        environment = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": f"{folder}/objects",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{origin}/objects",
        }
        git(origin, "read-tree", "main", **environment)
        for patch, *how in (*((patch,) for patch in patches), (undone, "--reverse")):
            if patch:
                git(origin, "apply", "--cached", "--binary", "--whitespace=nowarn", *how, stdin=patch, **environment)
        return git(origin, "write-tree", **environment)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> list[Host]:
    folder = tmp_path_factory.mktemp("hosts")
    host = make_host(folder / "work", local_repositories=folder, sandbox="bubblewrap", sandbox_uid=UID)
    ways = [True, False] if can_overlay(host) else [False]
    return [replace(host, overlay=way, sandbox="bubblewrap" if way else "none") for way in ways]


_numbers = itertools.count(1)


def run(job: Job, host: Host, before: Tree, tree: Tree) -> tuple[str, str]:
    """A session in which the agent leaves this tree. Returns the trees that it starts from and ends with."""
    workspace = prepare(job, host)
    workspace.after_setup(has_run=False)
    as_agent(workspace, lambda folder: make(folder, before, tree))
    final = finish(workspace, job)
    workspace.dispose()
    assert not [note for note in workspace.notes if note.startswith(".git/index")], "the index was read in time"
    return workspace.start_tree, final


@pytest.mark.timeout(3600)
@settings(max_examples=300 if matrix.FULL else 2, suppress_health_check=list(HealthCheck))
@given(data=st.data(), base=trees())
def test_stored_diffs_make_the_trees_that_agents_left(data: st.DataObject, base: Tree, hosts: list[Host]) -> None:
    first, second = data.draw(changed(base)), None
    second = data.draw(changed(first))
    one, other = (data.draw(st.sampled_from(hosts)) for _ in range(2))
    folder = one.work_dir.parent / str(next(_numbers))
    folder.mkdir()
    object_format = data.draw(st.sampled_from(sorted(ID_LENGTHS)))
    imported(folder / "origin", {"main": base}, object_format)
    imported(folder / "wanted", {"base": base, "first": first, "second": second}, object_format)
    refs = git(folder / "wanted", "rev-parse", "base^{tree}", "first^{tree}", "second^{tree}").split()
    base_tree, first_tree, second_tree = refs

    job = make_job(folder / "origin", site_id=folder.name, session_id=f"session-{folder.name}")
    assert run(job, one, base, first) == (base_tree, first_tree)
    diff = stored_diffs(job).get("cumulative", b"")
    assert applied(folder / "origin", diff) == first_tree
    assert stored_diffs(job).get("result", b"") == diff

    later = replace(following(job, 2), site_id=folder.name, session_id=f"session-{folder.name}")
    assert run(later, other, first, second) == (first_tree, second_tree)
    result, cumulative = (stored_diffs(later).get(kind, b"") for kind in ("result", "cumulative"))
    assert applied(folder / "origin", cumulative) == second_tree
    assert applied(folder / "origin", diff, result) == second_tree, "results compose to the cumulative diff"
    if can_be_undone(result):
        assert applied(folder / "origin", cumulative, undone=result) == first_tree, "a result can be undone"


def test_sessions_on_ids_of_sha256_in_each_kind_of_checkout(hosts: list[Host]) -> None:
    base = {b"a/b": Entry(FILE, b"b\n"), b"c": Entry(LINK, b"a"), b"m": Entry(SUBMODULE, b"1" * 64)}
    first = {b"a/d/e": Entry(PROGRAM, b"\0e"), b"c": Entry(FILE, b"c\n"), b"m": Entry(SUBMODULE, b"2" * 64)}
    second: Tree = {b"a": Entry(FILE, b"")}
    folder = hosts[0].work_dir.parent / f"sha256-{next(_numbers)}"
    folder.mkdir()
    imported(folder / "origin", {"main": base}, "sha256")
    imported(folder / "wanted", {"first": first, "second": second}, "sha256")
    first_tree, second_tree = git(folder / "wanted", "rev-parse", "first^{tree}", "second^{tree}").split()
    for number, host in enumerate(hosts):
        names = {"site_id": folder.name, "session_id": f"session-{folder.name}-{number}"}
        job = make_job(folder / "origin", **names)
        assert run(job, host, base, first)[1] == first_tree
        later = replace(following(job, 2), **names)
        assert run(later, host, first, second) == (first_tree, second_tree)
        result, cumulative = (stored_diffs(later)[kind] for kind in ("result", "cumulative"))
        assert applied(folder / "origin", cumulative) == second_tree
        if can_be_undone(result):
            assert applied(folder / "origin", cumulative, undone=result) == first_tree


def seen(tree: Tree, base: Tree, cone: Cone) -> Tree:
    """What of a tree a session sees that checks out this cone."""
    return {path: entry for path, entry in tree.items() if cone.has(path) or base.get(path) != entry}


def left(tree: Tree, base: Tree, cone: Cone, files: Tree) -> Tree:
    """The tree after a session that saw a part of `tree` and left these files."""
    unseen = {path: entry for path, entry in tree.items() if path not in seen(tree, base, cone) and path not in files}
    fitting_beside = fitting([*unseen.items(), *files.items()])
    assert unseen.items() <= fitting_beside.items()
    return fitting_beside


@st.composite
def sparse_paths(draw: st.DrawFn, base: Tree) -> tuple[str, ...]:
    """Some folders, most of which the tree has."""
    folders = {path[:place] for path in base for place in range(len(path)) if path[place : place + 1] == b"/"}
    found = draw(st.lists(st.sampled_from([*sorted(folders), b"a", b"none"]), max_size=2))
    return tuple(os.fsdecode(path) for path in found)


def without_submodules(tree: Tree) -> Tree:
    return {path: entry for path, entry in tree.items() if entry.mode != SUBMODULE}


@pytest.mark.timeout(3600)
@settings(max_examples=200 if matrix.FULL else 2, suppress_health_check=list(HealthCheck))
@given(data=st.data(), base=trees().map(without_submodules))
def test_what_a_sparse_checkout_leaves_out_is_in_every_tree(data: st.DataObject, base: Tree, hosts: list[Host]) -> None:
    folder = hosts[0].work_dir.parent / f"sparse-{next(_numbers)}"
    folder.mkdir()
    imported(folder / "origin", {"main": base})
    job = make_job(folder / "origin", site_id=folder.name, session_id=f"session-{folder.name}")
    tree = base
    for attempt in (1, 2):
        paths = data.draw(sparse_paths(base))
        before = seen(tree, base, Cone.of(paths))
        files = without_submodules(data.draw(changed(before)))
        after = left(tree, base, Cone.of(paths), files)
        imported(folder / f"wanted-{attempt}", {"main": after})
        wanted = git(folder / f"wanted-{attempt}", "rev-parse", "main^{tree}")
        made = []
        for place, host in enumerate(hosts):
            here = following(job, 10 * attempt + place) if attempt > 1 else replace(job, attempt=place + 1, sink=Sink())
            here = replace(here, site_id=folder.name, session_id=job.session_id, sparse_paths=paths)
            assert run(here, host, before, files)[1] == wanted
            made.append(stored_diffs(here))
        assert all(diffs == made[0] for diffs in made), "each kind of checkout makes the same bytes"
        assert applied(folder / "origin", made[0].get("cumulative", b"")) == wanted
        job, tree = here, after
