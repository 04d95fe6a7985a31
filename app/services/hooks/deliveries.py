"""Takes what other systems deliver to hooks, and creates runners and follow-ups for it."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from app import db, keys
from app.errors import AppError, Conflict, Invalid, NotFound, TooLarge, TooMany, Unauthorized
from app.models import AgentRunner, Hook, HookDelivery, Site
from app.models.states import HookDeliveryState, RunnerState, Scope
from app.services import lookup
from app.services.callers import Caller
from app.services.hooks import authenticity, templates
from app.services.runners import agent_runner_sessions, agent_runners, run_settings
from app.services.runners.agent_runners import Prepared
from app.services.runners.creation import FollowUp

MOST_WAITING = 100
"""Of one hook."""
KEPT_SECONDS = 30 * 86_400.0
_SUBJECT_LENGTH = 200
_PROMPT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Received:
    """A request to a hook: its JSON, and the sender's id of the delivery, if it sent one."""

    request: authenticity.Request
    data: Any
    delivery_id: str | None


def authenticate(hook_id: uuid.UUID, request: authenticity.Request) -> uuid.UUID:
    """The account of the hook. Raises `Unauthorized` unless there is such a hook and the request has its secret, and
    `SecretKeyChanged`."""
    query = sa.select(Hook.account_id, Hook.secret_encrypted).where(Hook.id == hook_id)
    hook = db.session.execute(query).one_or_none()
    # Somebody without its secret does not learn whether there is a hook.
    if hook is None or not _is_authentic(request, hook.secret_encrypted):
        message = "The request has neither a valid signature nor the secret of this hook. docs/hooks.md has both."
        raise Unauthorized(message, error_code="hook_secret_wrong")
    account_id: uuid.UUID = hook.account_id
    return account_id


def _is_authentic(request: authenticity.Request, encrypted: str) -> bool:
    return authenticity.is_authentic(request, keys.decrypt(encrypted, "The secret of this hook"))


def receive(hook_id: uuid.UUID, received: Received) -> HookDelivery:
    """Record a delivery, and create the runner or follow-up that it asks for.

    One whose runner is at work waits for it. One that was delivered before is returned as it is.
    """
    authenticate(hook_id, received.request)
    # Deliveries to a hook come one after the other, so that two of one subject do not create a runner each.
    hook = db.session.scalars(lookup.locked(sa.select(Hook).where(Hook.id == hook_id), Hook)).one()
    if received.delivery_id is not None and (known := _find(hook, received.delivery_id)):
        return known
    site = db.session.scalar(sa.select(Site).where(Site.id == hook.site_id, Site.deleted_at.is_(None)))
    if site is None or not hook.active:
        raise NotFound("This hook is not active. Its owner can make it active again.", error_code="hook_not_found")
    delivery = HookDelivery(hook_id=hook.id, delivery_id=received.delivery_id, state=HookDeliveryState.IGNORED)
    if _is_meant(hook, received.data):
        delivery.subject = (
            templates.fill(hook.subject, received.data, _SUBJECT_LENGTH)[:_SUBJECT_LENGTH] if hook.subject else None
        )
        delivery.prompt = _prompt(hook, received.data)
        _start(hook, site, delivery)
    db.session.add(delivery)
    db.session.flush()
    return delivery


def find_waiting(limit: int) -> list[uuid.UUID]:
    """Deliveries that waited for a runner which is done: of each account the oldest one, then the next ones.

    Those whose runner is at work are left out, so they delay no others, however many they are.
    """
    is_at_work = AgentRunner.state.in_((RunnerState.NEW, RunnerState.RUNNING))
    turn = sa.func.row_number().over(partition_by=Hook.account_id, order_by=HookDelivery.created_at)
    waiting = (
        sa.select(HookDelivery.id)
        .join(Hook, Hook.id == HookDelivery.hook_id)
        .join(AgentRunner, AgentRunner.id == HookDelivery.agent_runner_id)
        .where(HookDelivery.state == HookDeliveryState.WAITING, sa.not_(is_at_work))
    )
    return list(db.session.scalars(waiting.order_by(turn, HookDelivery.created_at).limit(limit)))


def start_waiting(delivery_id: uuid.UUID) -> None:
    """Create the follow-up of a delivery that waits, if its runner is not at work any more."""
    delivery = db.session.get(HookDelivery, delivery_id)
    if delivery is None:
        return
    hook = db.session.scalars(lookup.locked(sa.select(Hook).where(Hook.id == delivery.hook_id), Hook)).one()
    db.session.refresh(delivery)
    if delivery.state != HookDeliveryState.WAITING:
        return
    try:
        _start(hook, db.session.get_one(Site, hook.site_id), delivery)
    except TooMany:
        # It keeps waiting, now for room in the queue.
        return
    except AppError as error:
        delivery.state, delivery.error, delivery.prompt = HookDeliveryState.FAILED, error.message, None


def forget_old() -> None:
    """Delete deliveries that are older than 30 days, other than those that wait."""
    old = (HookDelivery.created_at < db.now(-KEPT_SECONDS), HookDelivery.state != HookDeliveryState.WAITING)
    db.session.execute(sa.delete(HookDelivery).where(*old))


def _find(hook: Hook, delivery_id: str) -> HookDelivery | None:
    mine = (HookDelivery.hook_id == hook.id, HookDelivery.delivery_id == delivery_id)
    return db.session.scalar(sa.select(HookDelivery).where(*mine))


def _is_meant(hook: Hook, data: Any) -> bool:
    return all(templates.text_at(each["place"], data) == each["equals"] for each in hook.conditions)


def _prompt(hook: Hook, data: Any) -> str:
    prompt = templates.fill(hook.prompt, data, _PROMPT_BYTES)
    if len(prompt.encode()) > _PROMPT_BYTES:
        raise TooLarge(f"The prompt has more than {_PROMPT_BYTES} bytes once it is filled. Use fewer values in it.")
    if not prompt.strip():
        raise Invalid("The prompt is blank once it is filled: the JSON has none of its values.", error_code="blank")
    return prompt


def _start(hook: Hook, site: Site, delivery: HookDelivery) -> None:
    """Create the runner or the follow-up, or let the delivery wait for its runner."""
    caller = Caller(hook.account_id, hook.user_id, hook.id, Scope.WRITE)
    assert delivery.prompt is not None
    runner = _find_runner(hook, delivery.subject)
    if runner is not None and runner.state in (RunnerState.NEW, RunnerState.RUNNING):
        _wait(hook, delivery, runner)
        return
    if runner is None:
        new = run_settings.new_runner(site, hook, delivery.prompt, None)
        runner, session = agent_runners.create(caller, replace(new, quotes_others=True), Prepared())
    else:
        try:
            follow_up = FollowUp(**asdict(run_settings.new_session(hook, delivery.prompt)))
            follow_up = replace(follow_up, quotes_others=True)
            session = agent_runner_sessions.create(caller, runner.id, follow_up, {})
        except Conflict:
            # Somebody else's session of the runner began in this moment.
            _wait(hook, delivery, runner)
            return
    delivery.agent_runner_id, delivery.session_id = runner.id, session.id
    delivery.state, delivery.prompt = HookDeliveryState.STARTED, None


def _wait(hook: Hook, delivery: HookDelivery, runner: AgentRunner) -> None:
    delivery.agent_runner_id = runner.id
    if delivery.state == HookDeliveryState.WAITING:
        return
    waiting = (HookDelivery.hook_id == hook.id, HookDelivery.state == HookDeliveryState.WAITING)
    if db.session.scalars(sa.select(sa.func.count()).where(*waiting)).one() >= MOST_WAITING:
        message = f"{MOST_WAITING} deliveries of this hook wait for their runners. Try again later."
        raise TooMany(message, error_code="queue_full", headers={"Retry-After": "60"})
    delivery.state = HookDeliveryState.WAITING


def _find_runner(hook: Hook, subject: str | None) -> AgentRunner | None:
    """The runner of the last delivery with this subject that was started, unless it is archived."""
    if not subject:
        return None
    query = (
        sa.select(AgentRunner)
        .join(HookDelivery, HookDelivery.agent_runner_id == AgentRunner.id)
        .where(HookDelivery.hook_id == hook.id, HookDelivery.subject == subject)
        # Others may wait for a runner that was archived since.
        .where(HookDelivery.state == HookDeliveryState.STARTED)
        .order_by(HookDelivery.created_at.desc())
        .limit(1)
    )
    runner = db.session.scalar(query)
    return None if runner is None or runner.is_archived else runner
