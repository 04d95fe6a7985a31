"""Ids in paths."""

from __future__ import annotations

import re
import uuid

from werkzeug.routing import UUIDConverter

NOTHING = uuid.UUID(int=0)
"""An id that nothing ever has."""


class Id(UUIDConverter):
    """Takes any text for an id. What is no UUID names nothing, so it is answered as an id that nothing has: by the 404
    of the resource, and not by the one of an unknown path."""

    # Two names of the API's own stand where an id of a runner may stand; they are not ids.
    regex = "(?!(?:upload|delete)_url$)[^/]+"
    part_isolating = True

    def to_python(self, value: str) -> uuid.UUID:
        return super().to_python(value) if re.fullmatch(UUIDConverter.regex, value) else NOTHING
