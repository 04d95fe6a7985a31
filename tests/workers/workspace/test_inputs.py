"""Files of the job in the workspace."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from workers.errors import EngineError
from workers.job import Attachment, Limits
from workers.limits.budget import Budget
from workers.workspace.inputs import plain_name, unique_name, write_attachments, write_home


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("plan.pdf", "plan.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\plan.pdf", "plan.pdf"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("a b;$(c)\n.txt", "a_b_c_.txt"),
        ("grüße.txt", "grüße.txt"),
        ("Abscha\u0308tzung.pdf", "Absch\u00e4tzung.pdf"),
        ("हिन्दी.txt", "हिन्दी.txt"),
        ("", "attachment"),
        ("..", "attachment"),
        ("\0", "_"),
        ("ü" * 200, "ü" * 60),
    ],
)
def test_names_are_plain(given: str, plain: str) -> None:
    assert plain_name(given) == plain


def test_names_are_unique() -> None:
    assert unique_name("a.txt", ["A.txt", "a-2.txt"]) == "a-3.txt"
    assert unique_name("b.txt", ["a.txt"]) == "b.txt"


def test_attachments_are_written_in_order(tmp_path: Path) -> None:
    files = [Attachment("x/a", lambda: iter([b"1", b"2"])), Attachment("y/a", lambda: iter([]))]
    assert write_attachments(tmp_path, files, Budget(Limits())) == ["a", "a-2"]
    assert (tmp_path / "a").read_bytes() == b"12"


def test_attachments_that_have_no_end_are_written_up_to_the_limit_of_the_session(tmp_path: Path) -> None:
    files = [Attachment("small", lambda: iter([b"1" * 60])), Attachment("endless", lambda: itertools.repeat(b"1" * 30))]
    with pytest.raises(EngineError) as caught:
        write_attachments(tmp_path, files, Budget(Limits(max_disk_bytes=100)))
    assert (caught.value.code, caught.value.stage) == ("disk_limit", "setup")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100


def test_attachments_that_take_too_long_end_with_the_time_of_the_session(tmp_path: Path) -> None:
    files = [Attachment("slow", lambda: itertools.repeat(b"1"))]
    with pytest.raises(EngineError) as caught:
        write_attachments(tmp_path, files, Budget(Limits(max_duration_seconds=0.05)))
    assert caught.value.code == "time_limit"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "config").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        write_home(tmp_path, {"config": b"evil"})
    assert (tmp_path / "precious").read_text() == "precious"
