"""Reads from the answers of models, while they pass through, what they used and whether they are complete: streams of events,
and whole JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .apis import Api, error_in, message_of
from .counts import Counts

# The last event of OpenAI's Responses repeats the whole answer.
_LONGEST_EVENT = 32 * 1024**2
_DONE = b"[DONE]"


class Meter:
    """What one answer says about itself. `feed` and `finish` return the counts so far where they have changed."""

    def __init__(self, api: Api, model: str | None, *, streams: bool) -> None:
        self._api, self.model = api, model
        self._streams = streams
        self._has_ended = False
        self.error: dict[str, object] = {}
        """The error in the middle of a stream, if there is one."""
        self._rest = bytearray()
        self._usage: dict[str, object] = {}
        self._counts: Counts | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it has all arrived. A stream says so itself: its connection may be closed in any case, and after an error
        some servers end it like any other."""
        return self._has_ended and not self.error

    @property
    def message(self) -> str | None:
        """What the error says."""
        return message_of(self.error)

    def feed(self, piece: bytes) -> Counts | None:
        """Read a piece of the answer."""
        self._rest += piece
        changed = None
        if self._streams and b"\n" in piece:
            for event in self._events():
                changed = self._take(event) or changed
        if len(self._rest) > _LONGEST_EVENT:
            self._rest.clear()
        return changed

    def finish(self, *, is_cut: bool) -> Counts | None:
        """The answer has ended, or was cut."""
        if self._streams:
            # The last line may have no end.
            return self.feed(b"\n")
        self._has_ended = not is_cut
        answer = _parsed(bytes(self._rest))
        # Without `alt=sse`, Gemini streams a list.
        changed = None
        for event in answer if isinstance(answer, list) else [answer]:
            changed = self._take(event) or changed
        return changed

    def _events(self) -> Iterator[Any]:
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            if line.startswith(b"data:"):
                data = bytes(line[5:]).strip()
                self._has_ended = self._has_ended or data == _DONE
                yield _parsed(data)

    def _take(self, event: Any) -> Counts | None:
        if not isinstance(event, dict):
            return None
        self._has_ended = self._has_ended or self._api.is_last(event)
        self.error = error_in(event) or self.error
        model, usage = self._api.usage_in(event)
        self.model = model or self.model
        # Later events repeat some of the fields, and leave others out.
        self._usage.update({name: value for name, value in usage.items() if value is not None})
        counts = self._api.counts_of(self._usage) if self._usage else None
        if counts == self._counts:
            return None
        self._counts = counts
        return counts


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
