"""From a prompt to a diff and on, by real processes, on both databases."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from pathlib import Path

from tests import patiently
from tests.demo.forge import DemoForge
from tests.deployment import Deployment, git, processes_with, seconds_to_sleep, wait_for


def test_a_prompt_becomes_a_diff_that_applies(deployment: Deployment, tmp_path: Path) -> None:
    repository = deployment.make_repository({"hello.txt": "hello\n", "old.txt": "old\n"}, "applies")
    site = deployment.make_site(repository)
    runner = deployment.run(site, "echo working; echo changed > hello.txt; rm old.txt; printf x > new.bin")
    assert runner["state"] == "NEW"

    session = deployment.ended(runner)

    assert session["state"] == "DONE", session["failure"]
    assert session["attempt"] == 1
    assert session["base_sha"] == git(repository, "rev-parse", "HEAD").strip()
    assert any("working" in step["title"] + step["message"] for step in session["steps"])
    diff = deployment.diff(runner, session, "result")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(repository), str(clone)], check=True)
    subprocess.run(["git", "apply", "--binary"], cwd=clone, input=diff.encode(), check=True)
    assert (clone / "hello.txt").read_text() == "changed\n"
    assert (clone / "new.bin").read_text() == "x"
    assert not (clone / "old.txt").exists()
    runner = deployment.call("GET", f"/agent_runners/{runner['id']}")
    assert (runner["state"], runner["has_result_diff"]) == ("DONE", True)
    assert runner["head_session_id"] == session["id"]


def test_a_large_diff_is_read_whole_and_in_parts(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "large"))
    runner = deployment.run(
        site, "for name in 1 2 3; do seq 300000 > $name.txt; done; head -c 100000 /dev/urandom > 4.bin"
    )
    assert deployment.ended(runner)["state"] == "DONE"
    path = f"/agent_runners/{runner['id']}/diff"

    whole = deployment.api.get(path)
    files = deployment.call("GET", f"{path}/files")

    assert [file["path"] for file in files] == ["1.txt", "2.txt", "3.txt", "4.bin"]
    assert [file["additions"] for file in files] == [300_000, 300_000, 300_000, 0]
    assert whole.headers["Content-Length"] == str(len(whole.content)) == str(sum(file["size"] for file in files))
    assert deployment.api.head(path).headers["Content-Length"] == whole.headers["Content-Length"]
    assert deployment.api.get(path, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    for number, file in enumerate(files):
        content = whole.content[file["offset"] : file["offset"] + file["size"]]
        last = file["offset"] + file["size"] - 1
        part = deployment.api.get(path, headers={"Range": f"bytes={file['offset']}-{last}"})
        page = deployment.api.get(path, params={"page": number + 1, "per_page": 1})
        assert (part.status_code, page.status_code) == (206, 200)
        assert part.content == page.content == content
    assert deployment.api.get(path).content == whole.content


def test_another_host_continues_a_runner_and_fetches_new_sites_ahead(deployment: Deployment, forge: DemoForge) -> None:
    repository = deployment.make_repository({"story.txt": "once\n"}, "follow-up")
    site = deployment.make_site(repository)
    runner = deployment.run(site, "echo upon >> story.txt")
    first = deployment.ended(runner)
    deployment.stop("sessions-1")
    deployment.start_worker("sessions-2", MIRROR_REFRESH_SECONDS="600")
    mirrors, bases = deployment.folder / "sessions-2" / "mirrors", deployment.folder / "sessions-2" / "bases"
    try:
        deployment.follow_up(runner, "test \"$(tail -n 1 story.txt)\" = upon && echo 'a time' >> story.txt")
        second = deployment.ended(runner)
        # The worker fetches what is known when it starts. It is notified of a later site, if that is not local. The fetch has a
        # low priority.
        wait_for("the fetches of its start", lambda: (mirrors / f"{site['id']}.refreshed").exists(), 200)
        hosted = forge.make_repository("ada", f"ahead-{deployment.url.rpartition(':')[2]}", {"a.txt": "a\n"})
        address = forge.clone_url(hosted.full_name)
        new = deployment.call(
            "POST", "/sites", json={"name": "new", "repo_url": address, "forge": "none", "access_token": forge.token}
        )
        wait_for("the files of the new site", lambda: list(bases.glob(f"{new['id']}/*/base.json")), 200)
    finally:
        deployment.stop("sessions-2")
        deployment.start_worker("sessions-1")

    assert (first["state"], second["state"]) == ("DONE", "DONE"), second
    assert second["parent_session_id"] == first["id"]
    result, cumulative = (deployment.diff(runner, second, kind) for kind in ("result", "cumulative"))
    assert "+a time\n" in result and "+upon\n" not in result
    assert "+upon\n+a time\n" in cumulative
    assert deployment.call("GET", f"/agent_runners/{runner['id']}/diff") == cumulative


def test_a_stop_in_mid_run_kills_the_whole_tree_and_keeps_the_work(deployment: Deployment) -> None:
    repository = deployment.make_repository({"a.txt": "a\n"}, "stopped")
    site = deployment.make_site(repository)
    marker = seconds_to_sleep()
    stubborn = f"trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM; exec sleep {marker}' &); "
    runner = deployment.run(site, stubborn + f"echo kept > a.txt; echo half-way; sleep {marker}")
    deployment.has_step(runner, "half-way")
    assert processes_with(marker)

    answer = deployment.api.delete(f"/agent_runners/{runner['id']}")

    assert (answer.status_code, answer.content) == (202, b"")
    wait_for("the end of every process", lambda: not processes_with(marker))
    session = deployment.session(runner)
    assert session["state"] == "CANCELLED"
    wait_for("the work", lambda: deployment.session(runner)["has_result_diff"])
    assert "+kept" in deployment.diff(runner, session, "result")
    again = deployment.api.delete(f"/agent_runners/{runner['id']}/sessions/{session['id']}")
    assert again.status_code == 202


def test_an_attachment_reaches_the_agent(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "attached"))
    content = b"a specification\n"
    ask = {"filename": "my spec.md", "content_type": "text/markdown", "size": len(content)}
    upload = deployment.call("POST", "/agent_runners/upload_url", json=ask)
    assert patiently.put(upload["upload_url"], content=content, headers=upload["headers"]).is_success

    script = 'cat "$AGENT_RUNNERS_ATTACHMENTS/my_spec.md" > a.txt'
    session = deployment.ended(runner := deployment.run(site, script, file_keys=[upload["file_key"]]))

    assert session["state"] == "DONE", session["failure"]
    assert session["attached_file_keys"] == [upload["file_key"]]
    assert "+a specification" in deployment.diff(runner, session, "result")
    refused = deployment.api.post("/agent_runners/delete_url", json={"file_key": upload["file_key"]})
    assert refused.status_code == 409


def test_a_drained_worker_puts_its_session_back_and_counts_no_loss(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "drained"))
    mark, marker = deployment.folder / "drain-mark", seconds_to_sleep()
    script = f"if test -e {mark}; then echo done > a.txt; else touch {mark}; echo started; sleep {marker}; fi"
    runner = deployment.run(site, script)
    deployment.has_step(runner, "started")

    deployment.stop("sessions-1", signal.SIGTERM)

    assert deployment.session(runner)["state"] == "NEW"
    assert not processes_with(marker)
    deployment.start_worker("sessions-1")
    session = deployment.ended(runner)
    assert session["state"] == "DONE"
    assert not any("lost" in step["message"] for step in session["steps"])


def test_what_only_a_worker_can_see_ends_in_an_error_that_says_so(deployment: Deployment) -> None:
    repository = deployment.make_repository({"a.txt": "a\n"}, "errors")
    site = deployment.make_site(repository)
    gone = deployment.make_site(deployment.folder / "repositories" / "nowhere")
    broken = deployment.make_site(repository, setup_command="echo no such tool >&2; exit 3")
    cases = {
        ("checkout", "branch_not_found"): deployment.run(site, "true", branch="no-such-branch"),
        ("checkout", "repository_unreachable"): deployment.run(gone, "true"),
        ("setup", "setup_failed"): deployment.run(broken, "true"),
        ("agent", "agent_failed"): deployment.run(site, "echo half > a.txt; echo oh no >&2; exit 1"),
    }
    for (stage, code), runner in cases.items():
        session = deployment.ended(runner)
        failure = session["failure"]
        assert (session["state"], failure["stage"], failure["code"]) == ("ERROR", stage, code), session["failure"]
        assert len(failure["message"]) > 10
    assert "+half" in deployment.diff(runner, session, "result"), "work before a failure is kept"


def test_an_agent_that_changes_nothing_is_done_without_a_diff(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "nothing"))
    session = deployment.ended(runner := deployment.run(site, "echo looked around"))

    assert (session["state"], session["has_result_diff"], session["is_discarded"]) == ("DONE", False, False)
    assert deployment.api.get(f"/agent_runners/{runner['id']}/diff").status_code == 404


def test_events_are_streamed_as_they_come_and_resume_without_a_gap(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "events"))
    runner = deployment.run(site, "for i in 1 2 3; do echo line $i; sleep 1; done")
    path = f"/agent_runners/{runner['id']}/sessions/{runner['latest_session_id']}/events"
    seen: list[tuple[int, str]] = []
    while not seen or seen[-1][1] != "done":
        resuming = {"Last-Event-ID": str(seen[-1][0])} if seen else {}
        with deployment.api.stream("GET", path, headers=resuming) as answer:
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(":")
                fields[name] = value.strip()
                if not line and "event" in fields:
                    seen.append((int(fields["id"]), fields["event"]))
                    fields = {}
                    if len(seen) == 3:
                        break
    numbers = [number for number, kind in seen if kind not in ("heartbeat", "done")]
    assert numbers == list(range(1, len(numbers) + 1)), "none is missing and none comes twice"
    assert {"step", "state", "done"} <= {kind for _, kind in seen}


def test_a_commit_lands_on_a_branch_with_its_asker_as_author(deployment: Deployment) -> None:
    repository = deployment.make_repository({"a.txt": "a\n"}, "published")
    runner = deployment.run(deployment.make_site(repository), "echo b > a.txt", title="Say b instead")
    deployment.ended(runner)
    asked = deployment.call("POST", f"/agent_runners/{runner['id']}/commit", json={"target_branch": "topic"})
    assert asked["merge_commit_is_being_created"] is True
    published = deployment.published(runner)
    assert published["merge_commit_error"] is None
    assert published["merge_commit_sha"] == git(repository, "rev-parse", "topic").strip()
    assert git(repository, "show", "topic:a.txt") == "b\n"
    assert git(repository, "log", "-1", "--format=%an <%ae>", "topic").strip() == "Ada Lovelace <ada@example.org>"
    refused = deployment.api.post(f"/agent_runners/{runner['id']}/commit", json={"target_branch": "main"})
    assert (refused.status_code, refused.json()["error_code"]) == (400, "protected_branch")


def test_a_webhook_tells_another_system_of_the_end(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        receiver.settimeout(60)
        site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "hooked"))
        hook = {
            "url": f"http://127.0.0.1:{receiver.getsockname()[1]}/in",
            "site_id": site["id"],
            "events": ["session.done"],
        }
        path = f"/webhooks/{deployment.call('POST', '/webhooks', json=hook)['id']}"
        runner = deployment.run(site, "echo b > a.txt")
        connection, _ = receiver.accept()
        with connection, connection.makefile("rb") as request:
            head = b"".join(iter(request.readline, b"\r\n")).decode().lower()
            body = json.loads(request.read(int(re.findall(r"content-length: (\d+)", head)[0])))
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert body["type"] == "session.done" and body["data"]["agent_runner_id"] == runner["id"]
    assert head.startswith("post /in http/1.1") and "webhook-signature: v1," in head
    wait_for("the log", lambda: deployment.call("GET", f"{path}/deliveries")[0]["state"] == "delivered")
    assert deployment.api.delete(path).status_code == 204


def test_flower_lists_the_workers_and_how_tasks_ended_and_asks_who_is_there(deployment: Deployment) -> None:
    deployment.start("flower", "flower", FLOWER_AUTH="operator:secret word")
    port = deployment.settings["FLOWER_PORT"]
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for("flower", lambda: patiently.get(f"{url}/healthcheck").is_success)
        site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "flower"))
        for path in ("/workers", "/metrics"):
            answer = patiently.get(f"{url}{path}")
            assert (answer.status_code, answer.headers["X-Frame-Options"]) == (401, "DENY")
        auth = ("operator", "secret word")

        def shown(path: str, text: str) -> bool:
            return text in patiently.get(f"{url}{path}", auth=auth, follow_redirects=True).text

        wait_for("the workers in flower", lambda: shown("/workers?json=1", "sessions-1@"))

        def told_of_a_session() -> bool:
            # It knows of what happens while it listens, and says nowhere since when it does.
            for script in ("true", "exit 1"):
                deployment.ended(deployment.run(site, script, agent="shell"))
            metrics = patiently.get(f"{url}/metrics", auth=auth).text
            ended = [line for line in metrics.splitlines() if 'task="sessions.run"' in line]
            return all(any(f'type="{how}"' in line for line in ended) for how in ("task-succeeded", "task-failed"))

        wait_for("the tasks in flower", told_of_a_session)
        assert "Traceback" not in deployment.log("sessions-1")
    finally:
        deployment.stop("flower")


def test_the_worker_s_log_names_the_request_that_asked(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "logged"))
    name = f"asked-by-a-test-{site['id']}"
    runner = deployment.call(
        "POST", "/agent_runners", json={"site_id": site["id"], "prompt": "true"}, headers={"X-Request-Id": name}
    )
    deployment.ended(runner)
    wait_for("the request's id in the log", lambda: name in deployment.log("sessions-1"))
