"""Diffs in JSON, and the parameters to read them."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, pre_load

from app.models.states import DiffKind, FileStatus
from app.schemas.base import PageQuery, Schema
from app.schemas.choices import Choice
from app.schemas.fields import from_to


class DiffPageQuery(PageQuery):
    """A page of the files of a diff."""

    class Meta(PageQuery.Meta):
        exclude = ("cursor",)


class DiffFilesQuery(DiffPageQuery):
    """Which files of a diff to list."""

    sensitive = fields.Boolean(
        load_default=False, metadata={"description": "Only CI workflows, Git hooks, CODEOWNERS and `.gitmodules`."}
    )


class SessionDiffFilesQuery(DiffFilesQuery):
    """Which files of which diff to list."""

    kind = Choice(DiffKind, load_default=DiffKind.RESULT)


class RunnerDiffQuery(DiffPageQuery):
    """Which files of a diff to send."""

    page = fields.Integer(
        load_default=None,
        validate=from_to(1),
    )
    strip_binary = fields.Boolean(load_default=False)

    @pre_load
    def begin_at_the_first_page(self, data: Any, **_: Any) -> Any:
        return {"page": 1, **data} if "per_page" in data else data


class DiffFileSchema(Schema):
    """A file of a diff."""

    path = fields.String(required=True)
    old_path = fields.String(required=True, allow_none=True)
    status = Choice(FileStatus, required=True)
    additions = fields.Integer(required=True)
    deletions = fields.Integer(required=True)
    binary = fields.Boolean(required=True)
    old_mode = fields.String(required=True, allow_none=True)
    new_mode = fields.String(required=True, allow_none=True)
    offset = fields.Integer(required=True)
    size = fields.Integer(required=True)
    sensitive = fields.String(required=True, allow_none=True)
