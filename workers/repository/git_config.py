"""The configuration of every git command that the engine runs; no other is read."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Rules of `git fsck` that old tools broke in histories that can no longer be rewritten: the format of names, dates and
# modes. Rules about which files a tree holds, and where they are written, stay errors.
_IGNORED_FSCK_RULES = (
    *("badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "missingEmail", "missingNameBeforeEmail"),
    *("missingSpaceBeforeDate", "missingSpaceBeforeEmail", "multipleAuthors", "zeroPaddedDate", "zeroPaddedFilemode"),
)
CONFIG: Mapping[str, str] = {
    "core.hooksPath": os.devnull,
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.autocrlf": "false",
    "core.askPass": "",
    # No name is written that another system takes for `.git`: a developer may check the branch out there.
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "credential.helper": "",
    # A change cannot be hidden by resetting the modification time of a file.
    "core.checkStat": "default",
    "core.trustctime": "true",
    # Bigger files are streamed rather than held in memory, where git supports it.
    "core.bigFileThreshold": "64m",
    "checkout.workers": "0",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    # Packs are moved into place only when complete, so an interrupted fetch leaves no commit without its trees.
    "fetch.unpackLimit": "1",
    "transfer.fsckObjects": "true",
    **dict.fromkeys((f"fetch.fsck.{rule}" for rule in _IGNORED_FSCK_RULES), "ignore"),
    "http.followRedirects": "false",
    # A fetch ends by itself when the server sends nothing for this long.
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "protocol.version": "2",
}
