"""Confines this process, and what it executes, to some files and ports, without namespaces and without privileges.

It holds for programs of ours that read what a stranger sends, such as git with a remote: a flaw in one of them must not
give away the machine. The sandbox of agents separates more, but takes longer to start and cannot be had everywhere.

* Landlock restricts which files are opened, made and removed, and which TCP ports are connected to. It also keeps the
  processes outside from being traced, and their files in /proc closed. See landlock(7), and its table of ABI versions.
* A seccomp program restricts what Landlock does not: sockets of this machine, signals, and the modes of files.
* All capabilities are dropped but one: `CAP_DAC_OVERRIDE`, because the folders of a worker that is root may belong to
  another user. Landlock holds for that one as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import struct
import sys
from collections.abc import Iterable
from typing import Any

# The numbers of these system calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_RULE_PATH, _RULE_PORT = 1, 2
# Access to files, from <linux/landlock.h>.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE = 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
# No links, which would lead those astray who follow them later, and no devices.
_WRITE = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
# How many kinds of access to files each version knows. Later ones know no fewer.
_KINDS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_BIND_TCP, _CONNECT_TCP = 1, 2
_KNOWS_PORTS, _KNOWS_SCOPES = 4, 6
# Abstract Unix sockets and signals.
_SCOPES = 0b11
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_MODE_FILTER = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION = 0x20080522
_INSTRUCTION_BYTES = 8


@functools.cache
def landlock_version() -> int:
    """The version of Landlock's interface that the kernel offers; 0 if it offers none."""
    if sys.platform != "linux":
        return 0
    with contextlib.suppress(OSError):
        return _system_call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    return 0


def confine(allowed: dict[str, Any]) -> None:
    """Confine this process as a `launch.Confinement` says. Raises OSError if the kernel refuses."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if version := landlock_version():
        _restrict(version, allowed["readable"], allowed["writable"], allowed["ports"])
    _drop_capabilities()
    if allowed["filter"]:
        _install(bytes.fromhex(allowed["filter"]))


def _restrict(version: int, readable: Iterable[str], writable: Iterable[str], ports: list[int]) -> None:
    files = (1 << _KINDS.get(version, max(_KINDS.values()))) - 1
    connections = _BIND_TCP | _CONNECT_TCP if ports and version >= _KNOWS_PORTS else 0
    handled = [files, *([connections] if version >= _KNOWS_PORTS else [])]
    handled += [_SCOPES] if version >= _KNOWS_SCOPES else []
    attributes = struct.pack(f"{len(handled)}Q", *handled)
    rules = _system_call(_CREATE_RULESET, attributes, len(attributes), 0)
    for paths, access in ((readable, _READ), (writable, _WRITE)):
        for path in paths:
            _allow_path(rules, path, access & files)
    for port in ports if connections else ():
        _system_call(_ADD_RULE, rules, _RULE_PORT, struct.pack("QQ", _CONNECT_TCP, port), 0)
    _system_call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow_path(rules: int, path: str, access: int) -> None:
    """Allow access to what is at the path now, if there is anything. A link is followed."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    if not stat.S_ISDIR(os.fstat(opened).st_mode):
        access &= _OF_FILES
    _system_call(_ADD_RULE, rules, _RULE_PATH, struct.pack("=Qi", access, opened), 0)
    os.close(opened)


def _drop_capabilities() -> None:
    """Drop all but one. As no new privileges are given, no program restores one, not even for root: execve(2)."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    # The effective, permitted and inheritable ones, the first 32 before the others.
    held = ctypes.create_string_buffer(6 * 4)
    _checked("capget", _library().capget(header, held))
    kept = struct.unpack("=6I", held.raw)[1] & 1 << _CAP_DAC_OVERRIDE
    _checked("capset", _library().capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)))


def _install(program: bytes) -> None:
    instructions = ctypes.create_string_buffer(program, len(program))
    pointer = ctypes.addressof(instructions)
    _prctl(_PR_SET_SECCOMP, _MODE_FILTER, struct.pack("HxxxxxxP", len(program) // _INSTRUCTION_BYTES, pointer))


def _prctl(option: int, *arguments: int | bytes) -> None:
    padded = (*arguments, *[0] * (4 - len(arguments)))
    _checked("prctl", _library().prctl(ctypes.c_int(option), *map(_native, padded)))


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    return _checked(f"system call {number}", _library().syscall(ctypes.c_long(number), *map(_native, arguments)))


def _native(argument: int | bytes | None) -> Any:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _checked(name: str, answer: int) -> int:
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return answer


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
