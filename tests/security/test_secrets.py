"""An agent tells all the secrets it can get hold of wherever it can: none is stored, logged or published."""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.demo.forge import DemoForge, Repository, demo_forge, git
from tests.deployment import Deployment, deployed
from tests.matrix import usual
from tests.ports import free_port
from tests.postgres import postgres_database

# The tests tell one story on one deployment, the last of them about what those before it stored.
pytestmark = pytest.mark.xdist_group("secrets")
LEAK = Path(__file__).with_name("leak.py").read_text()
MODEL_KEY = "the key of the model, 17"
SHAPES = [
    "ghp" + "_" + "a1B2" * 9,
    "sk-" + "ant-api03-" + "a1B2" * 20,
    "AKIA" + "QWERTYUIOPASDF42",
    "-----BEGIN PRIVATE KEY-----\n" + ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 2 + "\n") * 4 + "-----END PRIVATE KEY-----",
]


@dataclass
class Leaky:
    """A deployment, a forge, and a site on it whose repository holds what the agent shall tell, turned by 13 letters."""

    deployment: Deployment
    forge: DemoForge
    repository: Repository
    site: dict[str, Any]

    @property
    def secrets(self) -> list[str]:
        """Parts of every secret that say too much."""
        lines = [line for shape in SHAPES for line in shape.splitlines() if not line.startswith("-----")]
        known = [self.forge.token, MODEL_KEY]
        pairs = [base64.b64encode(f"x-access-token:{secret}".encode()).decode()[20:-4] for secret in known]
        return [*(secret[-14:] for secret in [*lines, *known]), *(secret[:14] for secret in [*lines, *known]), *pairs]

    def assert_not_in(self, text: str, where: str) -> None:
        assert text
        assert not [secret for secret in self.secrets if secret in text], where


@contextmanager
def _database(kind: str) -> Iterator[str]:
    if kind == "sqlite":
        yield ""
    else:
        with postgres_database() as url:
            yield url


@pytest.fixture(scope="module", params=usual(["postgres", "sqlite"]))
def leaky(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaky]:
    folder = tmp_path_factory.mktemp("leaky")
    variables = {"MODEL_KEY": MODEL_KEY}
    settings = {"AGENT_ENVIRONMENT": "MODEL_KEY", "LOG_LEVEL": "DEBUG"}
    with demo_forge(folder / "forge") as forge:
        held = codecs.encode("\0".join([forge.token, *SHAPES]), "rot13")
        repository = forge.make_repository("ada", "leaky", {"leak.py": LEAK, "held": held, "clean.txt": "clean\n"})
        fields = {"forge": "github", "forge_api_url": forge.api_url, "access_token": forge.token}
        with (
            _database(request.param) as url,
            deployed(folder / "here", url, free_port(), variables, forked=True, **settings) as made,
        ):
            site = made.make_site(Path(), **{**fields, "repo_url": forge.clone_url(repository.full_name)})
            yield Leaky(made, forge, repository, site)


@pytest.fixture(scope="module")
def flagged(leaky: Leaky) -> dict[str, Any]:
    """A runner whose session printed every secret and was done."""
    runner = leaky.deployment.run(leaky.site, "python3 leak.py held; echo more > more.txt", agent="scripted")
    session = leaky.deployment.ended(runner)
    assert session["state"] == "DONE", session["failure"]
    assert session["result"].count("[redacted]") > 10 and session["steps_count"] > 20
    return runner


def test_the_session_says_that_its_diff_contains_one(leaky: Leaky, flagged: dict[str, Any]) -> None:
    session = leaky.deployment.session(flagged)
    assert session["contains_secret"] and any("contains a secret" in step["title"] for step in session["steps"])
    assert leaky.deployment.call("GET", f"/agent_runners/{flagged['id']}")["contains_secret"]


def test_the_diff_is_stored_exactly(leaky: Leaky, flagged: dict[str, Any], tmp_path: Path) -> None:
    path = f"/agent_runners/{flagged['id']}/diff"
    diff = leaky.deployment.api.get(path).content
    clone = tmp_path / "clone"
    git("clone", "--quiet", leaky.forge.clone_url(leaky.repository.full_name, leaky.forge.token), clone)
    (tmp_path / "diff").write_bytes(diff)
    git("apply", "--binary", tmp_path / "diff", at=clone)
    for name in ("found.txt", "found.bin"):
        content = (clone / name).read_bytes().decode()
        assert all(secret in content for secret in [leaky.forge.token, MODEL_KEY, *SHAPES]), name
    assert leaky.forge.token in (clone / "found.wide").read_text(encoding="utf-16")


def test_the_diff_is_not_published(leaky: Leaky, flagged: dict[str, Any]) -> None:
    for verb, body in (("pull_request", {}), ("commit", {"target_branch": "x"})):
        answer = leaky.deployment.api.post(f"/agent_runners/{flagged['id']}/{verb}", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (422, "contains_secret")
    assert list(leaky.repository.branches()) == ["main"]


def test_sessions_that_fail_tell_none_either(leaky: Leaky) -> None:
    failed = leaky.deployment.run(leaky.site, "python3 leak.py held fail", agent="scripted")
    session = leaky.deployment.ended(failed)
    assert session["failure"]["code"] == "agent_failed" and "[redacted]" in session["failure"]["message"]
    assert session["contains_secret"]
    leaky.assert_not_in(json.dumps(session), "a failure")


def test_without_the_secret_all_of_it_is_published_and_nothing_is_flagged(
    leaky: Leaky, flagged: dict[str, Any]
) -> None:
    deployment, path = leaky.deployment, f"/agent_runners/{flagged['id']}"
    deployment.follow_up(flagged, "rm found.*; echo mended > clean.txt; tr a-zA-Z n-za-mN-ZA-M < held", agent="shell")
    assert deployment.ended(flagged)["contains_secret"] is False
    deployment.call("POST", f"{path}/pull_request")
    opened = deployment.published(flagged)
    assert opened["pr_error"] is None and opened["contains_secret"] is False
    [pull] = leaky.forge.pulls(leaky.repository.full_name)
    assert "[redacted]" in pull["body"]
    deployment.call("POST", f"{path}/commit", json={"target_branch": "landed"})
    assert deployment.published(flagged)["merge_commit_error"] is None
    history = git("log", "--all", "--patch", "--text", "--format=fuller", at=_folder_of(leaky)).stdout
    assert "+mended" in history and "+more" in history
    leaky.assert_not_in(history, "the history on the forge")
    leaky.assert_not_in(json.dumps(pull), "the pull request")
    leaky.assert_not_in(leaky.forge.http.get(f"{leaky.forge.url}/{leaky.repository.full_name}/pull/1").text, "its page")


def test_none_is_in_the_database_or_in_a_log(leaky: Leaky, flagged: dict[str, Any]) -> None:
    engine = sa.create_engine(leaky.deployment.database_url.replace("postgresql://", "postgresql+psycopg://"))
    found = sa.MetaData()
    found.reflect(engine)
    with engine.connect() as connection:
        rows = {name: connection.execute(sa.select(table)).all() for name, table in found.tables.items()}
    engine.dispose()
    assert {"events", "agent_runner_sessions", "publications", "sites"} <= {name for name in rows if rows[name]}
    # As values, not as Python writes them: a backslash would hide what follows it.
    leaky.assert_not_in(
        "\n".join(str(value) for table in rows.values() for row in table for value in row), "the database"
    )
    logs = list(leaky.deployment.folder.glob("*.log"))
    assert len(logs) >= 5
    leaky.assert_not_in("\n".join(log.read_text(errors="replace") for log in logs), "the logs")


def _folder_of(leaky: Leaky) -> Path:
    """The repository of the site on the forge's disk."""
    return leaky.forge.root / f"{leaky.repository.full_name}.git"
