"""A GitHub App on a demonstration forge, with a key of its own."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.demo.forge import DemoForge
from workers.forges.apps import GitHubApp

PERMISSIONS = {
    **dict.fromkeys(("contents", "issues", "pull_requests"), "write"),
    **dict.fromkeys(("actions", "checks", "statuses"), "read"),
}
ID = "7"


class RegisteredApp:
    """`install` says where it is installed. `used` is what a deployment knows of it."""

    def __init__(self, forge: DemoForge, folder: Path) -> None:
        self._forge = forge
        self.key_file = folder / "app.pem"
        self._public = _write(_key(), self.key_file)
        self.used = GitHubApp(ID, self.key_file, forge.url)
        self.install()

    def install(self, *installations: dict[str, Any], **app: Any) -> None:
        """Install it nowhere else than there: `{"owner": "acme", "repositories": ["shop"]}`."""
        there = [{"id": number, "permissions": PERMISSIONS, **each} for number, each in enumerate(installations, 1)]
        known = {"id": ID, "public_key": self._public, "permissions": PERMISSIONS, "installations": there, **app}
        (self._forge.root / "app.json").write_text(json.dumps(known))

    def remove(self) -> None:
        (self._forge.root / "app.json").unlink()


def new_key(path: Path) -> str:
    """Write a private key that nothing else has, as GitHub makes it; the public one."""
    return _write(rsa.generate_private_key(65537, 2048), path)


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    """The key of each app: to find its primes may take a second."""
    return rsa.generate_private_key(65537, 2048)


def _write(key: rsa.RSAPrivateKey, path: Path) -> str:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    path.write_bytes(private)
    path.chmod(0o600)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public.decode()
