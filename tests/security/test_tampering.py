"""An agent tampers with its checkout in every way that we can think of: nothing runs outside, nothing of the host gets
into the diff, and all that the agent did is in it.

What our git does to a checkout, in detail, is tested in `tests/workers/repository/test_git_safety.py`; here whole attempts run.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.workers.attempts import Attempt, Engine, engine_in
from tests.workers.engine import SANDBOXES, git, linux, needs_bubblewrap
from tests.workers.repositories import ENVIRONMENT, applied
from workers.events import Step
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import Change
from workers.publishing.publish import PublishJob, publish

pytestmark = linux
SECRET = "secret-of-the-host"
WORK = "echo two > file; mkdir -p made; echo new > made/new\n"


@dataclass
class Scene:
    """An engine, and outside of the checkout a folder with a secret and a place where a canary would appear."""

    engine: Engine
    outside: Path

    @property
    def canary(self) -> Path:
        return self.outside / "canary"

    def run(self, script: str, **more: object) -> Attempt:
        """`CANARY` in the script is a command that leaves a trace, `OUTSIDE` the folder with the secret."""
        words = {"CANARY": f"touch {self.canary}", "OUTSIDE": str(self.outside)}
        for word, meaning in words.items():
            script = script.replace(word, meaning)
        return self.engine.run(script + "\n" + WORK, **more)


# As root a sandbox has an overlay. Otherwise it has a checkout of its own, whose files are used again.
EVERY_WAY = [*SANDBOXES, pytest.param("bubblewrap, no overlay", marks=needs_bubblewrap)]


@pytest.fixture(params=SANDBOXES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("file", "inside", "config", "HEAD"):
        (outside / name).write_text(SECRET + "\n")
    files = (("file", "one\n"), ("README", "hello\n"), (".gitmodules", ""))
    sandbox, _, is_whole = request.param.partition(",")
    with engine_in(tmp_path, sandbox, files) as engine:
        engine.host = dataclasses.replace(engine.host, overlay=not is_whole)
        (engine.source / "folder").mkdir()
        (engine.source / "folder/inside").write_text("x\n")
        git(engine.source, "add", "--all")
        git(engine.source, "commit", "-qm", "more")
        yield Scene(engine, outside)


SCRIPTS = {
    "an include on a condition": """
        printf '[includeIf "gitdir:**"]\\n path = evil\\n[includeIf "onbranch:**"]\\n path = evil\\n' >> .git/config
        printf '[core]\\n fsmonitor = CANARY\\n hooksPath = .\\n' > .git/evil
    """,
    "settings of a work tree": """
        printf '[extensions]\\n worktreeConfig = true\\n[core]\\n repositoryFormatVersion = 1\\n' >> .git/config
        printf '[core]\\n worktree = OUTSIDE\\n fsmonitor = CANARY\\n' > .git/config.worktree
        mkdir -p .git/worktrees/x && echo OUTSIDE/.git > .git/worktrees/x/gitdir && echo ../.. > .git/worktrees/x/commondir
    """,
    "a directory in common with the host": "echo OUTSIDE > .git/commondir; echo OUTSIDE > .git/gitdir",
    "a pointer to the host": "rm -rf .git; echo 'gitdir: OUTSIDE' > .git",
    "a link to the host for a repository": "rm -rf .git; ln -s OUTSIDE .git",
    "no repository at all": "rm -rf .git",
    "objects from elsewhere": """
        mkdir -p .git/objects/info; printf 'OUTSIDE\\n../../../ours.git/objects\\n' > .git/objects/info/alternates
        echo http://127.0.0.1:9/ > .git/objects/info/http-alternates
    """,
    "replaced objects and grafts": """
        git replace -f HEAD:file $(echo false | git hash-object -w --stdin)
        git replace -f HEAD^{tree} $(git mktree < /dev/null)
        git rev-parse HEAD > .git/info/grafts; : > .git/shallow
    """,
    "an index that keeps silent": """
        git update-index --assume-unchanged file; git update-index --skip-worktree folder/inside
        echo changed > folder/inside; git config core.ignoreStat true; git config core.fileMode false
        git sparse-checkout set --no-cone /nothing
    """,
    "excluded by everything but a .gitignore": """
        echo '*' > .git/info/exclude; echo '*' > "$HOME/ignore"; git config core.excludesFile "$HOME/ignore"
        mkdir -p "$HOME/.config/git"; echo '*' > "$HOME/.config/git/ignore"
    """,
    "commits, branches and a stash of its own": """
        echo stashed > README; git stash -q; git checkout -q --orphan other; git rm -rqf --cached . ; git add .
        git commit -qm own; git branch -f main; git tag -f v1; git update-ref refs/replace/x HEAD
    """,
    "names that only some systems take for .git": """
        for name in .GIT .Git 'git~1' GIT~1 '.git ' .git. .git::\\$INDEX_ALLOCATION $(printf '.g\\342\\200\\214it'); do
            mkdir -p "$name/hooks"; printf '[core]\\n fsmonitor = CANARY\\n' > "$name/config"; echo x > "$name/HEAD"
            echo 'ref: refs/heads/main' > "$name/HEAD"; mkdir -p "$name/objects" "$name/refs"
        done
    """,
    "links with names of git": """
        rm .gitmodules; for name in .gitmodules .gitattributes .gitignore .mailmap; do ln -s OUTSIDE/file $name; done
    """,
    "pipes, sockets and devices where git would look": """
        rm .gitmodules; mkfifo .gitattributes .gitignore .gitmodules folder/.gitignore; mknod null c 1 3 || true
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
    """,
    "a submodule that is the host": """
        printf '[submodule "folder"]\\n path = folder\\n url = ext::CANARY\\n update = !CANARY\\n' > .gitmodules
        git config submodule.folder.url 'ext::CANARY'; git config submodule.folder.update '!CANARY'
        git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub; mkdir -p sub; ln -s OUTSIDE sub/.git
        mkdir -p .git/modules; ln -s OUTSIDE .git/modules/folder
    """,
    "filters by many names": """
        for name in lfs crypt canary; do
            git config filter.$name.clean 'CANARY'; git config filter.$name.process 'CANARY'
            git config filter.$name.required true; git config diff.$name.textconv 'CANARY'
            printf '*.x filter=%s diff=%s merge=%s\\n' $name $name $name >> .gitattributes
        done
        echo '* working-tree-encoding=UTF-16 eol=crlf ident' >> .gitattributes; echo x > a.x
    """,
    "a lock on everything": """
        for name in index HEAD config packed-refs shallow; do touch .git/$name.lock; done; chmod 0 .git folder
    """,
}


@pytest.mark.parametrize("scene", EVERY_WAY, indirect=True)
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_nothing_runs_and_nothing_of_the_host_is_taken(scene: Scene, script: str) -> None:
    attempt = scene.run(script)
    assert attempt.outcome.failure is None, attempt.text
    diff = scene.engine.sink.diffs["cumulative"]
    assert b"-one\n+two\n" in diff and b"+new\n" in diff, "the work is all there"
    assert SECRET.encode() not in diff and SECRET not in attempt.text
    assert not scene.canary.exists()
    # What is stored is a patch that plain git takes, and a later session builds on it.
    assert applied(scene.engine.source, str(attempt.outcome.base_sha), diff)
    later = scene.run("cat file > seen", base_sha=attempt.outcome.base_sha, start_diff=lambda: iter([diff]))
    assert later.outcome.failure is None, later.text
    assert "+two" in scene.engine.sink.diffs["result"].decode() and not scene.canary.exists()


DEEP = """
    git init -q nested; cd nested; echo x > x; git add x; git -c user.name=A -c user.email=a@b.c commit -qm x
    git config core.fsmonitor CANARY; git config filter.x.clean CANARY; echo '* filter=x' > .gitattributes; cd ..
    exec python3 - <<'END'
import os
length, top = 0, os.open(".", os.O_RDONLY)
while length < {length}:
    name = "x" * min(250, {length} - length)
    os.mkdir(name)
    os.chdir(name)
    length += len(name) + 1
    with open("level", "w") as file:
        file.write("level\\n")
{tampering}
END
"""
TOO_DEEP = {
    "a pipe": "os.mkfifo('.gitignore')",
    "a folder": "os.mkdir('.git')",
    "a pointer": "open('.git', 'w').write('gitdir: OUTSIDE')",
    "a repository": "os.rename('nested', 'nested', src_dir_fd=top)",
    "a repository itself": "os.rename('nested/.git', '.git', src_dir_fd=top)",
}


# The first length is one that git can name, from where it starts, and that no longer fits behind the path of a checkout.
@pytest.mark.parametrize("length", [4070, 4400])
@pytest.mark.parametrize("tampering", TOO_DEEP.values(), ids=TOO_DEEP.keys())
def test_what_lies_too_deep_for_git_is_left_out_and_the_rest_kept(scene: Scene, tampering: str, length: int) -> None:
    script = DEEP.format(length=length, tampering=tampering)
    attempt = scene.run(f"({script}\n)")
    assert attempt.outcome.failure is None, attempt.text
    assert "+two" in scene.engine.diff and 10 < scene.engine.diff.count("+level\n") < 16
    [left_out] = [step for step in attempt.events if isinstance(step, Step) and step.title == "Left out of the diff"]
    assert left_out.message.startswith("x" * 250 + "/") and len(left_out.message) < 3500
    assert not scene.canary.exists()


def test_the_tampering_is_real(scene: Scene, tmp_path: Path) -> None:
    """Git run where the agent worked falls for much of it."""
    fallen = set()
    for number, (name, script) in enumerate(SCRIPTS.items()):
        naive = tmp_path / f"naive-{number}"
        git(tmp_path, "clone", "-q", str(scene.engine.source), str(naive))
        words = script.replace("CANARY", f"touch {scene.canary}").replace("OUTSIDE", str(scene.outside))
        subprocess.run(["sh", "-c", words], cwd=naive, env={**ENVIRONMENT, "HOME": str(tmp_path)}, capture_output=True)
        (naive / "file").write_text("two\n")
        scene.canary.unlink(missing_ok=True)
        command = ["timeout", "2", "git", "add", "--all"]
        done = subprocess.run(command, cwd=naive, env=ENVIRONMENT, capture_output=True)
        staged = subprocess.run(["git", "diff", "--cached", "HEAD"], cwd=naive, env=ENVIRONMENT, capture_output=True)
        if scene.canary.exists() or done.returncode or b"+two" not in staged.stdout:
            fallen.add(name)
    assert len(fallen) >= 8, fallen


LINKS = {
    "a folder": "rm -r folder; ln -s OUTSIDE folder",
    "a folder by a way around": "rm -r folder; ln -s OUTSIDE away; ln -s away folder",
    "a folder of what is new": "ln -s OUTSIDE added; ln -s / root; ln -s OUTSIDE/file leak; ln -s /proc/self/environ me",
    "a folder that goes in circles": "rm -r folder; ln -s . folder; ln -s loop loop",
}


@pytest.mark.parametrize("script", LINKS.values(), ids=LINKS.keys())
def test_a_link_is_a_link_whatever_it_leads_to(scene: Scene, script: str) -> None:
    attempt = scene.run(script)
    assert attempt.outcome.failure is None, attempt.text
    assert SECRET not in scene.engine.diff + attempt.text
    assert "new file mode 120000" in scene.engine.diff
    later = scene.run("true", base_sha=attempt.outcome.base_sha, start_diff=lambda: iter([scene.engine.diff.encode()]))
    assert later.outcome.failure is None, later.text
    assert (scene.outside / "inside").read_text() == f"{SECRET}\n", "nothing is written through it either"


def test_a_folder_that_turns_into_a_link_and_back_all_the_while_is_still_when_it_is_read(scene: Scene) -> None:
    """The race that would matter is against our reading; whoever runs it is gone by then."""
    flip = "while :; do rm -rf folder; ln -s OUTSIDE folder; rm folder; mkdir folder; echo y > folder/inside; done"
    attempt = scene.run(f"trap '' TERM HUP; (setsid sh -c '{flip}' > /dev/null 2>&1 &); (setsid sh -c '{flip}' &) &")
    assert attempt.outcome.failure is None, attempt.text
    assert SECRET not in scene.engine.diff
    assert "+new" in scene.engine.diff


NAMES = """
    long=$(printf 'x%.0s' $(seq 255)); echo long > $long
    deep=$(printf 'deep/%.0s' $(seq 150)); mkdir -p $deep; echo deep > $deep/deep
    for name in '-rf' '--upload-pack=CANARY' ':(glob)**' ':/' '$(CANARY)' '`CANARY`' ' ' 'a"b' "a'b" 'a\\b' 'a -> b' '"' \\
        "$(printf 'new\\nline')" "$(printf 'tab\\t')" "$(printf 'esc\\033[31m')" "$(printf 'not-utf8\\377')" '*' '?' '~' '#x' '!x'
    do printf 'named\\n' > "./$(printf %s "$name" | tr / _)"; done
"""


def test_names_of_every_kind_come_through(scene: Scene) -> None:
    attempt = scene.run(NAMES)
    assert attempt.outcome.failure is None, attempt.text
    diff = scene.engine.sink.diffs["result"]
    assert diff.count(b"+named\n") == 21 and b"+long\n" in diff and b"+deep\n" in diff
    assert applied(scene.engine.source, str(attempt.outcome.base_sha), diff)
    assert not scene.canary.exists()


def test_a_gitignore_hides_new_files_only(scene: Scene) -> None:
    attempt = scene.run("printf '*\\n' > .gitignore; echo hidden > hidden; echo tracked >> README; rm folder/inside")
    assert attempt.outcome.failure is None
    assert (
        "+tracked" in scene.engine.diff and "-one\n+two" in scene.engine.diff and "folder/inside" in scene.engine.diff
    )
    assert "hidden" not in scene.engine.diff


REDIRECTING = """
    git config remote.origin.url OUTSIDE/evil; git config remote.origin.pushurl OUTSIDE/evil
    for where in --local --global; do
        git config $where url.OUTSIDE/evil.insteadOf SOURCE; git config $where url.OUTSIDE/evil.pushInsteadOf SOURCE
        git config $where core.sshCommand 'CANARY'; git config $where credential.helper '!CANARY'
        git config $where core.hooksPath "$PWD/hooks"; git config $where remote.origin.receivepack 'CANARY'
        git config $where commit.gpgSign true; git config $where gpg.program 'CANARY'
        git config $where http.proxy http://127.0.0.1:9; git config $where user.name Mallory
    done
    mkdir -p hooks; for hook in pre-push pre-commit commit-msg reference-transaction; do
        for folder in hooks .git/hooks; do printf '#!/bin/sh\\nCANARY\\n' > $folder/$hook; chmod +x $folder/$hook; done
    done
    git branch -f agent/work || true
"""


def test_a_push_goes_where_the_site_says_whatever_the_agent_configured(scene: Scene) -> None:
    source, evil = scene.engine.source, scene.outside / "evil"
    git(scene.outside, "init", "-q", "--bare", "evil")
    attempt = scene.run(REDIRECTING.replace("SOURCE", str(source)))
    assert attempt.outcome.failure is None, attempt.text
    scene.canary.unlink(missing_ok=True)  # Without a sandbox the agent's own git obeys it.
    change = Change("Ada", "ada@example.org", 0, "Work", lambda: iter([scene.engine.sink.diffs["cumulative"]]))
    job = PublishJob(
        site_id="site",
        repo_url=str(source),
        base_sha=attempt.outcome.base_sha,
        branch="agent/work",
        base_branch="main",
        changes=(change,),
        last=change,
        secrets=Secrets(),
        lifeline=Lifeline(600),
        on_push=lambda sha: None,
    )
    published = publish(job, scene.engine.host)
    assert git(source, "rev-parse", "refs/heads/agent/work") == published.sha
    assert git(source, "show", "-s", "--format=%an %ce %P", published.sha).startswith("Ada ")
    assert git(source, "show", f"{published.sha}:file") == "two"
    assert git(evil, "for-each-ref") == "" and not scene.canary.exists()
