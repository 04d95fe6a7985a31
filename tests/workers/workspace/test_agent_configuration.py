"""Files of a repository that configure agents: out of the agent's sight without the site's leave, and never lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.attempts import Attempt, Engine, code, engine_in
from tests.workers.engine import USUAL_SANDBOX, Stubborn, git, linux, sigterm_once, sigterm_raises
from workers.events import Step
from workers.workspace.agent_configuration import is_withheld, withhold_from_home

FILES = {
    ".claude/settings.json": "{}\n",
    ".claude/hooks/start.sh": "touch owned\n",
    ".mcp.json": "{}\n",
    ".codex/config.toml": "\n",
    "deep/er/.gemini/settings.json": "{}\n",
    "deep/opencode.jsonc": "{}\n",
    ".Cursor/mcp.json": "{}\n",
    ".env": "NODE_OPTIONS=--require=./owned.js\n",
    "deep/.env.local": "A=b\n",
}
KEPT = {".env.example": "A=\n", "CLAUDE.md": "Be kind.\n", "AGENTS.md": "Be kind.\n", "deep/settings.json": "{}\n"}
LOOK = "find . -path ./.git -prune -o -type f -print | sort"
WITHHELD = "Agent configuration not used, because allow_agent_configuration is off for the site"


@pytest.fixture(params=USUAL_SANDBOX)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, request.param) as made:
        for name, content in {**FILES, **KEPT}.items():
            (made.source / name).parent.mkdir(parents=True, exist_ok=True)
            (made.source / name).write_text(content)
        (made.source / "linked").symlink_to("deep")
        (made.source / "deep/er/.opencode").symlink_to("../../.claude")
        git(made.source, "add", "--all", "--force")
        git(made.source, "commit", "-qm", "configuration")
        yield made


def reported(attempt: Attempt) -> list[str]:
    """The paths that a step says were withheld."""
    steps = [event for event in attempt.events if isinstance(event, Step) and event.title == WITHHELD]
    return "\n".join(step.message for step in steps).splitlines()


def test_the_agent_sees_none_of_it_and_the_diff_knows_nothing_of_that(engine: Engine) -> None:
    attempt = engine.run(f"({LOOK}; git status --porcelain) > $TMPDIR/seen; mv $TMPDIR/seen seen")
    assert attempt.outcome.failure is None
    added = {line[1:] for line in engine.diff.splitlines() if line.startswith("+") and not line.startswith("+++")}
    assert added == {f"./{name}" for name in KEPT} | {"./README"}
    assert engine.diff.count("diff --git") == 1
    folders = [".Cursor", ".claude", ".codex", "deep/er/.gemini"]
    files = [".env", ".mcp.json", "deep/.env.local", "deep/er/.opencode", "deep/opencode.jsonc"]
    assert reported(attempt) == sorted(folders + files)


def test_with_the_leave_of_the_site_all_of_it_is_there(engine: Engine) -> None:
    attempt = engine.run("cat .claude/hooks/start.sh .env; rm .mcp.json", allow_agent_configuration=True)
    assert attempt.outcome.failure is None and reported(attempt) == []
    assert "touch owned" in attempt.text
    assert "deleted file" in engine.diff and engine.diff.count("diff --git") == 1


def test_what_setup_left_is_withheld_too(engine: Engine) -> None:
    setup = (
        "cp -r .claude deep/er/.CLAUDE && printf mine > .claude/settings.json && ln -s /etc .kiro && mkfifo .env.pipe"
        "&& mkdir -p x/.git/.qwen y/.env && touch y/.env/python && echo .env.pipe > .gitignore && chmod 0 .codex"
    )
    attempt = engine.run(f"{LOOK} > seen; test ! -e .kiro", setup_command=setup)
    assert attempt.outcome.failure is None, attempt.outcome.failure
    assert {"deep/er/.CLAUDE", ".kiro", ".env.pipe"} <= set(reported(attempt))
    assert "y/.env/python" in engine.diff, "a folder called .env is none of variables"
    assert engine.diff.count("diff --git") == 1
    assert Path("/etc/passwd").exists()


def test_what_the_agent_makes_in_its_place_counts_beside_what_is_not_there(engine: Engine) -> None:
    attempt = engine.run(
        "mkdir .claude; echo '{\"a\": 1}' > .claude/settings.json; echo new > .claude/new; echo > .env"
    )
    assert attempt.outcome.failure is None
    assert {line.split(" b/")[1] for line in engine.diff.splitlines() if line.startswith("diff --git")} == {
        ".claude/settings.json",
        ".claude/new",
        ".env",
    }
    assert "deleted" not in engine.diff


def test_a_folder_that_the_agent_removes_loses_all_but_what_was_withheld(engine: Engine) -> None:
    attempt = engine.run("rm -r deep; echo file > .claude")
    assert attempt.outcome.failure is None
    assert "deep/settings.json" in engine.diff and "deep/opencode.jsonc" not in engine.diff
    assert "b/.claude\n" in engine.diff, "where the agent put a file, there can be no folder"


def test_a_later_session_does_not_see_it_either_and_keeps_what_the_first_made(engine: Engine) -> None:
    base = engine.run("mkdir .claude; echo second > .claude/settings.json; echo new > deep/.mcp.json").outcome.base_sha
    so_far = engine.sink.diffs["cumulative"]
    attempt = engine.run(
        f"test ! -e .claude; test ! -e deep/.mcp.json; {LOOK} > seen", base_sha=base, start_diff=lambda: iter([so_far])
    )
    assert attempt.outcome.failure is None
    assert "diff --git a/seen b/seen" in engine.diff and engine.diff.count("diff --git") == 1
    cumulative = engine.sink.diffs["cumulative"].decode()
    assert "+second" in cumulative and "deep/.mcp.json" in cumulative and "deleted" not in cumulative


@linux
@pytest.mark.parametrize("end", ["stop", "kill", "silence", "fail"])
def test_however_the_attempt_ends_nothing_of_it_is_deleted(engine: Engine, end: str) -> None:
    tree = Stubborn()
    ends = {"fail": "exit 3", "kill": "kill -9 $$", "silence": "sleep 300", "stop": f"{tree.script} sleep 300"}
    prompt = f"echo work > work; echo ready; {ends[end]}"
    with sigterm_raises():
        waiter = sigterm_once(lambda: tree.alive() >= 5) if end == "stop" else None
        attempt = engine.run_into("stall_seconds", prompt, "ready") if end == "silence" else engine.run(prompt)
        if waiter:
            waiter.join()
    assert attempt.outcome.interrupted == (end == "stop")
    assert code(attempt.outcome) == {
        "stop": None,
        "silence": ("stalled", "agent"),
        "kill": ("agent_failed", "agent"),
        "fail": ("agent_failed", "agent"),
    }.get(end)
    assert "+work" in engine.diff and engine.diff.count("diff --git") == 1


def test_a_question_about_it_changes_nothing(engine: Engine) -> None:
    attempt = engine.run("true", mode="ask")
    assert attempt.outcome.failure is None and not attempt.outcome.has_result_diff
    assert "The agent's edits were discarded" not in attempt.steps


@pytest.mark.parametrize("path", [".ENV", "a/.Claude/x", ".env.production", "opencode.j\u017fon", "x/.mcp.json"])
def test_names_are_compared_as_the_most_careless_file_system_would(path: str) -> None:
    assert is_withheld(path)


@pytest.mark.parametrize("path", ["claude/x", ".environment", "env", ".env.example", "AGENTS.md", ".mcp.json/x"])
def test_other_names_are_left_alone(path: str) -> None:
    assert not is_withheld(path)


AT_HOME = """
mkdir -p ~/.claude ~/tools ~/.config/opencode ~/.config/kept
echo none | tee ~/.claude/settings.json ~/.claude.json > ~/tools/made
rm -r ~/.agent-runners
ln -s {elsewhere} ~/.agent-runners
"""


@pytest.mark.parametrize("allowed", [False, True])
def test_what_a_setup_command_leaves_in_the_home_configures_no_agent(
    engine: Engine, tmp_path: Path, allowed: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    setup = AT_HOME.format(elsewhere=elsewhere) if not allowed else AT_HOME.split("rm -r")[0]
    script = "ls -A ~ | grep -x -e .claude -e .claude.json -e tools > seen; ls ~/.config >> seen"
    attempt = engine.run(script, setup_command=setup, allow_agent_configuration=allowed)
    assert attempt.outcome.failure is None
    configuration = [".claude", ".claude.json", "opencode"]
    for name in [*configuration, "tools", "kept"]:
        assert (f"+{name}\n" in engine.diff) == (allowed or name not in configuration)
    assert [path for path in reported(attempt) if path.startswith("~")] == (
        [] if allowed else ["~/.claude", "~/.claude.json", "~/.config/opencode"]
    )
    assert list(elsewhere.iterdir()) == [], "nothing is written through a link"


def test_a_link_in_place_of_the_folder_of_configuration_is_moved_and_not_followed(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (elsewhere / "opencode").mkdir(parents=True)
    home.mkdir()
    (home / ".config").symlink_to(elsewhere)
    assert withhold_from_home(home, tmp_path / "aside", []) == [".config"]
    assert (elsewhere / "opencode").is_dir() and not (home / ".config").is_symlink()
