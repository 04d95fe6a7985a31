"""The first account and tokens, from the command line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.processes import run


def test_init_makes_an_account_once_and_shows_only_the_token_on_standard_output(folder: Path) -> None:
    assert run(folder, "migrate").returncode == 0
    first = run(folder, "init", "--email", "ada@example.org")
    assert first.returncode == 0
    assert first.stdout.startswith("ar_") and len(first.stdout.split()) == 1
    assert "ada@example.org" in first.stderr
    again = run(folder, "init")
    assert again.returncode == 1
    assert "has an account already" in again.stderr
    quiet = run(folder, "init", "--if-empty")
    assert (quiet.returncode, quiet.stdout) == (0, "")


def test_the_data_folder_is_private(folder: Path) -> None:
    run(folder, "migrate")
    assert (folder / "data").stat().st_mode & 0o777 == 0o700


def test_a_token_file_is_private(folder: Path) -> None:
    run(folder, "migrate")
    file = folder / "token"
    assert run(folder, "init", "--token-file", str(file)).stdout == ""
    assert file.read_text().startswith("ar_")
    assert file.stat().st_mode & 0o777 == 0o600


def test_tokens_are_created_listed_and_revoked(folder: Path) -> None:
    run(folder, "migrate")
    run(folder, "init")
    created = run(folder, "token", "create", "--scope", "read", "--name", "dashboards")
    text = created.stdout.strip()
    listed = run(folder, "token", "list").stdout
    row = next(line for line in listed.splitlines() if "dashboards" in line)
    assert "valid" in row and text not in listed
    assert run(folder, "token", "revoke", row.split()[0]).returncode == 0
    listed = run(folder, "token", "list").stdout
    assert "revoked" in next(line for line in listed.splitlines() if "dashboards" in line)


def test_a_token_of_nobody_is_refused(folder: Path) -> None:
    run(folder, "migrate")
    done = run(folder, "token", "create", "--user", "nobody@example.org")
    assert done.returncode == 1
    assert "nobody@example.org" in done.stderr
