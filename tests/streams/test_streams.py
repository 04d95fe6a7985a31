"""Event streams of real web processes: nothing is missed or repeated, and nobody listens who may not."""

from __future__ import annotations

import itertools
import re
import threading
from pathlib import Path

import pytest

from app.models.states import Scope
from tests import patiently
from tests.api.calling import NOBODY, created, empty, ok, path_of, session_path
from tests.deployment import wait_for
from tests.streams.conftest import MOST_OF_ACCOUNT, MOST_OF_SECOND
from tests.streams.reading import Stream

# The web processes of a database are shared by the tests of this file. On SQLite, tests/e2e follows streams.
pytestmark = [pytest.mark.xdist_group("streams"), pytest.mark.same_on_both_databases]

# More than a few of these find no room in a connection that is not read.
LONG = "x" * 100_000


def take(stream, count):
    return list(itertools.islice(stream.messages(), count))


def titles(messages):
    return [message.data["title"] for message in messages if message.kind == "step"]


@pytest.fixture
def running(make_runner, worker):
    """A runner whose session is RUNNING, and the claim."""
    runner = make_runner()
    return runner, worker.claim(runner["latest_session_id"])


def test_a_stream_sends_every_event_and_ends_with_the_session(running, worker, listen):
    runner, claim = running
    stream = listen(session_path(runner, rest="/events"))
    assert [message.data["state"] for message in take(stream, 2)] == ["NEW", "RUNNING"]
    headers = stream.head[1]
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store" and headers["connection"] == "close" and headers["x-request-id"]
    worker.step(claim, "Late", "ünïcode\nand lines")
    worker.finish(claim)
    step, state, done = stream.messages()
    assert (step.data["title"], step.data["message"]) == ("Late", "ünïcode\nand lines")
    assert step.data["agent_runner_id"] == runner["id"] and step.data["session_id"] == runner["latest_session_id"]
    assert (state.data["state"], done.kind, done.data, done.id) == ("DONE", "done", {"state": "DONE"}, state.id)


def test_a_stream_resumes_on_another_web_process_without_a_gap_or_a_repeat(running, worker, listen):
    runner, claim = running
    stop = threading.Event()

    def work():
        for number in itertools.count():
            worker.step(claim, str(number))
            if stop.wait(0.005):
                return worker.finish(claim)

    thread = threading.Thread(target=work)
    thread.start()
    received, after = [], None
    for round_number in range(8):
        stream = listen(session_path(runner, rest="/events"), after, server=round_number % 2)
        received += take(stream, 10)
        after = stream.last_id
        stream.close()
    stop.set()
    thread.join()
    received += listen(session_path(runner, rest="/events"), after).messages()
    assert received.pop().kind == "done"
    numbers = [int(message.id) for message in received]
    assert numbers == list(range(1, len(numbers) + 1))
    assert titles(received) == [str(number) for number in range(len(titles(received)))]


def test_many_listeners_get_every_event_in_order_and_are_the_limit_of_an_account(running, worker, listen, join):
    runner, claim = running
    path = session_path(runner, rest="/events")
    streams = []
    while (stream := listen(path)).status == 200:
        streams.append(stream)
    # A process of low priority has room for as many, if the account uses much.
    assert MOST_OF_ACCOUNT <= len(streams) <= 2 * MOST_OF_ACCOUNT
    assert (stream.status, stream.json()["error_code"]) == (429, "too_many_account_listeners")
    assert listen("/events", token=join("Grace").admin.token).status == 200
    streams.pop(0).close()

    def take_place():
        stream = listen(path)
        return stream if stream.status == 200 else None

    streams.append(wait_for("a free place", take_place))
    for number in range(30):
        worker.step(claim, str(number))
    assert {take(stream, 2)[1].data["state"] for stream in streams} == {"RUNNING"}
    worker.finish(claim)
    for stream in streams:
        *steps, state, done = stream.messages()
        assert titles(steps) == [str(number) for number in range(30)]
        assert (state.data["state"], done.kind) == ("DONE", "done")


def test_a_runner_is_followed_beyond_the_end_of_a_session(api, running, worker, listen):
    runner, claim = running
    stream = listen(path_of(runner, "/events"))
    worker.finish(claim, diff="diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n")
    assert [message.data["state"] for message in take(stream, 3)] == ["NEW", "RUNNING", "DONE"]
    session = created(api.post(path_of(runner, "/sessions"), {"prompt": "More."}))
    (follow_up,) = take(stream, 1)
    assert (follow_up.data["session_id"], follow_up.data["state"]) == (session["id"], "NEW")
    empty(api.delete(path_of(runner)), 202)
    ok(api.post(path_of(runner, "/commit"), {"target_branch": "feature"}))
    assert api.post(path_of(runner, "/archive")).status_code == 202
    cancelled, publication, archived = take(stream, 3)
    assert (cancelled.data["state"], publication.kind) == ("CANCELLED", "publication")
    assert {"publication": "commit", "state": "pending", "error": None}.items() <= publication.data.items()
    assert (archived.data["session_id"], archived.data["state"]) == (None, "ARCHIVED")
    assert [int(message.id) for message in (cancelled, publication, archived)] == [5, 6, 7]


def test_an_account_is_followed_from_now_on_and_resumed_on_another_web_process(api, make_runner, worker, listen, join):
    before = make_runner()
    stream = listen("/events")
    (first,) = itertools.islice(stream.messages(heartbeats=True), 1)
    assert (first.kind, first.data) == ("heartbeat", {}) and first.id
    runners = [make_runner() for _ in range(3)]
    of_another = make_runner(join("Grace").admin)
    for runner in [before, *runners, of_another]:
        # A claim takes the session that is next, of any account.
        claim = worker.claim(runner["latest_session_id"])
        worker.step(claim, "Not for a list")
        worker.finish(claim)
    expected = [(runner["id"], "NEW") for runner in runners]
    expected += [(runner["id"], state) for runner in [before, *runners] for state in ("RUNNING", "DONE")]
    received = take(stream, 4)
    rest = listen("/events", stream.last_id, server=1)
    received += take(rest, len(expected) - 4)
    assert sorted(seen(received)) == sorted(expected)
    assert seen(take(listen("/events", first.id), len(expected))) == seen(received)


def seen(messages):
    return [(message.data["agent_runner_id"], message.data["state"]) for message in messages]


def test_no_change_of_an_account_is_missed_while_many_are_written_at_once(api, make_site, make_runner, listen):
    """A transaction may become visible after one that began later."""
    site, stream = make_site(), listen("/events")
    next(stream.messages(heartbeats=True))
    made = []
    threads = [
        threading.Thread(target=lambda: made.extend(make_runner(site=site)["id"] for _ in range(6))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    received, after = [], stream.last_id
    while len(received) < 24:
        stream = listen("/events", after, server=len(received) % 2)
        received += take(stream, 1)
        after = stream.last_id
        stream.close()
    for thread in threads:
        thread.join()
    assert sorted(message.data["agent_runner_id"] for message in received) == sorted(made)


def test_silence_is_filled_with_heartbeats_that_do_not_change_where_to_resume(running, listen):
    runner, _ = running
    stream = listen(session_path(runner, rest="/events"))
    received = list(itertools.islice(stream.messages(heartbeats=True), 4))
    assert [message.kind for message in received] == ["state", "state", "heartbeat", "heartbeat"]
    assert [message.id for message in received] == ["1", "2", None, None]
    assert received[-1].data == {"state": "RUNNING"} and stream.last_id == "2"


def test_a_revoked_token_ends_its_streams_with_the_reason(ada, api, running, listen):
    runner, _ = running
    reader = ada.holding(Scope.READ)
    streams = [
        listen(path, token=reader.token)
        for path in (session_path(runner, rest="/events"), path_of(runner, "/events"), "/events")
    ]
    kept = listen(path_of(runner, "/events"))
    for stream in streams:
        next(stream.messages(heartbeats=True))
    (token,) = [token for token in ok(api.get("/tokens")) if token["scope"] == "read"]
    empty(api.delete(f"/tokens/{token['id']}"), 204)
    for stream in streams:
        *_, last = stream.messages()
        assert (last.kind, last.id, last.data["error_code"]) == ("done", None, "bad_token") and last.data["message"]
    assert len(take(kept, 2)) == 2


def test_a_deleted_runner_ends_its_streams(api, running, worker, listen):
    runner, claim = running
    stream = listen(path_of(runner, "/events"))
    assert stream.status == 200
    worker.finish(claim)
    empty(api.delete(f"/sites/{runner['site_id']}"), 204)
    *_, last = stream.messages()
    assert (last.kind, last.data["error_code"]) == ("done", "agent_runner_not_found")


def test_a_purged_runner_ends_its_streams(api, running, worker, listen):
    runner, claim = running
    streams = [listen(path_of(runner, "/events")), listen(session_path(runner, rest="/events"))]
    assert [stream.status for stream in streams] == [200, 200]
    empty(api.delete(path_of(runner)), 202)
    worker.keep(claim)
    empty(api.post(path_of(runner, "/purge")), 204)
    *_, last = streams[0].messages()
    assert (last.kind, last.data["error_code"]) == ("done", "agent_runner_not_found")
    *_, last = streams[1].messages()
    assert last.kind == "done", "the session had ended before"


def test_a_client_that_reads_slowly_gets_everything_and_keeps_nobody_waiting(servers, api, running, worker, listen):
    runner, claim = running
    slow = Stream(servers[0], session_path(runner, rest="/events"), api.token, receive_buffer=4096)
    quick, received, meanwhile = listen(session_path(runner, rest="/events")), [], []
    for number in range(20):
        worker.step(claim, str(number), LONG)
        received += take(slow, 1)
        meanwhile += take(quick, 3 if number == 0 else 1)
    worker.finish(claim)
    received += slow.messages()
    meanwhile += quick.messages()
    assert titles(meanwhile) == titles(received) == [str(number) for number in range(20)]
    slow.close()


def take_places(open_stream):
    """Streams in all places of the second web process, which those of an earlier test may take a moment to leave."""

    def take_place():
        stream = open_stream()
        if stream.status == 200:
            return stream
        return stream.close()

    return [wait_for("a place", take_place) for _ in range(MOST_OF_SECOND)]


def test_a_client_that_never_reads_is_dropped_and_may_resume(servers, api, running, worker, listen):
    runner, claim = running
    path = session_path(runner, rest="/events")
    streams = take_places(lambda: Stream(servers[1], path, api.token, receive_buffer=4096))
    assert listen(path, server=1).status == 503
    for number in range(20):
        worker.step(claim, str(number), LONG)
    # One that reads before it was dropped goes on, so all places have to be free before.
    free = []

    def take_place(path=path, after=None):
        stream = listen(path, after, server=1)
        return stream if stream.status == 200 else None

    def all_are_free():
        free.extend(filter(None, [take_place("/events")]))
        return len(free) == MOST_OF_SECOND

    wait_for("the end of every stream", all_are_free)
    with pytest.raises(OSError):
        list(streams[0].messages())
    after = streams[0].last_id
    for stream in (*streams, *free):
        stream.close()
    resumed = wait_for("a free place", lambda: take_place(after=after))
    assert titles(take(resumed, 3))[-1] == str(int(after or 0))


def bearer(api):
    return {"Authorization": f"Bearer {api.token}"}


def test_streams_are_limited_and_a_client_that_disconnects_frees_its_place(servers, api, running, listen):
    runner, _ = running
    path = path_of(runner, "/events")
    streams = take_places(lambda: listen(path, server=1))
    refused = listen(path, server=1)
    assert (refused.status, refused.json()["error_code"]) == (503, "too_many_listeners")
    assert int(refused.head[1]["retry-after"]) > 0
    for path_of_probe in ("/healthz", "/readyz"):
        assert patiently.get(servers[1] + path_of_probe).status_code == 200
    streams.pop().close()
    wait_for("a free place", lambda: listen(path, server=1).status == 200)


def test_what_is_refused_is_answered_like_any_request(servers, api, running, listen, join):
    runner, _ = running
    for path, token, status, code in (
        (session_path(runner, rest="/events"), "ar_wrong", 401, "bad_token"),
        (session_path(runner, NOBODY, "/events"), None, 404, "session_not_found"),
        (f"/agent_runners/{NOBODY}/events", None, 404, "agent_runner_not_found"),
        (path_of(runner, "/events"), join("Grace").admin.token, 404, "agent_runner_not_found"),
        ("/events?x=1", None, 422, "invalid"),
    ):
        stream = listen(path, token=token)
        assert (stream.status, stream.json()["error_code"]) == (status, code)
    for place in ("x", "-1", "1-2", "17" * 20, "é"):
        stream = listen("/events", place)
        assert (stream.status, list(stream.json()["errors"])) == (422, ["Last-Event-ID"])
    response = patiently.head(f"{servers[0]}/api/v1/events", headers=bearer(api))
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_the_loop_in_the_documentation_follows_and_resumes(servers, api, running, worker):
    runner, claim = running
    worker.finish(claim)
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    names: dict = {}
    exec(re.search(r"<!-- tested: follow -->\n```python\n(.*?)```", page, re.DOTALL)[1], names)
    with patiently.Client(base_url=f"{servers[0]}/api/v1", headers=bearer(api)) as client:
        for after, expected in ((None, ["NEW", "RUNNING", "DONE", "DONE"]), ("2", ["DONE", "DONE"])):
            followed = names["follow"](client, session_path(runner, rest="/events"), after)
            assert [data["state"] for _, data in followed] == expected
