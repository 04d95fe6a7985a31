"""The system call filter of the sandbox, in the form that `bwrap --seccomp` takes.

It lets everything through that is not named here, because compilers, debuggers, browsers and language runtimes are to
work, and refuses what reaches parts of the kernel that such programs do not need and that have let others out of their
sandboxes. The lists follow those of Flatpak (`setup_seccomp` in common/flatpak-run.c) and what Docker's default profile
(profiles/seccomp/default.json of moby) lets through only with capabilities, which nothing in here has. `ptrace` stays, as
in Docker: it reaches the sandbox's own processes alone. `io_uring`, which both let through, is refused as Docker did for
its history of holes; runtimes fall back on their own.

Programs of another architecture than the machine's, 32-bit ones among them, are killed: their calls have other numbers.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_REFUSED = (
    *("add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd", "syslog", "uselib", "acct"),
    *("modify_ldt", "quotactl", "quotactl_fd", "lookup_dcookie", "fanotify_init", "open_by_handle_at", "kcmp"),
    *("mount", "umount", "umount2", "pivot_root", "chroot", "setns", "unshare", "swapon", "swapoff", "reboot"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module"),
    *("iopl", "ioperm", "settimeofday", "stime", "clock_settime", "clock_adjtime", "adjtimex", "vhangup"),
    *("sethostname", "setdomainname", "move_pages", "migrate_pages", "nfsservctl", "vm86", "vm86old"),
)
# Programs know that an older kernel lacks these, and do without. The arguments of clone3 cannot be looked at, and the
# C library then takes clone.
_ABSENT = (
    *("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_tree", "move_mount", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "memfd_secret"),
)
# CLONE_NEWTIME cannot be asked for with clone. From <linux/sched.h>: mnt, cgroup, uts, ipc, user, pid, net.
_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# Both put input into a terminal as if it had been typed.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_FAMILIES = (_UNIX, _INET, _INET6, _NETLINK)
_LOW = 0xFFFFFFFF
_LARGEST_SEGMENT = 64 * 1024


@dataclass(frozen=True)
class Rule:
    """A call to be refused: its name, the error it gets, and conditions on its arguments, all of which have to hold.

    A condition is the number of the argument, the name of a comparison of libseccomp, and its operands.
    """

    call: str
    error: int
    conditions: tuple[tuple[int, str, int, int], ...] = ()


@functools.cache
def program() -> bytes | None:
    """The filter for this machine; None where libseccomp, which makes it, is not installed."""
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError, TypeError):
        return None
    made = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for rule in _rules():
        arguments = [pyseccomp.Arg(place, getattr(pyseccomp, how), *values) for place, how, *values in rule.conditions]
        # An older libseccomp does not know the newest calls.
        with contextlib.suppress(OSError):
            made.add_rule(pyseccomp.ERRNO(rule.error), rule.call, *arguments)
    return _exported(made)


def _rules() -> Iterator[Rule]:
    for call in _REFUSED:
        yield Rule(call, errno.EPERM)
    for call in _ABSENT:
        yield Rule(call, errno.ENOSYS)
    for flag in _NAMESPACES:
        yield Rule("clone", errno.EPERM, ((0, "MASKED_EQ", flag, flag),))
    # The kernel looks at the lower half of these arguments only.
    for request in (_TIOCSTI, _TIOCLINUX):
        yield Rule("ioctl", errno.EPERM, ((1, "MASKED_EQ", _LOW, request),))
    for call in ("socket", "socketpair"):
        for family in range(max(_FAMILIES)):
            if family not in _FAMILIES:
                yield Rule(call, errno.EAFNOSUPPORT, ((0, "EQ", family, 0),))
        yield Rule(call, errno.EAFNOSUPPORT, ((0, "GT", max(_FAMILIES), 0),))
    # Programs ask NETLINK_ROUTE, protocol 0, for the addresses of the machine.
    yield Rule("socket", errno.EPERM, ((0, "EQ", _NETLINK, 0), (2, "NE", 0, 0)))
    # A segment that no process has mapped is nobody's memory, so there is no other way to hold it to a limit. Databases
    # want a few bytes of one. The error is that of a system whose limit it is (shmget(2)).
    yield Rule("shmget", errno.EINVAL, ((1, "GT", _LARGEST_SEGMENT, 0),))


def _exported(made: Any) -> bytes:
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()
