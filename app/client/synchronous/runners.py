# Made from app/client/asynchronous by bin/generate-client. Change that, and run it again.
"""Calls for runners, their sessions, diffs and files."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.client.errors import raise_for
from app.client.events import Event
from app.client.paths import id_in_path
from app.client.synchronous.events import follow
from app.client.synchronous.transport import Json, Transport


class RunnerCalls(Transport):
    def create_runner(self, site_id: str, prompt: str, **fields: Any) -> Json:
        """Create a runner with its first session."""
        return self._post("/agent_runners", {"site_id": site_id, "prompt": prompt, **fields})

    def get_runner(self, runner_id: str) -> Json:
        return self._get_json(_runner(runner_id))

    def update_runner(self, runner_id: str, **fields: Any) -> Json:
        """Change the given fields, such as `title`."""
        return self._patch(_runner(runner_id), fields)

    def runners(self, **filters: Any) -> list[Json]:
        """A page of runners, newest first: 100, or `per_page`. Filters are those of the API, such as `q="health"`,
        `state="live"` or `since="2026-01-31T12:00:00Z"`."""
        return self._get_json("/agent_runners", filters)

    def sessions(self, runner_id: str, **filters: Any) -> list[Json]:
        return self._get_json(f"{_runner(runner_id)}/sessions", filters)

    def get_session(self, runner_id: str, session_id: str) -> Json:
        return self._get_json(_session(runner_id, session_id))

    def follow_up(self, runner_id: str, prompt: str | None, **fields: Any) -> Json:
        """Create a further session, which builds on the runner's diff. The prompt may be None if there are `answers`."""
        return self._post(
            f"{_runner(runner_id)}/sessions", {**({} if prompt is None else {"prompt": prompt}), **fields}
        )

    def retry(self, runner_id: str, session_id: str) -> Json:
        """Create a session with the prompt and settings of one that failed or was stopped."""
        return self._post(f"{_session(runner_id, session_id)}/retry")

    def stop(self, runner_id: str) -> None:
        """Stop the session in progress. Its work so far is kept."""
        self._call("DELETE", _runner(runner_id))

    def stop_session(self, runner_id: str, session_id: str) -> None:
        """Stop this session, and no other that may have begun since. Its work so far is kept."""
        self._call("DELETE", _session(runner_id, session_id))

    def revert(self, runner_id: str, session_id: str | None) -> Json:
        """Make a session's work that of the runner. None: the base, without any change."""
        return self._post(f"{_runner(runner_id)}/revert", {"session_id": session_id})

    def archive(self, runner_id: str) -> Json:
        return self._post(f"{_runner(runner_id)}/archive")

    def refresh_runner(self, runner_id: str) -> Json:
        """Have `behind_by`, `mergeable`, `conflicts` and `pr_state` measured again. Poll until `is_being_refreshed` is false."""
        return self._post(f"{_runner(runner_id)}/refresh")

    def rebase_runner(self, runner_id: str, **fields: Any) -> Json:
        """Create a session that reapplies the runner's diff on the tip of its branch. `resolve="agent"`: its agent resolves
        conflicts, as `prompt` says."""
        return self._post(f"{_runner(runner_id)}/rebase", fields)

    def unarchive(self, runner_id: str) -> Json:
        return self._post(f"{_runner(runner_id)}/unarchive")

    def purge(self, runner_id: str) -> None:
        """Delete a runner for good, with its sessions, diffs and attached files. Needs the scope `admin`."""
        self._post(f"{_runner(runner_id)}/purge")

    def upload(self, file: Path) -> str:
        """Upload a file and return the key to pass in `file_keys`. Raises OSError if it cannot be read."""
        content = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        described = {"filename": file.name, "content_type": kind, "size": len(content)}
        target = self._post("/agent_runners/upload_url", described)
        raise_for(self._store.put(target["upload_url"], content=content, headers=target["headers"]))
        return str(target["file_key"])

    def delete_upload(self, file_key: str) -> None:
        """Delete an uploaded file that no session uses."""
        target = self._post("/agent_runners/delete_url", {"file_key": file_key})
        raise_for(self._store.delete(target["delete_url"]))

    def commit(self, runner_id: str, target_branch: str, **fields: Any) -> Json:
        """Request commits with the runner's diff on a branch. Poll the runner for the result."""
        return self._post(f"{_runner(runner_id)}/commit", {"target_branch": target_branch, **fields})

    def create_pull_request(self, runner_id: str, **fields: Any) -> Json:
        """Request a pull request with the runner's diff. Poll the runner for the result."""
        return self._post(f"{_runner(runner_id)}/pull_request", fields)

    def diff(self, runner_id: str) -> bytes:
        """The runner's diff, in bytes: its files may have any encoding."""
        return self._get_bytes(f"{_runner(runner_id)}/diff")

    def result_diff(self, runner_id: str, session_id: str) -> bytes:
        """What this session alone changed."""
        return self._get_bytes(f"{_session(runner_id, session_id)}/diff/result")

    def cumulative_diff(self, runner_id: str, session_id: str) -> bytes:
        """What all sessions up to and including this one changed."""
        return self._get_bytes(f"{_session(runner_id, session_id)}/diff/cumulative")

    def diff_page(self, runner_id: str, page: int, per_page: int) -> tuple[str, int]:
        """A page of the runner's diff, without binary contents, and the number of files in all. Bytes that are not
        UTF-8 are replaced."""
        query = {"page": page, "per_page": per_page, "strip_binary": "true"}
        response = self._call("GET", f"{_runner(runner_id)}/diff", params=query)
        return response.content.decode(errors="replace"), int(response.headers["Total"])

    def diff_files(
        self, runner_id: str, session_id: str | None = None, kind: str = "result", **filters: Any
    ) -> list[Json]:
        """The files of the runner's diff, or of the diff of a session: `result` or `cumulative`."""
        if session_id is None:
            return self._all(f"{_runner(runner_id)}/diff/files", filters)
        return self._all(f"{_session(runner_id, session_id)}/diff/files", {"kind": kind, **filters})

    def compare(self, runner_id: str, from_session_id: str | None, to_session_id: str) -> Json:
        """Request the diff from one session to another; None: from the base. Poll it with `comparison` while its `state`
        is `pending`."""
        sessions = {"from_session_id": from_session_id, "to_session_id": to_session_id}
        return self._post(f"{_runner(runner_id)}/comparisons", sessions)

    def comparison(self, runner_id: str, comparison_id: str) -> Json:
        return self._get_json(_comparison(runner_id, comparison_id))

    def comparison_diff(self, runner_id: str, comparison_id: str) -> bytes:
        """The diff between the two sessions, once it is done and `has_diff`."""
        return self._get_bytes(f"{_comparison(runner_id, comparison_id)}/diff")

    def comparison_files(self, runner_id: str, comparison_id: str) -> list[Json]:
        """The files that differ between the two sessions."""
        return self._all(f"{_comparison(runner_id, comparison_id)}/diff/files")

    def report(self, runner_id: str, session_id: str, **fields: Any) -> Json:
        """Report for an attempt at a session, as an external worker does: its state, steps, usage or diffs."""
        return self._patch(_session(runner_id, session_id), fields)

    def diff_upload_urls(self, runner_id: str, session_id: str) -> Json:
        """Where an external worker uploads the diffs of its attempt, before it reports their keys."""
        return self._post(f"{_session(runner_id, session_id)}/diff/upload_urls")

    def events(
        self, runner_id: str, session_id: str, *, last_event_id: str | None = None, patience: float = 60.0
    ) -> Iterator[Event]:
        """The events of a session, as they happen, up to its end.

        Raises `ClientError` if nothing can be read for `patience` seconds.
        """
        path = f"{_session(runner_id, session_id)}/events"
        return follow(self._http, path, last_event_id, patience)

    def runner_events(
        self, runner_id: str, *, last_event_id: str | None = None, patience: float = 60.0
    ) -> Iterator[Event]:
        """The events of all sessions of a runner, and of its publications, as they happen."""
        return follow(self._http, f"{_runner(runner_id)}/events", last_event_id, patience)


def _runner(runner_id: str) -> str:
    return f"/agent_runners/{id_in_path(runner_id)}"


def _session(runner_id: str, session_id: str) -> str:
    return f"{_runner(runner_id)}/sessions/{id_in_path(session_id)}"


def _comparison(runner_id: str, comparison_id: str) -> str:
    return f"{_runner(runner_id)}/comparisons/{id_in_path(comparison_id)}"
