"""Templates that are filled from JSON: `Mend {{ issue.title }}`."""

from __future__ import annotations

import json
import re
from typing import Any

MOST_CHARACTERS = 32_768
"""Of one value. A longer one is cut, and says so."""
_PLACE = re.compile(r"\{\{\s*([\w.$@-]+)\s*\}\}")
_CUT = " [shortened]"
# What neither the database nor UTF-8 can hold, but JSON can express.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def fill(template: str, data: Any, most: int) -> str:
    """The template with the value at each place. A place that the data does not have is empty.

    Once the result has more than `most` characters, what follows is left out.
    """
    texts: dict[str, str] = {}
    parts, size, end = list[str](), 0, 0
    for found in _PLACE.finditer(template):
        place = found[1]
        # A template can name a place some thousand times, and its value can be all that was sent.
        if place not in texts:
            texts[place] = text_at(place, data)
        parts += [template[end : found.start()], texts[place]]
        size += found.start() - end + len(texts[place])
        end = found.end()
        if size > most:
            return "".join(parts)
    return "".join([*parts, template[end:]])


def text_at(place: str, data: Any) -> str:
    """The value at a place such as `issue.labels.0.name`: text as it is, anything else as JSON."""
    value = data
    for name in place.split("."):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(value):
            value = value[int(name[:9])]
        else:
            value = None
    if value is None:
        return ""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        # It could only just be read.
        return ""
    text = _UNSTORABLE.sub("\ufffd", text)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - len(_CUT)] + _CUT
