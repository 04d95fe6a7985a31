"""That all processes of a deployment have one secret key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app import db
from app.services import secret_key

pytestmark = pytest.mark.same_on_both_databases

OTHER = "another key for tests, which is long enough"


def test_the_first_process_sets_the_key_and_one_with_another_is_refused(
    record: sa.Engine, configure: Callable[..., None]
) -> None:
    with db.transaction():
        assert secret_key.is_same() is None
        secret_key.require_same()
        secret_key.require_same()
    configure(SECRET_KEY=OTHER)
    with pytest.raises(secret_key.OtherSecretKey, match="AGENT_RUNNERS_SECRET_KEY"), db.transaction():
        secret_key.require_same()
    with db.transaction(read_only=True):
        assert secret_key.is_same() is False


def test_another_key_is_accepted_where_the_old_one_is_lost(record: sa.Engine, configure: Callable[..., None]) -> None:
    with db.transaction():
        secret_key.require_same()
    configure(SECRET_KEY=OTHER)
    with db.transaction():
        secret_key.accept()
        secret_key.require_same()
