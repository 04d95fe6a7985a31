"""The files in which an agent remembers its session, as an archive: packed when it has ended, unpacked for a follow-up.

Its members are `N/PATH`, where N is the place of the folder among those that the agent names, and `totals.json`. The
agent is not trusted: of what is in its home, only regular files are read, and no link is followed. Neither is the
archive.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from workers.agents.base import ConversationFiles
from workers.job import ConversationLost, Secrets
from workers.safe_walk import Folder, walk

_TOTALS = "totals.json"
_MOST_FILES = 1000
# Of other files and folders among them.
_MOST_SEEN = 20_000
_MOST_TOTALS = 4096
_CHUNK = 1 << 18
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# Never through a link, and never waiting for a pipe.
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def pack(
    home: Path, files: ConversationFiles, totals: Mapping[str, int], target: IO[bytes], secrets: Secrets, limit: int
) -> None:
    """Write the archive of `files` in `home` to `target`.

    No process of the agent may be running. Raises `ConversationLost`: there is no such file, they are larger than `limit` bytes
    or too many, or one contains a secret.
    """
    left, count = limit, 0
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=3, format=tarfile.PAX_FORMAT) as archive:
        for file, size, member in _open_each(home, files):
            left -= size
            count += 1
            if left < 0:
                raise ConversationLost(f"It is larger than {limit:,} bytes (AGENT_RUNNERS_MAX_CONVERSATION_BYTES).")
            if count > _MOST_FILES:
                raise ConversationLost(f"It has more than {_MOST_FILES:,} files.")
            if secrets.are_in(iter(functools.partial(file.read, _CHUNK), b"")):
                raise ConversationLost("It contains a known secret, such as the site's access token.")
            file.seek(0)
            archive.addfile(_described(member, size), file)
        content = json.dumps(dict(totals)).encode()
        archive.addfile(_described(_TOTALS, len(content)), io.BytesIO(content))
    if not count:
        raise ConversationLost("The agent left no files of it.")


def unpack(archive: IO[bytes], home: Path, files: ConversationFiles, limit: int, owner: int | None) -> dict[str, int]:
    """Write the files of an archive into `home`, for `owner` if it is given, and return the totals.

    No process of the agent may be running. Raises `ConversationLost`, and leaves no file then.
    """
    try:
        return _unpack(archive, home, files, limit, owner)
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, RecursionError) as error:
        remove(home, files)
        raise ConversationLost(f"Its archive is damaged: {type(error).__name__}.") from error
    except ConversationLost:
        remove(home, files)
        raise


def remove(home: Path, files: ConversationFiles) -> None:
    """Remove `files` from `home`. No process of the agent may be running."""
    for folder, name, _ in _find(home, files):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder.descriptor)


def _unpack(archive: IO[bytes], home: Path, files: ConversationFiles, limit: int, owner: int | None) -> dict[str, int]:
    totals: dict[str, int] = {}
    left, count = limit, 0
    with tarfile.open(fileobj=archive, mode="r|gz") as members:
        for member in members:
            left -= member.size
            count += 1
            content = members.extractfile(member) if member.isreg() else None
            if content is None or left < 0 or count > _MOST_FILES + 1:
                raise ConversationLost("Its archive is too large, or has files that are not allowed in it.")
            if member.name == _TOTALS:
                totals = _totals(content.read(_MOST_TOTALS))
                continue
            _write(home, _target(member.name, files), content, owner)
    return totals


def _open_each(home: Path, files: ConversationFiles) -> Iterator[tuple[IO[bytes], int, str]]:
    """The regular files that match: each opened, with its size and its name in an archive."""
    for folder, name, member in _find(home, files):
        try:
            descriptor = os.open(name, _OLD, dir_fd=folder.descriptor)
        except OSError:
            # A link, or a file that denies us access.
            continue
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                yield file, status.st_size, member


def _find(home: Path, files: ConversationFiles) -> Iterator[tuple[Folder, str, str]]:
    """The entries that are no folders and match `files`: the open folder and name of each, and its name in an archive.

    Raises `ConversationLost` if there are very many others.
    """
    seen = 0
    for folder in walk(home):
        with os.scandir(folder.descriptor) as entries:
            for entry in entries:
                seen += 1
                if seen > _MOST_SEEN:
                    raise ConversationLost(f"There are more than {_MOST_SEEN:,} files where it is.")
                path = folder.path_of(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if any(_leads_to(path, top) for top, _ in files):
                        folder.subfolders.append(entry.name)
                elif member := _member(path, files):
                    yield folder, entry.name, member


def _leads_to(path: str, top: str) -> bool:
    """Whether a folder is `top`, above it or below it."""
    return top == path or top.startswith(f"{path}/") or path.startswith(f"{top}/")


def _member(path: str, files: ConversationFiles) -> str | None:
    for number, (top, pattern) in enumerate(files):
        if path.startswith(f"{top}/") and fnmatchcase(path.removeprefix(f"{top}/"), pattern):
            return f"{number}/{path.removeprefix(f'{top}/')}"
    return None


def _target(member: str, files: ConversationFiles) -> PurePosixPath:
    """The path in the home of a member of an archive. Raises `ConversationLost`."""
    number, _, relative = member.partition("/")
    parts = relative.split("/")
    is_known = number.isdecimal() and int(number) < len(files)
    if is_known and not {"", ".", ".."} & {*parts} and "\0" not in relative:
        top, pattern = files[int(number)]
        if fnmatchcase(relative, pattern):
            return PurePosixPath(top, relative)
    raise ConversationLost("Its archive has files that are not allowed in it.")


def _write(home: Path, target: PurePosixPath, content: IO[bytes], owner: int | None) -> None:
    """Write a new file below `home`, through folders alone: setup may have left links there."""
    folder = os.open(home, _FOLDER)
    try:
        for part in target.parts[:-1]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=folder)
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
            _give(folder, owner)
        with os.fdopen(os.open(target.name, _NEW, 0o600, dir_fd=folder), "wb") as file:
            _give(file.fileno(), owner)
            while chunk := content.read(_CHUNK):
                file.write(chunk)
    finally:
        os.close(folder)


def _give(descriptor: int, owner: int | None) -> None:
    if owner is not None:
        os.fchown(descriptor, owner, owner)


def _totals(content: bytes) -> dict[str, int]:
    found = json.loads(content)
    return {str(name): value for name, value in found.items() if type(value) is int} if isinstance(found, dict) else {}


def _described(name: str, size: int) -> tarfile.TarInfo:
    described = tarfile.TarInfo(name)
    described.size, described.mode = size, 0o600
    return described
