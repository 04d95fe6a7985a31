"""Signatures of commits by an SSH key, in the form that git and forges verify: gitformat-signature(5)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SECONDS = 20.0
# So a signature for git cannot be used for anything else.
_NAMESPACE = "git"


class NotSigned(Exception):
    """There is no signature. The message says why, and names the key's file."""


def sign(content: bytes, key: Path) -> str:
    """The signature of `content` by the private key in the file `key`, in lines. Raises NotSigned."""
    return _run(key, "-Y", "sign", "-n", _NAMESPACE, content=content)


def public_key(key: Path) -> str:
    """The public key that belongs to the private one, in the form that forges take. Raises NotSigned."""
    return _run(key, "-y")


def _run(key: Path, *arguments: str, content: bytes = b"") -> str:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise NotSigned("ssh-keygen is not installed: apt-get install openssh-client")
    # Neither an agent of ssh nor a person is asked: a key with a passphrase is none that a worker can use.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        done = subprocess.run(
            [program, *arguments, "-f", str(key)],
            input=content,
            capture_output=True,
            env=environment,
            start_new_session=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotSigned(f"{key}: {type(error).__name__}") from error
    if done.returncode:
        raise NotSigned(f"{key}: {_reason(done.stderr.decode(errors='replace'))}")
    return done.stdout.decode().strip()


def _reason(errors: str) -> str:
    """The last line of what ssh-keygen says. It surrounds a warning of a key that others may read with lines of `@`."""
    lines = [line.strip() for line in errors.splitlines() if line.strip(" @\t")]
    unprotected = next((line for line in lines if line.startswith("Permissions ")), None)
    return unprotected or (lines[-1] if lines else "ssh-keygen failed")
