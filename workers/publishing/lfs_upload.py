"""Uploads the content of files of Git LFS before the commits with their pointers are pushed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import monotonic

from workers.errors import EngineError
from workers.job import Host, Secrets
from workers.lfs.cache import Mismatch, Writer
from workers.lfs.pointers import Pointer, find_pointers
from workers.lfs.server import Server
from workers.lfs.transfer import Read, upload
from workers.publishing.commits import SECRET, Commits, named
from workers.repository.remote import Remote

_CHUNK = 1 << 18


def upload_objects(
    commits: Commits, added: Mapping[bytes, bytes], remote: Remote, host: Host, secrets: Secrets, read: Read | None
) -> list[str]:
    """Upload the objects that those of the files `added` that are pointers point to, as far as the server lacks them.

    The files are given by their ids, with a path of each. `read` reads what sessions stored. Returns a sentence on the files whose content is nowhere, if there are any. Raises
    EngineError `lfs_upload_failed` and `contains_secret`.
    """
    if not remote.is_http or read is None:
        return []
    paths = {pointer: added[id] for id, pointer in find_pointers(commits.objects, added).items()}
    if not paths:
        return []
    git = commits.git
    seconds = host.fetch_timeout_seconds if git.deadline is None else max(0.0, git.deadline - monotonic())
    server = Server(remote, host, seconds, lambda: git.check_time(None))
    pointers = {pointer.oid: pointer for pointer in paths}
    nowhere = upload(pointers, server, lambda pointer: _open(pointer, git.directory, secrets, read))
    if not nowhere:
        return []
    files = [path.decode(errors="replace") for pointer, path in paths.items() if pointer.oid in nowhere]
    return [f"The content of these files of Git LFS is neither stored here nor on the server: {named(files)}."]


def _open(pointer: Pointer, folder: Path, secrets: Secrets, read: Read) -> Path | None:
    """A file with the verified content of an object that a session stored. None: there is none."""
    path = folder / f"lfs-object-{pointer.oid}"
    try:
        with open(path, "wb") as file:
            writer = Writer(file, pointer)
            for chunk in read(pointer.oid):
                writer.write(chunk)
            writer.finish()
    except (FileNotFoundError, Mismatch):
        return None
    with open(path, "rb") as stored:
        if secrets.are_in(iter(partial(stored.read, _CHUNK), b"")):
            raise EngineError("contains_secret", "publish", SECRET)
    return path
