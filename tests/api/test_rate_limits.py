"""What is limited per minute, and the ceilings of limits that callers set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from app import rate_limits
from app.errors import TooMany
from app.models.states import Scope
from app.serving.shares import MustWait, Share, Shares
from tests.api.calling import created, ok, refused
from tests.deployment import Deployment, wait_for
from tests.ports import free_port

pytestmark = pytest.mark.same_on_both_databases

UPLOAD = {"filename": "a.txt", "content_type": "text/plain"}
TOKEN = {"name": "a", "scope": "read"}
WORDS = "Too fast."


def refusal(call):
    """The refusal of one of seven calls. A new minute may let some more pass, the last ones too, but never all."""
    answers = [call() for _ in range(7)]
    return next(answer for answer in answers if answer.status_code == 429)


@pytest.mark.parametrize(
    ("setting", "path", "body"), [("UPLOADS", "/agent_runners/upload_url", UPLOAD), ("TOKENS", "/tokens", TOKEN)]
)
def test_an_account_may_do_some_things_only_so_often(api, join, configure, setting, path, body):
    configure(**{f"MAX_{setting}_PER_MINUTE": "2"})
    answer = refusal(lambda: api.post(path, body))
    refused(answer, 429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert join("Other").admin.post(path, body).status_code in (200, 201)
    ok(api.get("/sites"))


def test_failed_authentications_are_limited_by_address_and_good_tokens_are_not(api, configure):
    configure(MAX_FAILED_AUTHENTICATIONS_PER_MINUTE="2")
    stranger = api.with_token("ar_wrong")
    attacker, other = ({"REMOTE_ADDR": address} for address in ("192.0.2.1", "192.0.2.2"))
    answer = refusal(lambda: stranger.get("/sites", environ_base=attacker))
    refused(answer, 429, "rate_limited")
    assert answer.headers["Retry-After"]
    ok(api.get("/sites", environ_base=attacker))
    refused(stranger.get("/sites", environ_base=other), 401, "bad_token")


def test_failed_authentications_of_an_address_share_threads_and_good_tokens_have_their_own(api):
    shares = Shares(1)

    def at(address):
        """A request in progress, as the server passes it on."""
        return {"REMOTE_ADDR": address, "gunicorn.socket": SimpleNamespace(share=Share(shares))}

    stranger = api.with_token("ar_wrong")
    refused(stranger.get("/sites", environ_base=at("192.0.2.1")), 401, "bad_token")
    with pytest.raises(MustWait):
        stranger.get("/sites", environ_base=at("192.0.2.1"))
    ok(api.get("/sites", environ_base=at("192.0.2.1")))
    refused(stranger.get("/sites", environ_base=at("192.0.2.2")), 401, "bad_token")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """The URL of a broker of its own."""
    deployment = Deployment(tmp_path / "broker", "", free_port(), forked=True)
    (tmp_path / "broker").mkdir()
    try:
        deployment.start("broker", "broker")
        path = wait_for("the broker", lambda: next(iter(_sockets(deployment)), None))
        yield f"redis+socket://{path}?virtual_host="
    finally:
        deployment.stop_all()


def _sockets(deployment: Deployment) -> list[Path]:
    try:
        return [deployment.broker_socket]
    except StopIteration:
        return []


def test_all_processes_count_together(configure, broker, monkeypatch):
    monkeypatch.setattr(rate_limits, "PATIENCE_SECONDS", 300.0)

    def is_fourth_refused(who):
        # Each URL has counters of its own in a process, as each process has.
        for number in range(4):
            configure(BROKER_URL=f"{broker}{number % 2}")
            try:
                rate_limits.count("uploads", who, 3, WORDS)
            except TooMany:
                return number == 3
        return False

    # Where a new minute begins between them, all four may pass.
    assert any(is_fourth_refused(who) for who in ("ada", "grace", "linus"))


def test_without_a_broker_each_process_counts_alone(configured):
    with pytest.raises(TooMany):
        for _ in range(7):
            rate_limits.count("uploads", "ada", 3, WORDS)


def test_a_limit_above_the_operator_s_is_refused_with_the_most_there_may_be(api, ada, make_site, configure):
    configure(CEILING_DURATION_SECONDS="7200", CEILING_TOKENS="1000")
    site = make_site()
    for fields in ({"max_duration_seconds": 7201}, {"max_tokens": 1001}):
        body = {"site_id": site["id"], "prompt": "x", "limits": fields}
        error = refused(api.post("/agent_runners", body), 422, "limit_too_high")
        assert error["errors"].keys() == {f"limits.{name}" for name in fields} and "at most" in error["message"]
    refused(api.patch(f"/sites/{site['id']}", {"max_duration_seconds": 2**31 - 1}), 422, "limit_too_high")
    ok(ada.holding(Scope.WRITE).patch(f"/sites/{site['id']}", {"max_duration_seconds": 7200}))
    runner = created(api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"}))
    session = ok(api.get(f"/agent_runners/{runner['id']}/sessions"))[0]
    assert session["limits"] == {"max_duration_seconds": 7200, "max_cost_usd": None, "max_tokens": 1000}


def test_a_site_from_before_its_ceiling_is_held_to_it(api, make_site, make_runner, configure):
    site = make_site(max_duration_seconds=80_000)
    configure(CEILING_DURATION_SECONDS="7200")
    runner = make_runner(site=site)
    assert ok(api.get(f"/agent_runners/{runner['id']}/sessions"))[0]["limits"]["max_duration_seconds"] == 7200
