"""A deployment with something of everything in it, and its description as the fuzzer reads it."""

from __future__ import annotations

import itertools
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema

from app.api import examples
from app.models.states import Scope, SessionState
from tests.api.calling import NOBODY, Api, Person, created, ok, session_path

# The same callers and the same worker as in the API's own tests.
from tests.api.conftest import ada, api, app, follow_up, join, make_done_runner, make_runner, make_site, worker
from tests.matrix import FULL

__all__ = ["ada", "api", "app", "follow_up", "join", "make_done_runner", "make_runner", "make_site", "worker"]

# `FUZZ_EXAMPLES=500 FUZZ_SEED=7 pytest tests/fuzz` looks longer and elsewhere.
EXAMPLES, SEED = int(os.environ.get("FUZZ_EXAMPLES", "4")), int(os.environ.get("FUZZ_SEED", "1"))

LONGEST = 500
"""Characters. Without `--full` the fuzzer is not told how long a text with a pattern may be, if that is more than this."""


@dataclass
class World:
    """What there is to be found."""

    sites: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    webhooks: list[str] = field(default_factory=list)
    hooks: list[tuple[str, str]] = field(default_factory=list)
    """Site and hook."""
    schedules: list[tuple[str, str]] = field(default_factory=list)
    """Site and schedule."""
    variables: list[tuple[str, str]] = field(default_factory=list)
    """Site and variable."""
    account_variables: list[str] = field(default_factory=list)
    budgets: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    forge_accounts: list[str] = field(default_factory=list)
    preflights: list[tuple[str, str]] = field(default_factory=list)
    """Site and preflight."""
    comparisons: list[tuple[str, str]] = field(default_factory=list)
    """Comparison and runner."""
    sessions: list[tuple[str, str]] = field(default_factory=list)
    """Runner and session."""
    names: Iterator[int] = field(default_factory=itertools.count)

    def renew(self, admin: Api) -> None:
        """Make what can be deleted, in the place of what may have been deleted since."""
        site, numbers = self.sites[0], [next(self.names) for _ in range(3)]
        variables = [{"name": f"TOKEN_{number}", "value": "a value of the test"} for number in numbers]
        people = [{"email": f"person{number}@example.org", "full_name": "Bob"} for number in numbers]
        times = {"cron": "0 9 * * *", "prompt": "x", "agent": "claude"}
        template = {"prompt": "{{ x }}", "agent": "claude"}
        budget = {"period": "day", "max_tokens": 10**9}

        def make(path: str, *bodies: dict[str, Any]) -> list[str]:
            return [created(admin.post(path, body))["id"] for body in bodies]

        def make_in_site(name: str, *bodies: dict[str, Any]) -> list[tuple[str, str]]:
            return [(site, id) for id in make(f"/sites/{site}/{name}", *bodies)]

        self.tokens = make("/tokens", *3 * [{"name": "spare", "scope": "read"}])
        # An account may have few.
        known = [each["id"] for each in ok(admin.get("/webhooks"))]
        self.webhooks = known or make("/webhooks", *3 * [{"url": "https://hooks.example.org/"}])
        self.schedules = make_in_site("schedules", *3 * [times])
        self.variables = make_in_site("variables", *variables)
        self.account_variables = make("/account/variables", *variables)
        self.hooks = make_in_site("agent_runner_hooks", *3 * [template])
        # There is one for each period.
        self.budgets = [each["id"] for each in ok(admin.get("/budgets"))] or make("/budgets", budget)
        self.members = make("/account/members", *people)
        # Few may be waiting for a worker.
        own = {"forge": "github", "token": "a token of the test"}
        known = [each["id"] for each in ok(admin.get("/account/forge_accounts"))]
        self.forge_accounts = known or make("/account/forge_accounts", own)

    def add(self, runner: dict[str, Any], session_id: str | None = None) -> None:
        self.sessions.append((runner["id"], session_id or runner["latest_session_id"]))

    def place(self, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        """Have ids in a path name what there is, three times of four. What is no id stays as it is."""
        for names, things in (
            (("agent_runner_id", "session_id"), self.sessions),
            (("comparison_id", "agent_runner_id"), self.comparisons),
            (("site_id",), [(site,) for site in self.sites]),
            (("site_id", "schedule_id"), self.schedules),
            (("variable_id",), [(variable,) for variable in self.account_variables]),
            (("site_id", "variable_id"), self.variables),
            (("site_id", "hook_id"), self.hooks),
            (("site_id", "preflight_id"), self.preflights),
            (("budget_id",), [(budget,) for budget in self.budgets]),
            (("member_id",), [(member,) for member in self.members]),
            (("forge_account_id",), [(each,) for each in self.forge_accounts]),
            (("token_id",), [(token,) for token in self.tokens]),
            (("webhook_id",), [(webhook,) for webhook in self.webhooks]),
        ):
            number = _number((parameters or {}).get(names[0]))
            if parameters and number is not None and number % 4:
                known = zip(names, things[number // 4 % len(things)], strict=True)
                parameters.update({name: id for name, id in known if _number(parameters.get(name)) is not None})
        return parameters


def _number(value: Any) -> int | None:
    try:
        return uuid.UUID(value).int
    except (ValueError, AttributeError, TypeError):
        return None


@pytest.fixture
def world(
    ada: Person,
    make_site: Callable[..., Any],
    make_runner: Callable[..., Any],
    make_done_runner: Callable[..., Any],
    follow_up: Callable[..., Any],
    worker: Any,
) -> World:
    """Runners in every state, with and without a diff, on sites of both kinds."""
    done, archived = make_done_runner(), make_done_runner()
    site = {"id": done["site_id"]}
    outside = make_site(execution="external")
    world = World([site["id"], outside["id"], make_site()["id"], make_site()["id"]])
    waiting, failed, claimed = make_runner(site=site), make_runner(site=site), make_runner(site=outside)
    worker.run(failed["latest_session_id"], state=SessionState.ERROR)
    ok(ada.holding(Scope.WORKER).patch(session_path(claimed), {"state": "RUNNING"}))
    assert ada.admin.post(f"/agent_runners/{archived['id']}/archive").status_code == 202
    for runner in (done, waiting, failed, claimed, archived):
        world.add(runner)
    world.add(done, follow_up(done)["id"])
    work = {"to_session_id": done["latest_session_id"]}
    compared = ok(ada.admin.post(f"/agent_runners/{done['id']}/comparisons", work))
    world.comparisons.append((compared["id"], done["id"]))
    world.renew(ada.admin)
    for each in world.sites[:2]:
        ok(ada.admin.patch(f"/sites/{each}", {"forge": "github"}))
    created(ada.admin.post(f"/sites/{site['id']}/forge_webhook"))
    world.preflights.append((site["id"], ada.admin.post(f"/sites/{site['id']}/preflight").json["id"]))
    return world


class Deployment:
    """The application, kept from what would end the fuzzing: see `__call__`."""

    def __init__(self, app: Flask, api: Api, world: World) -> None:
        self.app, self.api = app, api
        self.kept_sites, self.example = world.sites[:2], world.sessions[0]
        (self.own_token,) = [token["id"] for token in ok(api.get("/tokens")) if token["name"] == "first token"]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = self._exemplified(environ["PATH_INFO"])
        environ = {**environ, "PATH_INFO": path}
        if path.endswith(self.own_token):
            # Behind its own token's revocation the fuzzer would see nothing but 401.
            environ = {**environ, "PATH_INFO": path.replace(self.own_token, NOBODY)}
        if environ["REQUEST_METHOD"] == "DELETE" and path.endswith(tuple(self.kept_sites)):
            # With its site a runner would be out of sight, and with these two all of them.
            environ = {**environ, "PATH_INFO": path[: -len(NOBODY)] + NOBODY}
        answer = self.app(environ, start_response)
        return _beginning(answer) if path.endswith("/events") else answer

    def _exemplified(self, path: str) -> str:
        """The path with a runner and a session that there are in the place of the example's."""
        runner, session = self.example
        if examples.RUNNER_ID not in path:
            return path
        path = path.replace(examples.RUNNER_ID, runner)
        return re.sub(r"(?<=/sessions/)[0-9a-f-]{36}", session, path)


def _beginning(answer: Any) -> list[bytes]:
    """The first part of an event stream, which may never end."""
    try:
        return [next(iter(answer), b"")]
    finally:
        answer.close()


@pytest.fixture
def description(app: Flask, api: Api, world: World, database_url: str, configure: Callable[..., None]) -> OpenApiSchema:
    """The API's own description, and how the fuzzer reads it."""
    # A stream that is resumed at its end has nothing else to send.
    configure(STREAM_HEARTBEAT_SECONDS="0.1")
    # Nearly all of the phase `coverage` is refused before a database is asked. Postgres refuses more than SQLite of what
    # comes through. So one database is enough for each phase, and with `--full` both are asked what is asked one of them.
    on_sqlite = database_url.startswith("sqlite")
    config = {
        "seed": SEED,
        "headers": {"Authorization": f"Bearer {api.token}"},
        "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
        "phases": {
            "coverage": {"enabled": on_sqlite},
            "fuzzing": {"enabled": FULL or not on_sqlite},
            "stateful": {"enabled": not on_sqlite, "generation": {"max-examples": EXAMPLES * 5}},
        },
        "cache": {"enabled": False},
        "analysis": {"constants": {"enabled": False}},
        "checks": {
            # `test_openapi.takes_what_it_describes` replaces it.
            "positive_data_acceptance": {"enabled": False},
            # It cannot repeat a request inside the process; `test_every_operation_wants_a_token` replaces it.
            "ignored_auth": {"enabled": False},
        },
        "operations": [
            {
                # DELETE on a runner or a session stops it and leaves it readable. Sites and tokens stay checked.
                "include-path-regex": "^/api/v1/agent_runners",
                "checks": {"use_after_free": {"enabled": False}},
            },
            {
                # Anybody may add headers. The check for it takes an integer in a known header for text, hence broken.
                "include-path-regex": "/events$",
                "generation": {"allow-extra-parameters": False},
                "checks": {"use_after_free": {"enabled": False}},
            },
        ],
        "dictionaries": {
            "sites": {"values": world.sites},
            "runners": {"values": [runner for runner, _ in world.sessions]},
            "sessions": {"values": [session for _, session in world.sessions]},
        },
        "parameters": {
            "body.site_id": {"dictionary": "sites", "probability": 0.75},
            "body.session_id": {"dictionary": "sessions", "probability": 0.75},
            "body.from_session_id": {"dictionary": "sessions", "probability": 0.5},
            "body.to_session_id": {"dictionary": "sessions", "probability": 0.75},
            "body.parent_agent_runner_id": {"dictionary": "runners", "probability": 0.25},
        },
    }
    read = SchemathesisConfig.from_dict(config)
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", Deployment(app, api, world), config=read)
    if not FULL:
        _forget_great_lengths(schema.raw_schema)
    schema.hooks.register_hook_with_name(
        lambda context, path_parameters: world.place(path_parameters), "map_path_parameters"
    )
    return schema


def _forget_great_lengths(described: Any) -> None:
    """Leave out how long the longest texts with a pattern may be.

    The fuzzer makes one regular expression of both, and some of these take a second and a hundred megabytes each time.
    """
    if isinstance(described, dict):
        if "pattern" in described and described.get("maxLength", 0) > LONGEST:
            del described["maxLength"]
        described = list(described.values())
    if isinstance(described, list):
        for each in described:
            _forget_great_lengths(each)
