"""Walking folders: all of them, at any depth, with one open at a time, and never out of the tree."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.safe_walk import Folder, walk
from workers.workspace.untrackable import hidden

LONG = "x" * 250


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    top = tmp_path / "top"
    top.mkdir()
    yield top
    # What lies this deep is too much for `shutil.rmtree`.
    subprocess.run(["rm", "-rf", "--", str(top)], check=True)


def dig(top: Path, name: str, levels: int, *beside: str) -> None:
    """Make nested folders, with some siblings at each level."""
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        for each in (*beside, name):
            os.mkdir(each, dir_fd=descriptor)
        inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def look(folder: Folder) -> None:
    with os.scandir(folder.descriptor) as entries:
        folder.subfolders += [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def walked(top: Path) -> list[str]:
    """The names of all folders below `top`, in the order of the walk."""
    found = []
    for folder in walk(top):
        look(folder)
        found.append(folder.name)
    return found[1:]


def open_folders(top: Path) -> set[int]:
    """The inodes of the folders that this process has open on the file system of `top`. Files come and go."""
    found, device = set(), top.stat().st_dev
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            status = os.fstat(int(number))
            if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
                found.add(status.st_ino)
    return found


@pytest.mark.parametrize(("name", "levels"), [(LONG, 40), ("d", 1100)])
def test_every_folder_is_found_at_any_depth_with_one_open_at_a_time(top: Path, name: str, levels: int) -> None:
    dig(top, name, levels, "a", "z")
    before = open_folders(top)
    seen, most = [], 0
    for folder in walk(top):
        look(folder)
        seen.append(folder.name)
        most = max(most, len(open_folders(top) - before))
    assert sorted(seen[1:]) == sorted(levels * ["a", "z", name])
    assert most == 1
    assert open_folders(top) <= before


def test_paths_are_those_below_the_top(top: Path) -> None:
    (top / "ä" / "b").mkdir(parents=True)
    paths = {}
    for folder in walk(top):
        look(folder)
        paths[folder.path] = folder.length, folder.path_of("name"), folder.length_of("name")
    assert paths == {"": (0, "name", 4), "ä": (2, "ä/name", 7), "ä/b": (4, "ä/b/name", 9)}


def test_links_are_not_followed_even_where_a_folder_becomes_one(top: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "secret").mkdir(parents=True)
    (top / "folder").mkdir()
    seen = []
    for folder in walk(top):
        look(folder)
        seen.append(folder.name)
        if folder.name == "":
            (top / "folder").rmdir()
            (top / "folder").symlink_to(tmp_path / "outside")
    assert seen == [""]
    (top / "self").symlink_to(".")
    with pytest.raises(NotADirectoryError):
        walked(top / "self")


@pytest.mark.parametrize("elsewhere", ["within", "outside"])
def test_a_folder_that_is_moved_during_the_walk_does_not_misdirect_it(
    top: Path, tmp_path: Path, elsewhere: str
) -> None:
    for name in ("one", "two/a", "two/b", "two/c"):
        (top / name / "inner").mkdir(parents=True)
    target = {"within": top / "one" / "moved", "outside": tmp_path / "moved"}[elsewhere]
    (tmp_path / "stranger").mkdir()
    seen: list[str] = []
    moved = False
    for folder in walk(top):
        look(folder)
        seen.append(folder.path)
        if folder.name == "inner" and folder.path.startswith("two/") and not moved:
            os.rename(top / folder.path, target)
            moved = True
    assert moved and sorted(seen) == sorted(
        ["", "one", "one/inner", "two", *(f"two/{name}{inner}" for name in "abc" for inner in ("", "/inner"))]
        + (["one/moved"] if elsewhere == "within" and seen.index("one") > seen.index("two") else [])
    )


def test_hiding_files_from_git_uses_no_memory_per_file(top: Path) -> None:
    dig(top, LONG, 12)
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(12):
        descriptor, left = os.open(LONG, os.O_RDONLY, dir_fd=descriptor), descriptor
        os.close(left)
    for number in range(5000):
        os.close(os.open(str(number), os.O_CREAT, dir_fd=descriptor))
    os.close(descriptor)
    tracemalloc.start()
    try:
        with hidden(top, top.parent / "aside") as found:
            assert found.left_out == []
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
