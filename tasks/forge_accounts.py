"""People's accounts on forges, on the control workers: they ask the forge whose token it is."""

from __future__ import annotations

import uuid

import structlog

from app import db
from app.keys import SecretKeyChanged
from app.models import ForgeAccount
from app.queue import CONNECT_FORGE_ACCOUNT
from app.redaction.secrets import Secrets, redacted_logs
from app.services.accounts import forge_accounts
from tasks.celery_app import app
from tasks.jobs.host import this_host
from workers.errors import EngineError
from workers.forges.http import Limits
from workers.forges.identity import Identity, get_identity

log = structlog.get_logger()
# Two short calls at most.
_LIMITS = Limits(call_seconds=15.0, total_seconds=40.0, calls=8)


@app.task(name=CONNECT_FORGE_ACCOUNT)
def connect_forge_account(forge_account_id: str) -> None:
    """Ask the forge whose token it is, and record that."""
    row_id = uuid.UUID(forge_account_id)
    with db.transaction():
        account = forge_accounts.claim(row_id)
    if account is None:
        return
    with structlog.contextvars.bound_contextvars(forge_account_id=forge_account_id):
        try:
            found = _ask(account)
        except (EngineError, SecretKeyChanged) as error:
            code = error.code if isinstance(error, EngineError) else error.error_code
            log.info("forge_account_not_connected", code=code)
            with db.transaction():
                forge_accounts.fail(row_id, code, error.message)
            return
    with db.transaction():
        forge_accounts.succeed(row_id, login=found.login, name=found.name, email=found.email)


def _ask(account: ForgeAccount) -> Identity:
    """Whose token it is. Raises EngineError without the token, and `SecretKeyChanged`."""
    token = forge_accounts.token_of(account)
    with redacted_logs(Secrets(token)):
        return get_identity(account.forge.value, account.forge_api_url, token, this_host(account.account_id), _LIMITS)
