"""Checks of this machine: its programs, folders and settings, and its access to the artifact store."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from app import artifacts, db
from app.config import settings
from tasks.attempts.heartbeat import Heartbeat
from tasks.doctor.finding import Finding
from tasks.jobs.host import this_host
from workers.job import Host
from workers.mail import sending
from workers.mail.connections import Server
from workers.publishing.signing import NotSigned, public_key, sign

LEAST_GIT = (2, 36)
PINS_ADDRESSES = (2, 37)
LEAST_FREE_BYTES = 2 * 1024**3
# This many heartbeats may fail or be late without losing the lease.
SPARE_BEATS = 2


def git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding("git", "missing", "git is not on PATH", "Install it: apt-get install git")
    version = subprocess.run([path, "version"], capture_output=True, text=True, check=True).stdout.strip()
    number = re.search(r"(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < LEAST_GIT:
        return Finding("git", "failing", f"{version}, older than 2.36: sessions fail", "Install git 2.37 or newer")
    if number and (int(number[1]), int(number[2])) < PINS_ADDRESSES:
        detail = (
            f"{version}, older than 2.37: it resolves the host of a repository again after the check of its address"
        )
        return Finding("git", "working", detail, "Install git 2.37 or newer")
    return Finding("git", "working", version)


def data_folder() -> Finding:
    folder = settings().data_dir.absolute()
    if not folder.exists():
        detail = f"{folder} does not exist yet"
        return Finding("data folder", "missing", detail, "Run: agent-runners migrate, which creates it")
    free = shutil.disk_usage(folder).free
    detail = f"{folder}, {free / 1024**3:.1f} GiB free"
    if not os.access(folder, os.W_OK):
        return Finding("data folder", "missing", detail, "Make it writable, or set AGENT_RUNNERS_DATA_DIR")
    if free < LEAST_FREE_BYTES:
        return Finding("data folder", "missing", detail, "Free disk space, or set AGENT_RUNNERS_DATA_DIR")
    return Finding("data folder", "working", detail)


@contextlib.contextmanager
def host() -> Iterator[Host]:
    """This host. Where no worker has made its folder yet, the sandbox is tried in another one, which is removed."""
    if settings().work.exists():
        yield this_host()
        return
    with tempfile.TemporaryDirectory(prefix="agent-runners-") as folder:
        # Agents may have a user of their own.
        os.chmod(folder, 0o711)
        yield dataclasses.replace(this_host(), work_dir=Path(folder))


def heartbeat() -> Finding:
    beat, lease = settings().heartbeat_seconds, settings().lease_seconds
    detail = f"every {beat:g} s, for a lease of {lease:g} s"
    if beat * (SPARE_BEATS + 1) > lease * Heartbeat.SHARE_OF_LEASE:
        remedy = "Set AGENT_RUNNERS_HEARTBEAT_SECONDS to a quarter of AGENT_RUNNERS_LEASE_SECONDS or less"
        return Finding("heartbeat", "failing", detail, remedy)
    return Finding("heartbeat", "working", detail)


def mail() -> Finding:
    server = Server.parse(settings().smtp_url)
    try:
        sending.check(server, settings().smtp_from)
    except sending.NotSent as error:
        return Finding("mail server", "failing", str(error), "Correct AGENT_RUNNERS_SMTP_URL, or start the server")
    return Finding("mail server", "working", f"{server.host}, port {server.port}")


def signing() -> Finding:
    key = settings().signing_key_file
    assert key is not None
    try:
        sign(b"", key)
        return Finding("signing key", "working", f"{public_key(key)}, for {settings().committer}")
    except NotSigned as error:
        remedy = "Make a key: ssh-keygen -t ed25519 -N '' -f FILE, readable by the worker alone; set AGENT_RUNNERS_SIGNING_KEY_FILE"
        return Finding("signing key", "failing", str(error), remedy)


def artifact_store() -> Finding:
    key = f"doctor/{db.new_id()}"
    artifacts.store().put(key, [b"x"])
    artifacts.store().delete(key)
    place = f"bucket {settings().s3_bucket}" if settings().s3_bucket else str(settings().artifacts)
    return Finding("artifact store", "working", place)
