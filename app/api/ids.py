"""Ids in paths."""

from __future__ import annotations

import re
import uuid

from werkzeug.routing import UUIDConverter

UNKNOWN = uuid.UUID(int=0)
"""An id that no resource has."""


class Id(UUIDConverter):
    """Accepts any text as an id. Text that is not a UUID becomes the id of no resource, so the answer is the 404 of the
    resource, not that of an unknown path."""

    # `upload_url` and `delete_url` are paths of the API instead of a runner's id.
    regex = "(?!(?:upload|delete)_url$)[^/]+"
    part_isolating = True

    def to_python(self, value: str) -> uuid.UUID:
        return super().to_python(value) if re.fullmatch(UUIDConverter.regex, value) else UNKNOWN
