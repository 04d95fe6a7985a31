"""A variable that the commands of a site's sessions get: of one site, or of all sites of an account."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, StateType, Updated
from app.models.states import VariableStage

IS_OF_ACCOUNT, IS_OF_SITE = sa.text("site_id IS NULL"), sa.text("site_id IS NOT NULL")


class Variable(Updated, Base):
    __tablename__ = "variables"
    __table_args__ = (
        Index(
            "ix_variables_of_account",
            *("account_id", "name"),
            unique=True,
            sqlite_where=IS_OF_ACCOUNT,
            postgresql_where=IS_OF_ACCOUNT,
        ),
        Index(
            "ix_variables_of_site",
            *("site_id", "name"),
            unique=True,
            sqlite_where=IS_OF_SITE,
            postgresql_where=IS_OF_SITE,
        ),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"))
    site_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("sites.id"))
    """None: it is for all sites of the account."""
    name: Mapped[str] = mapped_column(String(200))
    value_encrypted: Mapped[str] = mapped_column(Text)
    secret: Mapped[bool]
    stage: Mapped[VariableStage] = mapped_column(StateType(VariableStage))
    host: Mapped[str | None] = mapped_column(String(255))
    """The only host that gets the value, as `host` or `host:port`. None: the commands get it."""
    header: Mapped[str | None] = mapped_column(String(200))
    """The header that the host gets it in, and its prefix there: `Authorization: Bearer`."""
    fingerprint: Mapped[str] = mapped_column(String(16))
    """Shows whether the value is another one, and reveals nothing else about it."""
    version: Mapped[int] = mapped_column(default=1)
    updated_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
