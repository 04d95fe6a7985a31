"""A delivery of a forge is taken only with the signature of that kind of forge."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from app.models.states import Forge
from app.services.forge_webhooks.signatures import is_authentic
from app.services.hooks.authenticity import Request

# Tests have names, and so they are the same in each process.
SECRET, OTHER = (f"whsec_{base64.b64encode(byte * 32).decode()}" for byte in (b"a", b"b"))
BODY = b'{"a": 1}'


def hexadecimal(secret=SECRET, body=BODY):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard(secret=SECRET, body=BODY):
    moment = datetime.now(UTC)
    headers = {"webhook-id": "m1", "webhook-timestamp": str(int(moment.timestamp()))}
    return {**headers, "webhook-signature": Webhook(secret).sign("m1", moment, body.decode())}


def basic(secret, user="any"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}


def in_the_way_of_bitbucket(*given):
    return {"X-Hub-Signature": f"sha256={hexadecimal(*given)}"}


# These forges sign nothing, but send the secret.
SENT = ("X-Gitlab-Token", "Authorization")
SIGNED = {
    Forge.GITHUB: [lambda *given: {"X-Hub-Signature-256": f"sha256={hexadecimal(*given)}"}],
    Forge.GITEA: [
        lambda *given: {"X-Gitea-Signature": hexadecimal(*given)},
        lambda *given: {"X-Forgejo-Signature": hexadecimal(*given)},
    ],
    Forge.GITLAB: [standard, lambda secret=SECRET, *_: {"X-Gitlab-Token": secret}],
    Forge.AZURE_DEVOPS: [lambda secret=SECRET, *_: basic(secret)],
    Forge.NONE: [],
    Forge.BITBUCKET: [in_the_way_of_bitbucket],
    Forge.BITBUCKET_DATA_CENTER: [in_the_way_of_bitbucket],
}


@pytest.mark.parametrize("forge", Forge)
def test_each_forge_is_recognized_by_its_own_signature_alone(forge):
    for way in itertools.chain(*SIGNED.values()):
        assert is_authentic(forge, Request(way().get, BODY), SECRET) == (way in SIGNED[forge])


@pytest.mark.parametrize("forge", [forge for forge, ways in SIGNED.items() if ways])
def test_another_secret_or_body_is_refused(forge):
    for way in SIGNED[forge]:
        assert not is_authentic(forge, Request(way(OTHER).get, BODY), SECRET)
        if not way().keys() & set(SENT):
            assert not is_authentic(forge, Request(way().get, BODY + b" "), SECRET)
            assert not is_authentic(forge, Request(way(SECRET, b"").get, BODY), SECRET)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": hexadecimal()},
        {"X-Hub-Signature": "sha1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()},
        {"X-Hub-Signature-256": "sha256=é"},
        {"X-Hub-Signature": ""},
        {"X-Hub-Signature": hexadecimal()},
        {"X-Hub-Signature": "sha256="},
        {"X-Gitea-Signature": ""},
        {"X-Gitea-Signature": f"sha256={hexadecimal()}"},
        {"X-Gitlab-Token": ""},
        {"X-Gitlab-Token": SECRET[:-1]},
        {"webhook-signature": "v1,", "X-Gitlab-Token": SECRET},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": "Basic é"},
        {"Authorization": basic(SECRET)["Authorization"].replace("Basic", "Bearer")},
        basic("", SECRET),
        basic(SECRET[:-1]),
    ],
    ids=str,
)
def test_what_only_looks_like_a_signature_is_refused(headers):
    assert not any(is_authentic(forge, Request({**headers}.get, BODY, SECRET), SECRET) for forge in Forge)
