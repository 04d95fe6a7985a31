"""The headers of a list: `Total`, and `Link` with first, prev, next and last (RFC 8288)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import request

from app.config import settings
from app.services.pagination import Page


def headers(page: Page[Any]) -> dict[str, str]:
    """The headers of a page. With `cursor` in the query, even an empty one, the next page is linked by its cursor."""
    if "cursor" in request.args:
        following = {"cursor": page.next_cursor} if page.next_cursor else None
        links = {"first": {"cursor": ""}, "next": following}
    elif page.is_capped:
        links = {**_around(page.number), "next": {"page": str(page.number + 1)} if page.next_cursor else None}
    else:
        links = numbered(page.number, page.per_page, page.total or 0)
    return {**_total(page), "Link": link({**links}, page.per_page)}


def _total(page: Page[Any]) -> dict[str, str]:
    if page.total is None:
        return {}
    # `Total` is always a plain number: clients parse it.
    return {"Total": str(page.total), **({"Total-Capped": "true"} if page.is_capped else {})}


def numbered(number: int, per_page: int, total: int) -> dict[str, dict[str, str] | None]:
    """The pages around page `number`; None where there is none."""
    last = max(1, -(-total // per_page))
    return {
        **_around(min(number, last + 1)),
        "next": {"page": str(number + 1)} if number < last else None,
        "last": {"page": str(last)},
    }


def _around(number: int) -> dict[str, dict[str, str] | None]:
    return {"first": {"page": "1"}, "prev": {"page": str(number - 1)} if number > 1 else None}


def link(pages: dict[str, dict[str, str] | None], per_page: int) -> str:
    """A Link header. Its links keep the other parameters of the query, with `per_page` as it was applied."""
    kept = [
        (name, str(per_page) if name == "per_page" else value)
        for name, value in request.args.items(multi=True)
        if name not in ("page", "cursor")
    ]
    base = settings().public_url.rstrip("/") + request.path
    return ", ".join(
        f'<{base}?{urlencode([*kept, *terms.items()])}>; rel="{rel}"' for rel, terms in pages.items() if terms
    )


def public_url(path: str) -> str:
    """The URL at which callers reach a path of the API."""
    return f"{settings().public_url.rstrip('/')}/api/v1{path}"
