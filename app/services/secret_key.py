"""Checks that all processes of a deployment have the same secret key. The database stores its fingerprint."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app import db, keys
from app.errors import Conflict
from app.models import Fingerprint

NAME = "secret_key"
REMEDY = (
    "Give every process the same AGENT_RUNNERS_SECRET_KEY, or the same secret.key in its data folder. If the old key is "
    "lost, run agent-runners key accept with the new one, and set the credentials of each site again"
)


class OtherSecretKey(Conflict):
    """This process has another key than the others: it cannot decrypt their data, nor they verify its signatures."""

    error_code = "other_secret_key"


def require_same() -> None:
    """Raise `OtherSecretKey` unless this process has the deployment's key. The first process to call this sets it."""
    db.session.execute(_insert().on_conflict_do_nothing(index_elements=[Fingerprint.name]))
    if not is_same():
        raise OtherSecretKey(f"The other processes of this deployment have another secret key. {REMEDY}.")


def is_same() -> bool | None:
    """Whether this process has the deployment's key; None if the deployment has no key yet."""
    recorded = db.session.scalar(sa.select(Fingerprint.value).where(Fingerprint.name == NAME))
    return None if recorded is None else recorded == keys.fingerprint()


def accept() -> None:
    """Make this process's key the deployment's. Data encrypted with another key stays unreadable."""
    change = {"value": keys.fingerprint()}
    db.session.execute(_insert().on_conflict_do_update(index_elements=[Fingerprint.name], set_=change))


def _insert() -> Any:
    return db.insert(Fingerprint).values(name=NAME, value=keys.fingerprint())
