"""Reads the objects of a git directory through one process, however many there are."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from io import BytesIO
from typing import NamedTuple

from gitdb import IStream, LooseObjectDB

from workers.limits.git_group import GitGroup
from workers.processes.output import read_output
from workers.repository.git import Git, GitFailed

# So many questions at a time fit into a pipe, so neither side waits for the other.
_GROUP = 200
# With --buffer git answers all of them then, instead of each by itself, which would take a read each.
_ANSWER = b"flush\n"
_KEPT_ERRORS = 16_384
_TREE = b"40000"
_NOTHING = b"0" * 40
SUBMODULE = b"160000"


class Entry(NamedTuple):
    """One entry of a tree. The mode of a file has six digits."""

    mode: bytes
    id: bytes

    @property
    def is_tree(self) -> bool:
        return self.mode == _TREE

    @classmethod
    def of_tree(cls, name: str) -> Entry:
        return cls(_TREE, name.encode())


NO_ENTRY = Entry(b"000000", _NOTHING)
"""What a path has that does not exist, as in the output of git for SHA-1."""


class Objects:
    """The objects of the directory of `git`. Its process starts at the first question and ends with `close`.

    Every method raises what `Git.stream` does, and GitFailed if an object that must exist is missing.
    """

    def __init__(self, git: Git) -> None:
        self._git = git
        self._process = contextlib.ExitStack()
        self._popen: subprocess.Popen[bytes] | None = None
        self._group = GitGroup(git.limits)
        self._output: Iterator[tuple[bytes, bool]] = iter(())
        self._buffer, self._place = b"", 0
        self._errors = b""

    def tree(self, name: str) -> dict[bytes, Entry]:
        """The entries of a tree by their names. `name` is its id, or that of a commit followed by `^{tree}`."""
        [header] = self._ask([b"contents %s\n" % name.encode()])
        if b" tree " not in header:
            raise GitFailed("cat-file", 128, f"there is no tree {name}", self._git.stage)
        data = b"".join(self._content(header))
        found: dict[bytes, Entry] = {}
        place, id_bytes = 0, header.index(b" ") // 2
        while place < len(data):
            space = data.index(b" ", place)
            end = data.index(b"\0", space)
            found[data[space + 1 : end]] = Entry(
                _plain(data[place:space]), data[end + 1 : end + 1 + id_bytes].hex().encode()
            )
            place = end + 1 + id_bytes
        return found

    def id_of(self, name: str) -> str:
        """The full id of an object, for a name such as `COMMIT^{tree}`."""
        [header] = self._ask([b"info %s\n" % name.encode()])
        if header.endswith(b" missing"):
            raise GitFailed("cat-file", 128, f"there is no object {name}", self._git.stage)
        return header.split(b" ")[0].decode()

    def sizes(self, ids: Iterable[bytes]) -> Iterator[int | None]:
        """The size of each object in bytes; None for one that is not here, such as the commit of a submodule."""
        for header in self._ask(b"info %s\n" % each for each in ids):
            yield None if header.endswith(b" missing") else int(header.rpartition(b" ")[2])

    def contents(self, ids: Iterable[bytes]) -> Generator[tuple[bytes, bytes], None, None]:
        """The contents of all objects in pieces, each with the object's id. The first is a line with its type and size."""
        is_complete = False
        try:
            for header in self._ask(b"contents %s\n" % each for each in ids):
                id = header.partition(b" ")[0]
                yield id, header + b"\n"
                if not header.endswith(b" missing"):
                    for piece in self._content(header):
                        yield id, piece
            is_complete = True
        finally:
            if not is_complete:
                self.close()

    def content(self, name: bytes) -> Iterator[bytes]:
        """The content of one object. Read it to its end before the next question."""
        [header] = self._ask([b"contents %s\n" % name])
        if header.endswith(b" missing"):
            raise GitFailed("cat-file", 128, f"there is no object {name.decode()}", self._git.stage)
        return self._content(header)

    def write_tree(self, entries: Mapping[bytes, Entry]) -> str:
        """Store a tree and return its id."""
        ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" if item[1].is_tree else item[0])
        data = b"".join(b"%s %s\0%s" % (each.mode, name, bytes.fromhex(each.id.decode())) for name, each in ordered)
        return self.write("tree", data)

    def write(self, kind: str, data: bytes) -> str:
        """Store a tree or a commit and return its id."""
        if self._git.object_format != "sha1":
            return self._hash_object(kind, data)
        stored = LooseObjectDB(str(self._git.directory / "objects")).store(IStream(kind, len(data), BytesIO(data)))
        return str(stored.hexsha.decode())

    def _hash_object(self, kind: str, data: bytes) -> str:
        """Store an object by a process of git, as gitdb knows SHA-1 only."""
        with tempfile.TemporaryFile(dir=self._git.directory) as file:
            file.write(data)
            file.seek(0)
            return self._git.run("hash-object", "-t", kind, "-w", "--stdin", stdin=file).decode().strip()

    def close(self) -> None:
        """End the process. A later question starts another one."""
        self._popen, self._buffer, self._place = None, b"", 0
        self._process.close()

    def _ask(self, questions: Iterable[bytes]) -> Iterator[bytes]:
        """The first line of each answer. Read what follows it before the next one."""
        source = iter(questions)
        while group := list(itertools.islice(source, _GROUP)):
            self._write(b"".join(group) + _ANSWER)
            for _ in group:
                yield self._line()

    def _content(self, header: bytes) -> Iterator[bytes]:
        left = int(header.rpartition(b" ")[2])
        while left:
            if self._place == len(self._buffer):
                self._read()
            piece = self._buffer[self._place : self._place + left]
            self._place += len(piece)
            left -= len(piece)
            yield piece
        self._line()

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n", self._place)) < 0:
            self._read()
        line, self._place = self._buffer[self._place : end], end + 1
        return line

    def _read(self) -> None:
        """Read more of the output into the buffer."""
        assert self._popen is not None
        for data, is_error in self._output:
            self._git.check_time(self._git.deadline)
            self._group.watch(self._popen.pid)
            if is_error:
                self._errors = (self._errors + data)[-_KEPT_ERRORS:]
            elif data:
                self._buffer, self._place = self._buffer[self._place :] + data, 0
                return
        self._git.raise_failure("cat-file", 128, self._errors, self._group)

    def _write(self, data: bytes) -> None:
        if self._popen is None:
            self._group = self._process.enter_context(GitGroup(self._git.limits))
            started = self._git.started(("cat-file", "--batch-command", "--buffer"), subprocess.PIPE)
            self._popen = self._process.enter_context(started)
            self._output = read_output(self._popen)
        assert self._popen.stdin is not None
        # If git has ended already, reading its answer says why.
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._popen.stdin.fileno(), data) :]


def _plain(mode: bytes) -> bytes:
    """The mode as git uses it: old tools stored other permissions of files."""
    if not mode.startswith(b"100"):
        return mode
    return b"100755" if int(mode, 8) & 0o100 else b"100644"
