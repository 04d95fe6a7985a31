"""The calls of the main workflow: a site, a runner, its sessions, its diff."""

from __future__ import annotations

import mimetypes
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from app.client.errors import ClientError, raise_for
from app.client.events import Event, follow

Json = dict[str, Any]


class Client:
    """Calls one deployment with one token. Every failure is a `ClientError`.

    Fields that a method does not list are passed by keyword, as in the API: `create_site(..., setup_command=...)`.
    """

    def __init__(
        self, url: str, token: str, *, timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout,
            transport=transport,
        )
        # Uploads go to signed URLs, which may be those of another server. It must not see the token.
        self._uploads = httpx.Client(timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()
        self._uploads.close()

    def me(self) -> Json:
        """The user of the token, its account and the token itself."""
        return self._get_json("/me")

    def create_console_link(self) -> str:
        """A URL that signs in to the console once, within ten minutes."""
        return str(self._post("/console_links", {})["url"])

    def agents(self) -> list[Json]:
        """The agents that a prompt may name, and whether they are installed and have a key."""
        return list(self._get_json("/agents"))

    def sites(self) -> list[Json]:
        """All sites, however many."""
        return list(self._pages("/sites"))

    def create_site(self, repo_url: str, **fields: Any) -> Json:
        return self._post("/sites", {"repo_url": repo_url, **fields})

    def update_site(self, site_id: str, **fields: Any) -> Json:
        """Change the given fields."""
        return self._call("PATCH", f"/sites/{_id(site_id)}", json=fields).json()

    def create_runner(self, site_id: str, prompt: str, **fields: Any) -> Json:
        """Create a runner with its first session."""
        return self._post("/agent_runners", {"site_id": site_id, "prompt": prompt, **fields})

    def get_runner(self, runner_id: str) -> Json:
        return self._get_json(_runner(runner_id))

    def runners(self, **filters: Any) -> list[Json]:
        """A page of runners, newest first: 100, or `per_page`."""
        return self._get_json("/agent_runners", filters)

    def sessions(self, runner_id: str, **filters: Any) -> list[Json]:
        return self._get_json(f"{_runner(runner_id)}/sessions", filters)

    def get_session(self, runner_id: str, session_id: str) -> Json:
        return self._get_json(_session(runner_id, session_id))

    def follow_up(self, runner_id: str, prompt: str, **fields: Any) -> Json:
        """Create a further session, which builds on the runner's diff."""
        return self._post(f"{_runner(runner_id)}/sessions", {"prompt": prompt, **fields})

    def stop(self, runner_id: str) -> None:
        """Stop the session in progress. Its work so far is kept."""
        self._call("DELETE", _runner(runner_id))

    def revert(self, runner_id: str, session_id: str | None) -> Json:
        """Make a session's work that of the runner. None: the base, without any change."""
        return self._post(f"{_runner(runner_id)}/revert", {"session_id": session_id})

    def archive(self, runner_id: str) -> Json:
        return self._post(f"{_runner(runner_id)}/archive", {})

    def unarchive(self, runner_id: str) -> Json:
        return self._post(f"{_runner(runner_id)}/unarchive", {})

    def upload(self, file: Path) -> str:
        """Upload a file and return the key to pass in `file_keys`. Raises OSError if it cannot be read."""
        content = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        described = {"filename": file.name, "content_type": kind, "size": len(content)}
        target = self._post("/agent_runners/upload_url", described)
        raise_for(self._uploads.put(target["upload_url"], content=content, headers=target["headers"]))
        return str(target["file_key"])

    def commit(self, runner_id: str, target_branch: str, **fields: Any) -> Json:
        """Request commits with the runner's diff on a branch. Poll the runner for the result."""
        return self._post(f"{_runner(runner_id)}/commit", {"target_branch": target_branch, **fields})

    def create_pull_request(self, runner_id: str, **fields: Any) -> Json:
        """Request a pull request with the runner's diff. Poll the runner for the result."""
        return self._post(f"{_runner(runner_id)}/pull_request", fields)

    def diff(self, runner_id: str) -> bytes:
        """The runner's diff, in bytes: its files may have any encoding."""
        return self._call("GET", f"{_runner(runner_id)}/diff").content

    def result_diff(self, runner_id: str, session_id: str) -> bytes:
        """What this session alone changed."""
        return self._call("GET", f"{_session(runner_id, session_id)}/diff/result").content

    def cumulative_diff(self, runner_id: str, session_id: str) -> bytes:
        """What all sessions up to and including this one changed."""
        return self._call("GET", f"{_session(runner_id, session_id)}/diff/cumulative").content

    def diff_page(self, runner_id: str, page: int, per_page: int) -> tuple[str, int]:
        """A page of the runner's diff, without binary contents, and the number of files in all. Bytes that are not
        UTF-8 are replaced."""
        query = {"page": page, "per_page": per_page, "strip_binary": "true"}
        response = self._call("GET", f"{_runner(runner_id)}/diff", params=query)
        return response.content.decode(errors="replace"), int(response.headers["Total"])

    def diff_files(self, runner_id: str, session_id: str | None = None, kind: str = "result") -> list[Json]:
        """The files of the runner's diff, or of the diff of a session: `result` or `cumulative`."""
        if session_id is None:
            return list(self._pages(f"{_runner(runner_id)}/diff/files"))
        return list(self._pages(f"{_session(runner_id, session_id)}/diff/files", {"kind": kind}))

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

    def account_events(self, *, last_event_id: str | None = None, patience: float = 60.0) -> Iterator[Event]:
        """The changes of state in the account from now on. First comes a `heartbeat` whose id is a place to resume from."""
        return follow(self._http, "/events", last_event_id, patience)

    def _pages(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Json]:
        """The items of all pages of a list."""
        response = self._call("GET", path, params=query)
        yield from response.json()
        while following := response.links.get("next"):
            response = self._call("GET", following["url"])
            yield from response.json()

    def _get_json(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._call("GET", path, params=query).json()

    def _post(self, path: str, body: Json) -> Json:
        # With the key, a call whose answer was lost can be sent again without doing the work twice.
        answer: Json = self._call("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())}).json()
        return answer

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        retries = 1 if method != "DELETE" else 0
        while True:
            try:
                response = self._http.request(method, path, **options)
                break
            except httpx.TransportError as error:
                if not retries:
                    message = f"Cannot reach {self._http.base_url}: {error}. Check the URL, and that the server runs."
                    raise ClientError(message) from error
                retries -= 1
        raise_for(response)
        return response


def _runner(runner_id: str) -> str:
    return f"/agent_runners/{_id(runner_id)}"


def _session(runner_id: str, session_id: str) -> str:
    return f"{_runner(runner_id)}/sessions/{_id(session_id)}"


def _id(text: str) -> str:
    """An id for a path. Anything else could make it another path, such as `../sites`."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ClientError(f"404: {text!r} is not an id", status=httpx.codes.NOT_FOUND, error_code="not_found") from None
