"""A stored patch is applied completely, or an error says what does not apply."""

from __future__ import annotations

import subprocess
import tempfile
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from tests.workers.repositories import commit_all, git, make_origin, write
from workers.errors import EngineError
from workers.repository.git import Git
from workers.repository.objects import Objects
from workers.repository.patches import apply_patch

FILES: dict[str, str | bytes] = {
    "text": "".join(f"line {number}\n" for number in range(60)),
    "image": bytes(range(256)) * 4,
    "old name": "kept\n" * 20,
    "script": "run\n",
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose first commit has the tag `base`."""
    origin = make_origin(tmp_path_factory.mktemp("patches") / "origin", FILES)
    git(origin, "tag", "base")
    return origin


@pytest.fixture(scope="module")
def patch(repository: Path) -> bytes:
    """Two hunks of text, a binary file, a rename, a mode, and lines that look like headers."""
    text = str(FILES["text"]).replace("line 3\n", "-- line\n").replace("line 50\n", "++ b/line\n@@ -1 +1 @@\n")
    write(repository, {"text": text, "image": bytes(range(255, -1, -1)) * 4, "new": "diff --git a/x b/x\n"})
    (repository / "old name").rename(repository / "new name")
    (repository / "script").chmod(0o755)
    commit_all(repository)
    made = git(repository, "diff", "--binary", "--full-index", "--find-renames", "base", "HEAD").encode() + b"\n"
    assert made.endswith(b"\n") and b"rename from" in made and b"GIT binary patch" in made
    return made


def apply(repository: Path, patch: bytes) -> str:
    with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory() as folder:
        file.write(patch)
        ours = Git(repository / ".git", index=Path(folder) / "index")
        with closing(Objects(ours)) as objects:
            return apply_patch(ours, objects, git(repository, "rev-parse", "base"), file)


def refusal(repository: Path, patch: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        apply(repository, patch)
    assert (caught.value.code, caught.value.retryable) == ("diff_does_not_apply", False)
    assert "PATCH" in caught.value.message and "revert" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        ["mkdir text_ && git mv text text_/text && echo more > 'old name'"],
        ["git mv 'old name' \"$(printf 'sp\\303\\244t \\t')\" && chmod +x text"],
        ["rm text && mkdir text && echo inside > text/deep"],
        ["mkdir new && echo one > new/file", "rm -r new && echo two > new"],
        ["mkdir new && echo one > new/file && echo two > new/other", "rm new/file"],
        ["printf -- '--- x\\n+++ y\\n' > text", "cp image picture && rm image && ln -s text image"],
    ],
)
def test_only_what_a_patch_names_is_read_and_the_rest_of_the_tree_stays(tmp_path: Path, changes: list[str]) -> None:
    """The last of the changes is the patch."""
    origin = make_origin(tmp_path / "origin", {**FILES, "folder/file": "stays\n"})
    for script in changes:
        git(origin, "tag", "--force", "base")
        subprocess.run(["sh", "-ec", script], cwd=origin, check=True)
        commit_all(origin)
    made = subprocess.run(
        ["git", "diff", "--binary", "--full-index", "--find-renames", "base", "HEAD"],
        cwd=origin,
        check=True,
        capture_output=True,
    ).stdout
    assert apply(origin, made) == git(origin, "rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize(
    "path", ["text", "text/deep", "script/very/deep", "folder"], ids=lambda path: f"a new {path.replace('/', ' ')}"
)
def test_a_new_file_is_refused_where_the_base_has_another(tmp_path: Path, path: str) -> None:
    origin = make_origin(tmp_path / "origin", {**FILES, "folder/file": "stays\n"})
    git(origin, "tag", "base")
    assert path in refusal(origin, new_file(path).encode())


def new_file(path: str) -> str:
    return f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"


DEEP = "a/" * 1500
HOSTILE = {
    "a removed line that looks like a path": (
        "diff --git a/text b/text\n--- a/text\n+++ b/text\n@@ -1,2 +1,1 @@\n line 0\n--- a/" + "a/" * 8000 + "\n"
    ),
    "deep folders": "".join(new_file(f"{number}/{DEEP}x") for number in range(4)),
    "many folders": "".join(new_file(f"{number}/x") for number in range(1500)),
    "a long path": new_file("a/" * 3000 + "x"),
    "a file renamed to deep folders": (
        f"diff --git a/script b/{DEEP}x\nsimilarity index 100%\nrename from script\nrename to {DEEP}x\n"
    ),
}


@pytest.mark.parametrize("patch", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_patch_with_any_number_of_folders_takes_little_memory(tmp_path: Path, patch: str) -> None:
    removed = "-- a/" + "a/" * 8000
    origin = make_origin(tmp_path / "origin", {**FILES, "text": f"line 0\n{removed}\n"})
    git(origin, "tag", "base")
    tracemalloc.start()
    try:
        tree = apply(origin, patch.encode())
        assert tracemalloc.get_traced_memory()[1] < 15 * 1024**2
    finally:
        tracemalloc.stop()
    subprocess.run(["git", "apply", "--cached", "-"], cwd=origin, input=patch.encode(), check=True)
    assert tree == git(origin, "write-tree")


def test_a_whole_patch_gives_the_tree_it_was_made_from(repository: Path, patch: bytes) -> None:
    assert apply(repository, patch) == git(repository, "rev-parse", "HEAD^{tree}")


def test_a_hunk_that_does_not_apply_is_named_by_file_and_line(repository: Path, patch: bytes) -> None:
    message = refusal(repository, patch.replace(b"-line 50\n", b"-line fifty\n"))
    assert "text" in message and "line 48" in message


def test_a_missing_file_is_named(repository: Path) -> None:
    message = refusal(repository, b"diff --git a/gone b/gone\n--- a/gone\n+++ b/gone\n@@ -1 +1 @@\n-a\n+b\n")
    assert "gone" in message


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [
        # Git applies what comes before a damaged binary patch, reports an error, and still exits with 0.
        (b"GIT binary patch\nliteral ", b"GIT binary patch\nliteral 1"),
        (b"GIT binary patch\nliteral ", b"GIT binary patch\nlitteral "),
        (b"GIT binary patch\n", b"GIT binary path\n"),
        (b"@@ -48,", b"@! -48,"),
        (b"\n@@ -1,", b"\n@! -1,"),
    ],
    ids=["length", "word", "header", "second hunk", "first hunk"],
)
def test_a_patch_that_git_would_apply_in_part_is_refused(
    repository: Path, patch: bytes, whole: bytes, damaged: bytes
) -> None:
    assert whole in patch
    assert refusal(repository, patch.replace(whole, damaged, 1))
