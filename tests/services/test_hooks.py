"""Who has the secret of a hook, and how its templates are filled."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from app.services.hooks import templates
from app.services.hooks.authenticity import Request, is_authentic

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
BODY = b'{"a": 1}'
MOST = 1_000_000


def request(headers=None, body=BODY, query=None):
    return Request({**(headers or {})}.get, body, query)


def standard(secret=SECRET, body=BODY, age=timedelta()):
    moment = datetime.now(UTC) - age
    headers = {"webhook-id": "m1", "webhook-timestamp": str(int(moment.timestamp()))}
    return {**headers, "webhook-signature": Webhook(secret).sign("m1", moment, body.decode())}


def github(secret=SECRET, body=BODY):
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize(
    "headers",
    [github(), {"X-Gitlab-Token": SECRET}, {"Authorization": f"bearer {SECRET}"}],
    ids=["github", "gitlab", "bearer"],
)
def test_who_has_the_secret_may_deliver(headers):
    assert is_authentic(request(headers), SECRET)


def test_who_signs_as_standard_webhooks_may_deliver():
    headers = standard()
    assert is_authentic(request(headers), SECRET)
    several = {**headers, "webhook-signature": f"v1,other v2,x {headers['webhook-signature']}"}
    assert is_authentic(request(several), SECRET)


def test_another_secret_text_id_or_time_is_not_what_was_signed():
    headers = standard()
    forged = [
        standard(OTHER),
        standard(body=b'{"a": 2}'),
        standard(age=timedelta(minutes=60)),
        standard(age=timedelta(minutes=-60)),
        {**headers, "webhook-id": "m2"},
        {**headers, "webhook-timestamp": "9" * 5000},
        {**headers, "webhook-timestamp": "١٢٣"},
        {**headers, "webhook-signature": "v1,\udcff"},
    ]
    assert [each for each in forged if is_authentic(request(each), SECRET)] == []


def test_the_secret_may_be_in_the_query():
    assert is_authentic(request(query=SECRET), SECRET) and not is_authentic(request(query=OTHER), SECRET)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        github(OTHER),
        github(body=b""),
        {"X-Hub-Signature-256": "sha256=" + "é" * 64},
        {"X-Gitlab-Token": OTHER},
        {"X-Gitlab-Token": ""},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": "Bearer "},
        # A bad signature is not made good by anything else.
        {**github(OTHER), "X-Gitlab-Token": SECRET},
    ],
)
def test_who_has_not_may_not(headers):
    assert not is_authentic(request(headers), SECRET)


def test_places_are_filled_with_values_of_the_json():
    data = {"issue": {"title": "It {{ fails }}", "labels": [{"name": "bug"}], "n": 17, "open": True, "none": None}}
    assert (
        templates.fill("{{issue.title}}: {{ issue.labels.0.name }} {{ issue.n }}", data, MOST)
        == "It {{ fails }}: bug 17"
    )
    assert templates.fill("{{ issue.open }} {{ issue.labels }}", data, MOST) == 'true [{"name": "bug"}]'
    assert (
        templates.fill("[{{ issue.none }}{{ issue.labels.9 }}{{ issue.title.x }}{{ nothing.at.all }}]", data, MOST)
        == "[]"
    )
    assert templates.fill("{{ }} {{ a b }} { { issue } }", data, MOST) == "{{ }} {{ a b }} { { issue } }"


@pytest.mark.parametrize("value", ["\0", "\ud800", "x" * 100_000, {"a": ["\udfff" * 50_000]}])
def test_any_value_can_be_stored(value):
    filled = templates.fill("{{ a }}", json.loads(json.dumps({"a": value})), MOST)
    assert "\0" not in filled and len(filled.encode()) <= 3 * templates.MOST_CHARACTERS
    assert len(str(value)) < 1000 or filled.endswith("[shortened]")


def test_a_value_that_is_named_again_and_again_costs_once_and_ends_with_the_limit() -> None:
    encoded = []

    class Values(list):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            encoded.append(1)
            return super().__iter__()

    data = {"a": Values(["x" * 1000])}
    assert len(templates.fill("{{ a }}" * 10_000, data, 50_000)) < 60_000
    assert len(encoded) <= 2


def test_what_is_too_deep_to_be_written_is_empty() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert templates.fill("[{{ a }}]", {"a": deep}, MOST) == "[]"
