"""The base class and the column types of all models."""

from __future__ import annotations

import datetime
import enum
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app import db


class StateType(sa.types.TypeDecorator[Any]):
    """An enumeration stored as text, so that a migration never has to alter a database type.

    A value that is not a member is read as it is, and never written.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, kind: type[enum.StrEnum], length: int = 20) -> None:
        super().__init__(length)
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        try:
            return self.kind(value)
        except ValueError:
            return _unknown(self.kind, value)


def _unknown(kind: type[enum.StrEnum], value: str) -> enum.StrEnum:
    """A member that stands for what a later release has stored: during an upgrade, processes of both read one database."""
    member = str.__new__(kind, value)
    member._name_ = member._value_ = value
    return member


class Base(DeclarativeBase):
    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime.datetime: db.Timestamp(),
        uuid.UUID: sa.Uuid(),
        dict[str, Any]: sa.JSON(),
        list[dict[str, str]]: sa.JSON(),
        list[dict[str, Any]]: sa.JSON(none_as_null=True),
        list[str]: sa.JSON(),
    }

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=db.new_id)
    created_at: Mapped[datetime.datetime] = mapped_column(default=db.now())


class Updated:
    """For rows that change: the time of the last change, by the database's clock."""

    updated_at: Mapped[datetime.datetime] = mapped_column(default=db.now(), onupdate=db.now())
