"""What a preflight finds of a repository and its forge, on the demonstration forge."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from app.demo.forge.repositories import Repository as Stored
from tests.demo.forge import DemoForge
from workers.job import Host
from workers.preflight.repository import Repository, check_repository
from workers.processes.lifeline import Lifeline


@pytest.fixture(scope="module")
def forge(forge: DemoForge) -> DemoForge:
    """The shared one, with a private repository."""
    forge.make_repository("ada", "shop", {"a.txt": "a\n"}, private=True)
    return forge


@pytest.fixture
def found(forge: DemoForge, tmp_path: Path):
    """Check the repository, and return the code of each check: `ok`, `skipped`, or why it failed."""
    usual = Repository(forge.clone_url("ada/shop"), "main", "github", forge.api_url, forge.token, f"x:{forge.token}")
    host = Host(tmp_path / "work", allowed_protocols=("http",), allow_private_addresses=True)

    def look(**fields: object) -> dict[str, str]:
        checks = list(check_repository(dataclasses.replace(usual, **fields), host, Lifeline(600)))
        assert not list((tmp_path / "work").glob("*")), "nothing is left behind"
        return {check.name: check.code or check.status for check in checks}

    return look


ALL_WELL = {"token": "ok", "repository": "ok", "branch": "ok", "push": "ok", "forge": "ok"}


@pytest.mark.parametrize("branch", ["main", None])
def test_a_repository_that_works_is_ok_and_is_not_changed(forge: DemoForge, found, branch: str | None) -> None:
    assert found(branch=branch) == ALL_WELL
    assert list(Stored("ada", "shop", forge.root / "ada/shop.git").branches()) == ["main"]
    assert forge.pulls("ada/shop") == []


def test_a_repository_with_ids_of_sha256_is_checked_as_any_other(forge: DemoForge, found) -> None:
    forge.make_repository("ada", "sha256", {"a.txt": "a\n"}, private=True, object_format="sha256")
    there = {"url": forge.clone_url("ada/sha256")}
    assert found(**there) == ALL_WELL
    only_reads = {"token": forge.read_only_token, "git_credential": f"x:{forge.read_only_token}"}
    assert found(**there, **only_reads) == {**ALL_WELL, "push": "push_refused"}


def test_a_missing_branch_and_a_token_that_may_only_read_are_named(forge: DemoForge, found) -> None:
    only_reads = {"token": forge.read_only_token, "git_credential": f"x:{forge.read_only_token}"}
    assert found(branch="nain", **only_reads) == {**ALL_WELL, "branch": "branch_not_found", "push": "push_refused"}


def test_a_wrong_or_a_missing_token_is_named(found) -> None:
    unknown = {"repository": "repository_auth", "branch": "skipped", "push": "skipped"}
    assert found(token="x" * 20, git_credential="x:" + "x" * 20) == {**ALL_WELL, **unknown, "forge": "forge_auth"}
    assert found(token=None, git_credential=None) == {**unknown, "token": "no_token", "forge": "skipped"}
