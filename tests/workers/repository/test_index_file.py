"""Git reads what we write as an index, and we what git writes."""

from __future__ import annotations

from pathlib import Path

from tests.workers.engine import git, repository
from workers.repository.index_file import Record, read_index, read_records, write_records


def test_git_finds_in_an_index_that_we_write_again_what_it_wrote(tmp_path: Path) -> None:
    files = [("a", "1\n"), ("a.b", "2\n"), ("é", "3\n"), ("folder/" + "x" * 200, "4\n")]
    top = repository(tmp_path / "one", files)
    index = top / ".git" / "index"
    before = git(top, "ls-files", "--stage", "--debug")

    write_records(index, read_records(index))

    assert git(top, "ls-files", "--stage", "--debug") == before
    # Git compares what it finds on disk with the state in the index.
    assert git(top, "diff-files") == ""


def test_a_file_of_another_content_shows_as_changed(tmp_path: Path) -> None:
    top = repository(tmp_path / "one", [("a", "1\n"), ("b", "2\n"), ("c", "3\n")])
    index = top / ".git" / "index"
    entries, records = read_index(index), read_records(index)

    del records[b"c"]
    write_records(index, {**records, b"a": Record.of(entries[b"b"])})

    assert git(top, "status", "--short") == "MM a\nD  c\n?? c"
