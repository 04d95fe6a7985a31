"""A row that one worker at a time works on: the columns of its lease. The rules are in `app/services/leases.py`."""

from __future__ import annotations

import datetime
import enum
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy.orm import Mapped, declared_attr, mapped_column, query_expression

from app.models.base import Base, Updated


class Leased(Updated, Base):
    __abstract__ = True

    WAITING: ClassVar[enum.StrEnum]
    """The state in which the row is dispatched until a worker claims it."""
    HELD: ClassVar[enum.StrEnum]
    """The state in which an attempt may hold the row."""

    if TYPE_CHECKING:
        state: Mapped[Any]

    attempt: Mapped[int] = mapped_column(default=0)
    """The number of the latest claim. It only grows, and fences every write of a worker."""
    workers_lost: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime.datetime | None]
    """Until when the latest attempt holds the row. None: no attempt holds it."""
    next_dispatch_at: Mapped[datetime.datetime | None]
    dispatches: Mapped[int] = mapped_column(default=0)
    """How often the row was dispatched since it was last claimed."""

    @declared_attr
    def locked_at(cls) -> Mapped[datetime.datetime | None]:
        """The time by the database's clock, where the row was read to be locked."""
        return query_expression(expire_on_flush=False)

    @property
    def was_stopped(self) -> bool:
        """Whether a caller or a budget stopped the row. The work of its attempt so far is then kept."""
        return False
