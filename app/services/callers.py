"""The caller of a request, and what the scope of its token allows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from app.errors import Forbidden
from app.models.states import Role, Scope

# The scopes that each scope includes. A worker reports on work, but does not request any.
_INCLUDED = {
    Scope.READ: {Scope.READ},
    Scope.WRITE: {Scope.READ, Scope.WRITE},
    Scope.WORKER: {Scope.READ, Scope.WORKER},
    Scope.ADMIN: {Scope.READ, Scope.WRITE, Scope.WORKER, Scope.ADMIN},
}
# What a role allows at most.
_ALLOWED = {
    Role.VIEWER: {Scope.READ},
    Role.MEMBER: {Scope.READ, Scope.WRITE, Scope.WORKER},
    Role.ADMIN: set(Scope),
}


def scope_within(role: Role, scope: Scope) -> Scope:
    """What a token of that scope allows a user of that role."""
    allowed = _ALLOWED.get(role, {Scope.READ})
    if scope in allowed:
        return scope
    return Scope.WRITE if Scope.WRITE in allowed else Scope.READ


@dataclass(frozen=True)
class Caller:
    """The holder of a token, with the scope that the user's role leaves of the token's.

    `session_id` and `attempt` are set for a session token, which may only report on them. `use_is_due`: it was long ago
    that a use of the token was recorded.
    """

    account_id: uuid.UUID
    user_id: uuid.UUID
    token_id: uuid.UUID
    scope: Scope
    session_id: uuid.UUID | None = None
    attempt: int | None = None
    use_is_due: bool = False

    def may(self, scope: Scope) -> bool:
        return scope in _INCLUDED[self.scope]

    @property
    def may_write(self) -> bool:
        """Whether there is anything at all that the caller may change."""
        return self.scope != Scope.READ

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` unless the caller's token includes `scope` and is not a session token."""
        if self.session_id is not None:
            raise Forbidden(
                "A session token can only report on its own session. Use a token of a user.",
                error_code="session_token_scope",
            )
        if not self.may(scope):
            raise Forbidden(
                f"This needs the scope {scope.value}, and your token has the scope {self.scope.value}. "
                f"Use a token that includes {scope.value}.",
                error_code="scope_missing",
            )
