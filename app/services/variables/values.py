"""The variables that a site's sessions get: those of the account, and those of the site in their place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from app import db, keys
from app.keys import SecretKeyChanged
from app.models import Site, Variable
from app.models.states import VariableStage


def encrypt(value: str) -> tuple[str, str]:
    """The value as it is stored, and its fingerprint."""
    return keys.encrypt(value), keys.fingerprint_of(value)


def decrypt(variable: Variable) -> str:
    """The value; raises `SecretKeyChanged`."""
    return keys.decrypt(variable.value_encrypted, f"The variable {variable.name}")


@dataclass(frozen=True)
class Variables:
    """The variables of a site's sessions. Values are decrypted where they are needed."""

    rows: Sequence[Variable] = ()

    def environment(self, stage: VariableStage) -> dict[str, str]:
        """The variables for `stage`, which is not BOTH; raises `SecretKeyChanged`."""
        return {row.name: decrypt(row) for row in self._of(stage)}

    def bound(self) -> Sequence[Variable]:
        """The secrets that only a host gets."""
        return [row for row in self.rows if row.host is not None]

    def fingerprint(self, stage: VariableStage) -> str:
        """Changes with any name or value of the variables for `stage`. Empty if there are none."""
        found = sorted((row.name, row.fingerprint) for row in self._of(stage))
        return keys.fingerprint_of(json.dumps(found)) if found else ""

    def _of(self, stage: VariableStage) -> Iterator[Variable]:
        return (row for row in self.rows if row.host is None and row.stage in (stage, VariableStage.BOTH))

    def secret_values(self) -> Iterator[str]:
        """The values that must not be shown. One that cannot be decrypted cannot leak either."""
        for row in self.rows:
            if row.secret:
                with contextlib.suppress(SecretKeyChanged):
                    yield decrypt(row)


def of_site(site: Site) -> Variables:
    """The variables of the site's sessions. One of the site takes the place of one of the account."""
    rows = sorted(db.session.scalars(sa.select(Variable).where(are_of(site))), key=lambda row: row.site_id is not None)
    return Variables(list({row.name: row for row in rows}.values()))


def are_of(site: Site | type[Site]) -> sa.ColumnElement[bool]:
    """Selects the variables of the account and of the site itself."""
    of_account = sa.and_(Variable.account_id == site.account_id, Variable.site_id.is_(None))
    return sa.or_(of_account, Variable.site_id == site.id)
