"""Commits that are signed with an SSH key, as git itself verifies them."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workers.publishing.publication import publication
from tests.workers.repositories import commit_all, fetch_base, git, make_host, make_job, make_origin, write
from workers.errors import EngineError
from workers.job import Host
from workers.publishing.publish import publish
from workers.publishing.signing import NotSigned, public_key, sign

pytestmark = pytest.mark.skipif(
    not shutil.which("ssh-keygen"), reason="NOT TESTED: no ssh-keygen; install it with `apt-get install openssh-client`"
)
WHO = "Runners <runners@example.org>"


def make_key(folder: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    key = folder / f"key-{kind}-{len(passphrase)}"
    # By itself it makes RSA keys that take a hundred times as long to find.
    size = ["-b", "1024"] if kind == "rsa" else []
    command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", "", "-f", str(key)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return key


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"file": "one\n"})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return dataclasses.replace(make_host(tmp_path / "work"), committer=WHO)


def verified(origin: Path, sha: str, key: Path, folder: Path) -> str:
    """Have git verify the signature; what it says of it."""
    signers = folder / "signers"
    signers.write_text(f"runners@example.org {public_key(key)}\n")
    program = ["-c", f"gpg.ssh.allowedSignersFile={signers}", "-c", "gpg.format=ssh"]
    shown = git(origin, *program, "log", "-1", "--format=%G? %GS|%cn <%ce>|%an|%B", sha)
    git(origin, *program, "verify-commit", sha)
    return shown


def test_a_commit_is_verified_by_git_whatever_kind_the_key_is(tmp_path: Path, origin: Path, host: Host) -> None:
    base = fetch_base(host, make_job(origin))
    for kind in ("ecdsa", "rsa"):
        key = make_key(tmp_path, kind)
        committed = publish(publication(origin, base, kind), dataclasses.replace(host, signing_key=key)).sha
        assert verified(origin, committed, key, tmp_path).startswith("G "), kind


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_a_commit_and_a_merge_are_verified_by_git(tmp_path: Path, host: Host, object_format: str) -> None:
    origin = make_origin(tmp_path / "origin", {"file": "one\n"}, object_format)
    key = make_key(tmp_path)
    signing = dataclasses.replace(host, signing_key=key)
    base = fetch_base(host, make_job(origin))
    git(origin, "branch", "topic")
    committed = publish(publication(origin, base, "topic"), signing).sha
    assert verified(origin, committed, key, tmp_path) == f"G runners@example.org|{WHO}|Ada|Add a file\n\nBecause."
    git(origin, "checkout", "--quiet", "-b", "moved")
    write(origin, {"theirs": "x\n"})
    commit_all(origin)
    git(origin, "checkout", "--quiet", "main")
    merged = publish(publication(origin, base, "moved"), signing).sha
    assert len(git(origin, "rev-parse", f"{merged}^@").split()) == 2
    assert verified(origin, merged, key, tmp_path).startswith("G ")


def test_without_a_key_commits_are_made_by_the_committer_and_not_signed(origin: Path, host: Host) -> None:
    sha = publish(publication(origin, fetch_base(host, make_job(origin)), "topic"), host).sha
    assert git(origin, "log", "-1", "--format=%G? %cn <%ce>", sha) == f"N {WHO}"


def test_a_key_that_cannot_be_used_pushes_nothing_and_says_why_to_the_operator_alone(
    tmp_path: Path, origin: Path, host: Host
) -> None:
    base = fetch_base(host, make_job(origin))
    readable = make_key(tmp_path, "rsa")
    readable.chmod(0o644)
    unusable = {tmp_path / "none": "No such file", make_key(tmp_path, passphrase="secret"): "passphrase"}
    for key, reason in {**unusable, readable: "too open"}.items():
        with pytest.raises(NotSigned, match=reason):
            sign(b"", key)
        with pytest.raises(EngineError) as failure:
            publish(publication(origin, base, "topic"), dataclasses.replace(host, signing_key=key))
        assert (failure.value.code, failure.value.retryable) == ("signing_failed", False)
        assert "doctor" in failure.value.message and str(key) not in failure.value.message
    assert git(origin, "branch", "--list", "topic") == ""
