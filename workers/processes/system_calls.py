"""System calls of Linux that Python does not offer, or not in every version that we support."""

from __future__ import annotations

import ctypes
import fcntl
import os

# From <linux/prctl.h>, <linux/sched.h>, <linux/mount.h> and <linux/nsfs.h>.
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_NS_GET_USERNS = 0xB701


def set_death_signal(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends. A change of user clears it."""
    _call("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0)


def set_name(name: str) -> None:
    """Set the name of this process that `ps -o comm` and `top` show, of at most 15 characters."""
    _call("prctl", _PR_SET_NAME, name.encode(), 0, 0, 0)


def become_subreaper() -> None:
    """Become the parent of every orphan among the descendants of this process."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def enter_private_mounts() -> None:
    """Give this process mounts of its own. What is mounted from now on is not visible to others. Only for root."""
    _call("unshare", _CLONE_NEWNS)
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)


def mount_temporary(target: str) -> None:
    """Mount an empty file system in memory."""
    _call("mount", b"tmpfs", target.encode(), b"tmpfs", 0, b"mode=0755")


def bind(source: str, target: str) -> None:
    """Mount `source` a second time, at `target`."""
    _call("mount", source.encode(), target.encode(), None, _MS_BIND | _MS_REC, None)


def mount_overlay(layers: list[int], target: str) -> None:
    """Mount open folders as an overlay, and close them: the lower one, which is only read, the upper one, and an empty one.

    The options are given because a system may change their defaults: a folder of the lower layer can be moved as a
    whole, and a file of which only the mode changes is copied completely.
    """
    lower, upper, work = layers
    options = (
        f"lowerdir=/proc/self/fd/{lower},upperdir=/proc/self/fd/{upper},workdir=/proc/self/fd/{work},"
        "redirect_dir=on,metacopy=off,index=off,xino=off"
    )
    _call("mount", b"overlay", target.encode(), b"overlay", 0, options.encode())
    for each in layers:
        os.close(each)


def enter_network(namespace: int) -> None:
    """Enter a network namespace, and the user namespace that owns it.

    This needs no privileges if the user of this process created the user namespace. It must have a single thread.
    """
    owner = fcntl.ioctl(namespace, _NS_GET_USERNS)
    _call("setns", owner, _CLONE_NEWUSER)
    _call("setns", namespace, _CLONE_NEWNET)


def _call(name: str, *arguments: bytes | int | None) -> None:
    """Call a function of the C library that returns 0, or raise OSError."""
    native = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*native) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
