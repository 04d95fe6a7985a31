"""Accounts and tokens, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.processes import run


def test_init_makes_an_account_once_and_shows_only_the_token_on_standard_output(migrated: Path) -> None:
    first = run(migrated, "init", "--email", "ada@example.org")
    assert first.returncode == 0
    assert first.stdout.startswith("ar_") and len(first.stdout.split()) == 1
    assert "ada@example.org" in first.stderr
    again = run(migrated, "init")
    assert again.returncode == 1
    assert "it has an account" in again.stderr
    quiet = run(migrated, "init", "--if-empty")
    assert (quiet.returncode, quiet.stdout) == (0, "")


def test_the_data_folder_is_private(folder: Path) -> None:
    run(folder, "migrate")
    assert (folder / "data").stat().st_mode & 0o777 == 0o700


def test_a_token_file_is_private(migrated: Path) -> None:
    file = migrated / "token"
    assert run(migrated, "init", "--token-file", str(file)).stdout == ""
    assert file.read_text().startswith("ar_")
    assert file.stat().st_mode & 0o777 == 0o600


def test_tokens_are_created_listed_and_revoked(initialized: Path) -> None:
    created = run(initialized, "token", "create", "--scope", "read", "--name", "dashboards")
    text = created.stdout.strip()
    listed = run(initialized, "token", "list").stdout
    row = next(line for line in listed.splitlines() if "dashboards" in line)
    assert "valid" in row and text not in listed
    assert run(initialized, "token", "revoke", row.split()[0]).returncode == 0
    listed = run(initialized, "token", "list").stdout
    assert "revoked" in next(line for line in listed.splitlines() if "dashboards" in line)


def test_a_token_is_listed_on_one_line_whatever_its_name(initialized: Path) -> None:
    run(initialized, "token", "create", "--name", "ci\nforged\tline")
    listed = run(initialized, "token", "list").stdout.splitlines()
    assert next(line for line in listed if "forged" in line).endswith("  ci forged line")


def test_a_token_for_an_unknown_user_is_refused(migrated: Path) -> None:
    done = run(migrated, "token", "create", "--user", "nobody@example.org")
    assert done.returncode == 1
    assert "nobody@example.org" in done.stderr


def test_further_accounts_are_created_listed_and_limited(initialized: Path) -> None:
    created = run(initialized, "account", "create", "Shop", "--email", "ada@example.org", "--max-queued-sessions", "50")
    assert created.returncode == 0, created.stderr
    assert created.stdout.startswith("ar_") and len(created.stdout.split()) == 1
    first, second = run(initialized, "account", "list").stdout.splitlines()
    assert first.endswith("Default") and "running none    waiting none" in first
    assert second.endswith("Shop") and "running none    waiting 50" in second
    number = second.split()[0]
    assert number in created.stderr
    limits = ["--max-concurrent-sessions", "3", "--max-queued-sessions", "none"]
    assert run(initialized, "account", "set", number, *limits).returncode == 0
    assert run(initialized, "account", "set", number).returncode == 0, "what is not named stays"
    unchanged, second = run(initialized, "account", "list").stdout.splitlines()
    assert unchanged == first and "running 3       waiting none" in second
    assert "ada@example.org" in run(initialized, "token", "list").stdout


def test_an_address_belongs_to_one_user(migrated: Path) -> None:
    run(migrated, "init", "--email", "ada@example.org")
    done = run(migrated, "account", "create", "Shop", "--email", "ada@example.org")
    assert done.returncode == 1 and "ada@example.org exists already" in done.stderr
    assert len(run(migrated, "account", "list").stdout.splitlines()) == 1


def test_an_invalid_email_address_is_refused(migrated: Path) -> None:
    for command in (["init"], ["account", "create", "Shop"]):
        done = run(migrated, *command, "--email", "ada")
        assert done.returncode == 1 and "'ada' is not an email address, such as ada@example.org" in done.stderr
    assert run(migrated, "account", "list").stdout == ""


@pytest.mark.parametrize("limit", ["0", "-1", "many", "2147483648"])
def test_an_invalid_limit_is_refused(folder: Path, limit: str) -> None:
    done = run(folder, "account", "set", "00000000-0000-0000-0000-000000000000", f"--max-queued-sessions={limit}")
    assert done.returncode == 64 and "whole number of at least 1" in done.stderr


def test_limits_of_an_unknown_account_are_refused(migrated: Path) -> None:
    done = run(migrated, "account", "set", "00000000-0000-0000-0000-000000000000", "--max-queued-sessions", "1")
    assert done.returncode == 1 and "There is no account with the id" in done.stderr
