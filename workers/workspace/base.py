"""What the attempts on one commit of a site have in common, made once: its index, and the agent's repository.

    bases/<site_id>/<sha>/    `<sha>-<key>` for a sparse checkout, by the key of its cone
        base.json   the commit's tree, its submodules, and the files that configure agents
        lfs.json    the pointers of Git LFS in it
        extent.json how many files the tree has, and the space that they occupy
        index       the index of the commit, without any file's state on disk
        pack/       the pack with the commit for the agent's repository
        files-<uid>/  the files, for checkouts that are overlays; see `base_files`

Sessions copy from it or use it as a layer, and never change it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from workers.job import Host
from workers.repository.alternates import init_with_alternates
from workers.repository.cone import EVERYTHING, Cone, mark_left_out
from workers.repository.extent import Extent, measure_tree
from workers.repository.git import Git
from workers.repository.index_file import read_index
from workers.repository.object_format import ID
from workers.repository.objects import SUBMODULE, Objects
from workers.repository.partial import is_partial, promise_rest, promises_rest
from workers.repository.plain_name import plain_name
from workers.workspace import trash
from workers.workspace.agent_configuration import is_withheld
from workers.workspace.lfs_tracked import note_in_base

_FACTS, _EXTENT = "base.json", "extent.json"
LINK = "base"
"""The name of a link in a workspace to the base that it needs."""
_NAME = re.compile(rf"{ID}(-[0-9a-f]{{16}})?")
_KEPT_SECONDS, _KEPT_BYTES = 7 * 86_400.0, 20 * 1024**3
# What was begun so long ago belongs to a worker that was lost.
_MAKING_SECONDS = 86_400.0


@dataclass(frozen=True)
class Facts:
    """The commit's tree, the commit of each submodule by its path, and its files that are withheld from agents.

    The last two are those that the cone has.
    """

    tree: str
    submodules: Mapping[str, str]
    withheld: tuple[str, ...]


@dataclass(frozen=True)
class Base:
    """A base on this host."""

    sha: str
    folder: Path
    facts: Facts
    extent: Extent
    cone: Cone = EVERYTHING
    """What is checked out."""

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def packs(self) -> Path:
        return self.folder / "pack"

    @property
    def is_partial(self) -> bool:
        """Whether the pack may lack files that are not checked out."""
        return promises_rest(self.packs)


@contextmanager
def open_base(host: Host, site_id: str, sha: str, mirror: Git, cone: Cone = EVERYTHING) -> Iterator[Base]:
    """The base of a commit that is in the mirror, made if it is not there yet. It stays while the context is open.

    Raises what `Git.run` does, and EngineError `file_limit` or `disk_limit` if its files exceed the limits of `mirror`.
    """
    folder = host.work_dir / "bases" / plain_name(site_id) / (f"{sha}-{cone.key}" if cone else sha)
    while (held := _hold(folder)) is None:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f"{sha}.", dir=folder.parent))
        try:
            _make(new, sha, mirror, cone)
            # Another attempt may have made it meanwhile; then that one is used.
            with suppress(OSError):
                new.rename(folder)
        finally:
            trash.discard(host, new)
    with held:
        os.utime(held.fileno())
        yield Base(sha, folder, Facts(**json.loads(held.read())), _read_extent(folder), cone)


def has_base(host: Host, site_id: str) -> bool:
    """Whether the host has a base of any commit of the site."""
    return any((host.work_dir / "bases" / plain_name(site_id)).glob(f"*/{_FACTS}"))


def evict_bases(host: Host) -> None:
    """Remove the bases that were not used for a long time, and the oldest ones if they take up too much disk space."""
    in_use = _in_use(host)
    found = sorted(((_last_use(folder), folder) for folder in (host.work_dir / "bases").glob("*/*")), reverse=True)
    total = 0
    for last_use, folder in found:
        total += _size(folder)
        if str(folder) in in_use:
            continue
        if time.time() - last_use > _KEPT_SECONDS or total > _KEPT_BYTES:
            _evict(host, folder)


def last_use_of_site(host: Host, site_id: str) -> float:
    """When a base of the site was used last. 0 if there is none."""
    return max(map(_last_use, (host.work_dir / "bases" / plain_name(site_id)).glob("*")), default=0.0)


def remove_bases(host: Host, site_id: str) -> None:
    """Remove the bases of a site, except those that an attempt uses."""
    site = host.work_dir / "bases" / plain_name(site_id)
    in_use = _in_use(host)
    for folder in site.glob("*"):
        if str(folder) not in in_use:
            _evict(host, folder)
    with suppress(OSError):
        site.rmdir()


def _in_use(host: Host) -> set[str]:
    """The bases of workspaces: an overlay needs its base as long as it exists, even if its worker was lost."""
    return {os.readlink(link) for link in host.work_dir.glob(f"workspaces/*/{LINK}")}


def _evict(host: Host, folder: Path) -> None:
    """Remove a base that no attempt holds."""
    with suppress(FileNotFoundError, BlockingIOError):
        if _NAME.fullmatch(folder.name):
            with open(folder / _FACTS, "rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                trash.discard(host, folder)
        elif time.time() - _last_use(folder) > _MAKING_SECONDS:
            trash.discard(host, folder)


def _hold(folder: Path) -> BinaryIO | None:
    """Hold the base while the file is open. None if there is no such base."""
    with ExitStack() as stack, suppress(FileNotFoundError):
        held = stack.enter_context(open(folder / _FACTS, "rb"))
        fcntl.flock(held, fcntl.LOCK_SH)
        # It may have been evicted before the lock was taken.
        if os.path.samestat(os.fstat(held.fileno()), os.stat(folder / _FACTS)):
            stack.pop_all()
            return held
    return None


def _size(folder: Path) -> int:
    """The bytes that a base occupies. Its files are many, so their size was written down."""
    total = 0
    for path in (*folder.glob("*"), *folder.glob("pack/*")):
        if path.suffix == ".size":
            total += int(path.read_text())
        elif path.is_file():
            total += path.stat().st_size
    return total


def _last_use(folder: Path) -> float:
    for path in (folder / _FACTS, folder):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _read_extent(folder: Path) -> Extent:
    """The extent of a base. Bases that were made by an earlier release have none."""
    with suppress(FileNotFoundError):
        return Extent(*json.loads((folder / _EXTENT).read_bytes()))
    return Extent()


def _make(folder: Path, sha: str, mirror: Git, cone: Cone) -> None:
    (folder / _EXTENT).write_text(json.dumps(measure_tree(mirror, sha, cone)))
    # In a repository of its own: a fetch removes what looks like a leftover in the mirror, such as an unfinished pack.
    git = replace(mirror, directory=folder / "git", index=folder / "index")
    init_with_alternates(git, mirror.directory)
    with closing(Objects(git)) as objects:
        tree = objects.id_of(f"{sha}^{{tree}}")
        git.run("read-tree", sha)
        entries = read_index(folder / "index", mirror.object_format)
        mark_left_out(git, (path for path in entries if not cone.has(path)))
        # Each workspace asks again, and says so if it takes too long.
        with suppress(TimeoutError):
            note_in_base(folder, git, objects, tree, entries)
    _copy_commit(git, sha, folder / "pack", cone)
    shutil.rmtree(git.directory)
    entries = {path: each for path, each in entries.items() if cone.has(path)}
    submodules = {os.fsdecode(path): each.id.decode() for path, each in entries.items() if each.mode == SUBMODULE}
    withheld = (path for path in map(os.fsdecode, entries) if path not in submodules and is_withheld(path))
    (folder / _FACTS).write_text(json.dumps(asdict(Facts(tree, submodules, tuple(withheld)))))


def _copy_commit(git: Git, sha: str, packs: Path, cone: Cone) -> None:
    """Write a pack of the commit and all objects of its tree, copied from the mirror without compressing them again.

    That of a partial mirror may lack files outside of the cone.
    """
    packs.mkdir()
    lacks = ["--missing=allow-any"] if cone and is_partial(git.directory) else []
    with tempfile.TemporaryFile() as wanted:
        wanted.write(f"--shallow {sha}\n{sha}\n".encode())
        wanted.seek(0)
        git.run("pack-objects", "--quiet", "--revs", "--shallow", *lacks, str(packs / "pack"), stdin=wanted)
    if lacks:
        promise_rest(packs)
