"""Which files of a diff are folded."""

import pytest

from app.console.generated import is_generated
from app.services.publishing.sensitive import kind_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("package-lock.json", True),
        ("a/b/Cargo.lock", True),
        ("static/app.min.js", True),
        ("vendor/lib/x.go", True),
        ("api/v1_pb2.py", True),
        ("lib/model.g.dart", True),
        ("package.json", False),
        ("app.js", False),
        ("docs/vendor.md", False),
        ("vendor", False),
        ("lock.py", False),
    ],
)
def test_files_are_known_by_their_paths(path, expected):
    assert is_generated(path) is expected


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.gen", ["x.gen", "a/b/x.gen"], ["x.gen/y", "gen"]),
        ("/*.gen", ["x.gen"], ["a/x.gen"]),
        ("api/*", ["api/x"], ["api/x/y", "b/api/x", "api"]),
        ("api/**", ["api/x", "api/x/y"], ["api", "b/api/x"]),
        ("**/api/x", ["api/x", "a/b/api/x"], ["a/xapi/x"]),
        ("a/**/x", ["a/x", "a/b/c/x"], ["a/x/y", "x"]),
        ("a/**/b/**/x", ["a/b/x", "a/1/b/2/b/x"], ["a/x", "a/1/x"]),
        ("api/", [], ["api/x", "api"]),
    ],
)
def test_files_are_known_by_the_patterns_of_the_repository(pattern, matching, others):
    assert [path for path in (*matching, *others) if is_generated(path, [pattern])] == matching


def test_the_last_pattern_decides():
    patterns = ["*.py", "!app/*", "!yarn.lock"]
    assert is_generated("x.py", patterns) and not is_generated("app/x.py", patterns)
    assert not is_generated("yarn.lock", patterns) and is_generated("Cargo.lock", patterns)


def test_no_pattern_takes_long():
    assert not is_generated("a/" * 2000 + "b", ["**/a*a*a*a*a*a*a*a/" * 20 + "x"] * 3)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (".github/workflows/ci.yml", "CI workflows"),
        (".husky/pre-commit", "Git hooks"),
        ("docs/CODEOWNERS", "CODEOWNERS"),
        ("bitbucket-pipelines.yml", "CI workflows"),
        (".bitbucket/CODEOWNERS", "CODEOWNERS"),
        (".gitmodules", ".gitmodules"),
        ("src/.github/workflows/ci.yml", None),
        ("CODEOWNERS.md", None),
    ],
)
def test_sensitive_files_have_a_kind(path, kind):
    assert kind_of(path) == kind
