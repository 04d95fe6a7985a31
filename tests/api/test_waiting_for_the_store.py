"""Nobody holds a connection to the database while the artifact store is asked: it may take long to answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from app import db
from app.artifacts import Stored
from tests.api.calling import created, empty, ok, patch_of, path_of, session_path
from tests.stores import BusyStore

pytestmark = pytest.mark.same_on_both_databases

FILE = {"filename": "sketch.png", "content_type": "image/png", "size": 5}


class WatchfulStore(BusyStore):
    """It knows how many connections were in use each time that it was asked for something."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def _look(self) -> None:
        self.seen.append(db.session.get_bind().pool.checkedout())

    def stat(self, key: str) -> Stored | None:
        self._look()
        return super().stat(key)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self._look()
        return super().read(key, start, end)

    def put(self, key: str, chunks: Iterable[bytes], *, limit: int | None = None) -> int:
        self._look()
        return super().put(key, chunks, limit=limit)


@pytest.fixture
def uploaded(api):
    upload = ok(api.post("/agent_runners/upload_url", FILE))
    empty(api.with_token(None)("PUT", upload["upload_url"], data=b"12345", headers=upload["headers"]), 200)
    return upload["file_key"]


@pytest.fixture
def watchful(monkeypatch, uploaded, make_done_runner):
    """The deployment's store from here on, and a runner with a diff in it; what the store saw is checked at the end."""
    runner, store = make_done_runner(), WatchfulStore()
    store.use(monkeypatch)
    yield runner
    assert store.seen and not any(store.seen)


def test_a_diff_is_read(api, watchful):
    assert api.get(path_of(watchful, "/diff")).text.startswith("diff --git ")
    assert api.get(path_of(watchful, "/diff?page=1&strip_binary=true")).text.startswith("diff --git ")
    for kind in ("result", "cumulative"):
        assert api.get(session_path(watchful, rest=f"/diff/{kind}")).text.startswith("diff --git ")


def test_a_diff_is_replaced(api, watchful):
    ok(api.patch(path_of(watchful), {"result_diff": patch_of("two")}))


def test_a_runner_is_created_with_files(api, watchful, uploaded):
    fields = {"site_id": watchful["site_id"], "prompt": "Look at it.", "file_keys": [uploaded]}
    runner = created(api.post("/agent_runners", fields))
    assert ok(api.get(session_path(runner)))["attached_file_keys"] == [uploaded]


def test_a_session_is_created_with_files(api, watchful, uploaded):
    session = created(api.post(path_of(watchful, "/sessions"), {"prompt": "Look.", "file_keys": [uploaded]}))
    assert session["attached_file_keys"] == [uploaded]


def test_a_file_is_looked_for_before_it_may_be_deleted(api, watchful, uploaded):
    assert ok(api.post("/agent_runners/delete_url", {"file_key": uploaded}))["file_key"] == uploaded
