"""Stands for `git-remote-http` in the hands of a server that found a flaw in it: tries what such a program could do.

It runs in the place of that program. Each attempt is a line on standard error: its name, and whether it succeeded.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

ARM = platform.machine() == "aarch64"
LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, CLONE_NEWUSER = 0x4206, 0x10000000


def system_call(number: int, *arguments: int) -> None:
    if LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def connect(family: int, address: Any) -> None:
    with socket.socket(family) as connection:
        connection.connect(address)


def write(path: str, flags: int = os.O_CREAT) -> None:
    os.close(os.open(path, os.O_WRONLY | flags))


def replace(path: str) -> None:
    """Put another file in the place of one, as git does."""
    Path(f"{path}.lock").write_text("[core]\n\tfsmonitor = false\n")
    os.rename(f"{path}.lock", path)


places = json.loads(Path(sys.argv[0]).with_suffix(".json").read_text())
mirror, victim, outside = places["mirror"], places["victim"], places["outside"]
attempts: dict[str, Any] = {
    "read another site's mirror": lambda: Path(places["other"], "config").read_bytes(),
    "list the mirrors": lambda: os.listdir(Path(mirror).parent),
    "read a secret of the deployment": lambda: Path(places["secret"]).read_bytes(),
    "list the processes": lambda: os.listdir("/proc"),
    "read the variables of a process": lambda: Path(f"/proc/{victim}/environ").read_bytes(),
    "read the memory of a process": lambda: os.close(os.open(f"/proc/{victim}/mem", os.O_RDONLY)),
    "connect to a unix socket": lambda: connect(socket.AF_UNIX, places["socket"]),
    "connect to an abstract socket": lambda: connect(socket.AF_UNIX, f"\0{places['abstract']}"),
    "connect to another port": lambda: connect(socket.AF_INET, ("127.0.0.1", places["port"])),
    "write outside": lambda: write(f"{outside}/new"),
    "change a file outside": lambda: write(f"{outside}/file", 0),
    "truncate a file outside": lambda: os.truncate(f"{outside}/file", 0),
    "empty a file that it may read": lambda: os.close(os.open(f"{mirror}/HEAD.bak", os.O_RDONLY | os.O_TRUNC)),
    "change a mode outside": lambda: os.chmod(f"{outside}/file", 0o4777),
    "replace the mirror's configuration": lambda: replace(f"{mirror}/config"),
    "add a configuration to the mirror": lambda: write(f"{mirror}/commondir.bak"),
    "borrow the objects of another mirror": lambda: write(f"{mirror}/objects/info/alternates.bak"),
    "leave a link in the mirror": lambda: os.symlink("/etc", f"{mirror}/refs/link"),
    "limit a process": lambda: resource.prlimit(victim, resource.RLIMIT_NOFILE),
    "slow a process down": lambda: os.setpriority(os.PRIO_PROCESS, victim, 19),
    "trace a process": lambda: system_call(117 if ARM else 101, PTRACE_SEIZE, victim, 0, 0),
    "stop a process": lambda: os.kill(victim, signal.SIGSTOP),
    "stop a process by its thread": lambda: system_call(131 if ARM else 234, victim, victim, signal.SIGSTOP),
    "use a capability": lambda: os.setgroups([]),
    "make a user namespace": lambda: system_call(97 if ARM else 272, CLONE_NEWUSER),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(f"{name}=done", file=sys.stderr)
    except OSError as error:
        print(f"{name}=refused ({error})", file=sys.stderr)
# What it is there for it may do.
write(f"{mirror}/objects/pack/tmp_x")
Path(f"{mirror}/refs/x.lock").write_text("x\n")
os.rename(f"{mirror}/refs/x.lock", f"{mirror}/refs/x")
os.unlink(f"{mirror}/refs/x")
connect(socket.AF_INET, ("127.0.0.1", places["remote"]))
print("fetched=done", file=sys.stderr)
sys.exit(1)
