"""Who asks, and what they may."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from app.errors import Forbidden
from app.models.states import Scope

# Each scope may do what the ones it holds may. A worker reports; it does not order work.
_HOLDS = {
    Scope.READ: {Scope.READ},
    Scope.WRITE: {Scope.READ, Scope.WRITE},
    Scope.WORKER: {Scope.READ, Scope.WORKER},
    Scope.ADMIN: {Scope.READ, Scope.WRITE, Scope.WORKER, Scope.ADMIN},
}


@dataclass(frozen=True)
class Caller:
    """The holder of a token. `session_id` and `attempt` are set for a session token, which may only report on them."""

    account_id: uuid.UUID
    user_id: uuid.UUID
    token_id: uuid.UUID
    scope: Scope
    session_id: uuid.UUID | None = None
    attempt: int | None = None

    def may(self, scope: Scope) -> bool:
        return scope in _HOLDS[self.scope]

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` unless this caller's token carries `scope` and is no session token."""
        if self.session_id is not None:
            raise Forbidden(
                "a session token may only report on its own session; use a token that a person made",
                error_code="session_token_scope",
            )
        if not self.may(scope):
            raise Forbidden(
                f"this needs a token of scope {scope.value}, and yours has the scope {self.scope.value}",
                error_code="scope_missing",
            )
