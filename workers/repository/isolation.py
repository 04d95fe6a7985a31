"""What git can use of this machine while it contacts a remote: its program, certificates, and one git directory.

A server sends git whatever it likes. What a flaw in git, its HTTP library or ssh could give away is then what this
page lists, and not the other files and processes of the worker's user. Of the git directory only packs and refs can be
changed: what is in its configuration would take effect when git runs next, where nothing confines it.

A local repository is served by git itself, with the operator's hooks, so that one is not isolated.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from workers.processes.launch import Confinement
from workers.repository.access import Access
from workers.sandbox import seccomp

# The operating system and the stores of package managers. Only their own packages are in them.
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/home/linuxbrew",
)
_PREFIX = ("lib", "lib64", "libexec", "share", "ssl", "etc/ssl")
# Names, certificates and libraries, without the keys that are beside them. Links are followed once, when git starts.
_ETC = (
    *(
        "ssl/certs",
        "ssl/cert.pem",
        "ssl/ca-bundle.pem",
        "ssl/openssl.cnf",
        "ca-certificates",
        "crypto-policies",
        "gnutls",
    ),
    *("pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf", "alternatives", "static"),
    *("gai.conf", "host.conf", "hosts", "nsswitch.conf", "protocols", "resolv.conf", "services", "passwd", "group"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime"),
)
_OTHERS = (
    *("/var/lib/ca-certificates", "/dev/urandom", "/dev/random", "/dev/zero"),
    *("/sys/devices/system/cpu", "/proc/sys/crypto/fips_enabled"),
)
_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "LD_LIBRARY_PATH")
_OF_SSH = ("ssh_config", "ssh_config.d", "ssh_known_hosts", "ssh_known_hosts2")
# What `ssh -G` calls the files that its configuration names.
_SSH_FILES = ("identityfile", "certificatefile", "userknownhostsfile", "globalknownhostsfile", "revokedhostkeys")
_ANSWER_SECONDS = 10.0
# The folders of a git directory that a fetch changes. The boundary of a shallow repository is beside them, so that cannot
# be fetched from, see `Remote.translate`.
_CHANGED = ("objects/pack", "refs")


def confinement(directory: Path, access: Access) -> Confinement | None:
    """What git on `directory` can use for that access; None if it is not isolated."""
    if not access.isolated or sys.platform != "linux":
        return None
    writable = [os.devnull, *(str(directory / name) for name in _CHANGED)]
    readable = [*_system(), *_objects(directory)]
    is_ssh = "ssh" in access.protocols
    if is_ssh:
        readable += _ssh_files(access)
        # Ssh adds the keys of hosts, if it is configured to.
        writable.append(f"{_home()}/.ssh/known_hosts")
    program = seccomp.program_for_git(unix_sockets=is_ssh and "SSH_AUTH_SOCK" in os.environ)
    return Confinement(readable, writable, access.ports, program or b"")


def _system() -> Iterator[str]:
    yield from _SYSTEM
    yield from (f"/etc/{name}" for name in _ETC)
    yield from _OTHERS
    for name in _VARIABLES:
        yield from filter(os.path.isabs, os.environ.get(name, "").split(os.pathsep))
    yield from _folders_of("git")


def _folders_of(program: str) -> Iterator[str]:
    """The folders of a program that is elsewhere than those of the system."""
    found = shutil.which(program)
    for path in dict.fromkeys((found, os.path.realpath(found)) if found else ()):
        folder = Path(path).parent
        if not any(folder.is_relative_to(each) for each in _SYSTEM):
            yield str(folder)
            yield from (str(folder.parent / name) for name in _PREFIX if folder.name == "bin")


def _objects(directory: Path) -> Iterator[str]:
    """The directory, and the objects that it borrows."""
    yield str(directory)
    alternates = directory / "objects/info/alternates"
    if alternates.exists():
        yield from alternates.read_text().splitlines()


def _ssh_files(access: Access) -> Iterator[str]:
    """What ssh reads: its configuration, the user's keys, and the files that the configuration names for this host."""
    yield from (f"/etc/ssh/{name}" for name in _OF_SSH)
    yield f"{_home()}/.ssh"
    yield from _folders_of("ssh")
    command = [access.ssh_command[0], "-G", *access.ssh_command[1:], *access.ssh_target]
    asked = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_ANSWER_SECONDS,
        env=access.environment(),
    )
    for line in asked.stdout.splitlines():
        name, _, paths = line.partition(" ")
        if name in _SSH_FILES:
            yield from (path.replace("~", _home(), 1) if path.startswith("~/") else path for path in paths.split())


def _home() -> str:
    """The folder where ssh looks, whatever HOME is."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/nonexistent"
