"""Reads lists."""

from __future__ import annotations

import re

from tests.api.calling import ok


def links(response):
    return {rel: url for url, rel in re.findall(r'<([^>]+)>; rel="(\w+)"', response.headers["Link"])}


def ids(response):
    return [row["id"] for row in ok(response)]


def walked(api, query):
    """The ids of a whole list, read by cursor, one runner at a time."""
    response = api.get(f"/agent_runners?{query}&cursor=&per_page=1")
    seen = ids(response)
    while "next" in links(response):
        response = api.get(links(response)["next"])
        seen += ids(response)
    return seen


def found(api, **filters):
    return ids(api.get("/agent_runners", query_string=filters))
