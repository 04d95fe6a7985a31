"""Writes a job's input files into a workspace in which no untrusted code has run yet."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from workers.errors import EngineError
from workers.job import Attachment
from workers.limits.budget import Budget
from workers.sandbox import Directories, Sandbox
from workers.workspace.ownership import change_owner

_LONGEST_NAME = 120


def write_attachments(folder: Path, attachments: Iterable[Attachment], budget: Budget) -> list[str]:
    """Write the attached files, readable by everyone, and return their new names.

    Their size is checked here, because a file may be uploaded again after it was checked. Raises EngineError
    `disk_limit` if they are larger than the session's disk limit, and `time_limit`.
    """
    names: list[str] = []
    left = budget.limits.max_disk_bytes

    def within(chunks: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal left
        for chunk in chunks:
            budget.check_time("setup")
            left -= len(chunk)
            if left < 0:
                message = (
                    f"The attached files are larger than the disk limit of {budget.limits.max_disk_bytes:,} bytes. "
                    "Attach fewer or smaller files, or raise AGENT_RUNNERS_MAX_DISK_BYTES."
                )
                raise EngineError("disk_limit", "setup", message)
            yield chunk

    for attachment in attachments:
        name = unique_name(plain_name(attachment.name), names)
        names.append(name)
        _write(folder / name, within(attachment.read()), 0o444)
    return names


def plain_name(name: str) -> str:
    """The last part of a path, without characters that are special in a shell, a path or a terminal."""
    last = unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).name)
    spaced = "".join(character if _is_plain(character) else " " for character in last)
    plain = re.sub(" +", "_", spaced).lstrip(".-").encode()[:_LONGEST_NAME].decode(errors="ignore")
    return plain or "attachment"


def _is_plain(character: str) -> bool:
    # Letters, numbers, and the combining marks of many languages.
    return character in "_.+@-" or unicodedata.category(character)[0] in "LNM"


def unique_name(name: str, taken: Sequence[str]) -> str:
    """`name`, with a number before its suffix if it is taken. Case is ignored, because some file systems do."""
    lower = {each.lower() for each in taken}
    path, number, candidate = PurePosixPath(name), 2, name
    while candidate.lower() in lower:
        candidate = f"{path.stem}-{number}{path.suffix}"
        number += 1
    return candidate


def write_home(home: Path, files: Mapping[str, bytes]) -> None:
    """Write files at their paths in the private home, readable by its owner alone."""
    for relative, content in files.items():
        path = home / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, [content], 0o600)


def renew_home(directories: Directories, files: Mapping[str, bytes], sandbox: Sandbox) -> None:
    """Write files again for an agent that runs again. What is in their folders is moved out of its reach.

    Links are moved, never followed. No process of the agent may be running. Raises OSError.
    """
    aside = Path(tempfile.mkdtemp(prefix="used-home-", dir=directories.root))
    for name in top_names(files):
        with contextlib.suppress(FileNotFoundError):
            os.rename(directories.home / name, aside / name)
    write_home(directories.home, files)
    set_owner_of_files(directories.home, files, sandbox)


def top_names(files: Iterable[str]) -> set[str]:
    """The first part of each path in the home."""
    return {PurePosixPath(path).parts[0] for path in files}


def set_owner_of_files(home: Path, files: Iterable[str], sandbox: Sandbox) -> None:
    """`set_owner` for files that were written into the home later."""
    if os.geteuid() == 0:
        for top in top_names(files):
            change_owner(home / top, sandbox.owner or 0)


def set_owner(directories: Directories, sandbox: Sandbox) -> None:
    """Make the agent's user the owner of the files that it may change: git refuses repositories of other users."""
    if os.geteuid() != 0:
        return
    owner = sandbox.owner or 0
    change_owner(directories.home, owner)
    if directories.checkout.stat().st_uid != owner:
        change_owner(directories.checkout, owner)


def _write(path: Path, chunks: Iterable[bytes], mode: int) -> None:
    # Never through a link: we may be root here.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
