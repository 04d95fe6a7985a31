"""Pages of lists, numbered from 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from flask import request

T = TypeVar("T")


def asked_page(*, size_name: str = "per_page", usual: int = 30, most: int = 100) -> tuple[int, int]:
    """The number of the page that the request asks for, and how many items a page has."""
    size = min(most, max(1, request.args.get(size_name, usual, int)))
    return max(1, request.args.get("page", 1, int)), size


def page_of(items: Sequence[T], *, size_name: str = "per_page", usual: int = 30, most: int = 100) -> list[T]:
    """The items of the page that the request asks for."""
    number, size = asked_page(size_name=size_name, usual=usual, most=most)
    return list(items[(number - 1) * size : number * size])
