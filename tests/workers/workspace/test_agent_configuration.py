"""Files of a repository that configure agents: out of the agent's sight without the site's leave, and never lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.workers.attempts import Attempt, Engine, code, engine_in
from tests.workers.engine import AVAILABLE, USUAL_SANDBOX, Stubborn, git, linux, sigterm_once, sigterm_raises
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


def test_the_agent_sees_none_of_it_and_only_what_it_makes_or_removes_is_in_the_diff(engine: Engine) -> None:
    attempt = engine.run(
        f"({LOOK}; git status --porcelain) > $TMPDIR/seen; mv $TMPDIR/seen seen;"
        "mkdir .claude; echo '{\"a\": 1}' > .claude/settings.json; echo new > .claude/new; echo > .env;"
        "rm -r deep; echo file > .codex"
    )
    assert attempt.outcome.failure is None
    parts = {part.split(" b/")[1].split("\n")[0]: part for part in engine.diff.split("diff --git ")[1:]}
    seen = [line[1:] for line in parts["seen"].splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert set(seen) == {f"./{name}" for name in KEPT} | {"./README"}
    assert parts.keys() == {
        "seen",
        *(".claude/settings.json", ".claude/new", ".env"),
        *("deep/settings.json", ".codex", ".codex/config.toml"),
    }
    gone = {name for name, part in parts.items() if "deleted file" in part}
    assert gone == {"deep/settings.json", ".codex/config.toml"}, "where the agent put a file, there can be no folder"
    folders = [".Cursor", ".claude", ".codex", "deep/er/.gemini"]
    files = [".env", ".mcp.json", "deep/.env.local", "deep/er/.opencode", "deep/opencode.jsonc"]
    assert reported(attempt) == sorted(folders + files)


def test_with_the_leave_of_the_site_all_of_it_is_there(engine: Engine) -> None:
    attempt = engine.run("cat .claude/hooks/start.sh .env; rm .mcp.json", allow_agent_configuration=True)
    assert attempt.outcome.failure is None and reported(attempt) == []
    assert "touch owned" in attempt.text
    assert "deleted file" in engine.diff and engine.diff.count("diff --git") == 1


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
@pytest.mark.parametrize("end", ["stop", "silence", "fail", *(["kill"] if FULL or AVAILABLE == "none" else [])])
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
"""
IN_CHECKOUT = """
cp -r .claude deep/er/.CLAUDE; printf mine > .claude/settings.json; ln -s /etc .kiro; mkfifo .env.pipe
mkdir -p x/.git/.qwen y/.env; touch y/.env/python; echo .env.pipe > .gitignore; chmod 0 .codex
rm -r ~/.agent-runners
ln -s {elsewhere} ~/.agent-runners
"""
SEE_HOME = "ls -A ~ | grep -x -e .claude -e .claude.json -e tools > seen; ls ~/.config >> seen"
CONFIGURATION_AT_HOME = [".claude", ".claude.json", "opencode"]


def test_what_a_setup_command_leaves_configures_no_agent(engine: Engine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    setup = AT_HOME + IN_CHECKOUT.format(elsewhere=elsewhere)
    attempt = engine.run(f"{SEE_HOME}; test ! -e .kiro; {LOOK} > look", setup_command=setup)
    assert attempt.outcome.failure is None, attempt.outcome.failure
    for name in CONFIGURATION_AT_HOME:
        assert f"+{name}\n" not in engine.diff
    assert "+tools\n" in engine.diff and "+kept\n" in engine.diff
    at_home = [path for path in reported(attempt) if path.startswith("~")]
    assert at_home == ["~/.claude", "~/.claude.json", "~/.config/opencode"]
    assert list(elsewhere.iterdir()) == [], "nothing is written through a link"
    assert {"deep/er/.CLAUDE", ".kiro", ".env.pipe"} <= set(reported(attempt))
    assert "y/.env/python" in engine.diff, "a folder called .env is none of variables"
    assert engine.diff.count("diff --git") == 2, "those of what the agent saw"
    assert Path("/etc/passwd").exists()


def test_with_the_leave_of_the_site_what_setup_leaves_in_the_home_stays(engine: Engine) -> None:
    attempt = engine.run(SEE_HOME, setup_command=AT_HOME, allow_agent_configuration=True)
    assert attempt.outcome.failure is None and reported(attempt) == []
    for name in [*CONFIGURATION_AT_HOME, "tools", "kept"]:
        assert f"+{name}\n" in engine.diff


def test_a_link_in_place_of_the_folder_of_configuration_is_moved_and_not_followed(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (elsewhere / "opencode").mkdir(parents=True)
    home.mkdir()
    (home / ".config").symlink_to(elsewhere)
    assert withhold_from_home(home, tmp_path / "aside", []) == [".config"]
    assert (elsewhere / "opencode").is_dir() and not (home / ".config").is_symlink()
