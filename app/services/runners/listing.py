"""The list of runners: what its filters mean, and how each is read from an index."""

from __future__ import annotations

import datetime
import itertools
import re
from typing import Any

import sqlalchemy as sa

from app import db
from app.config import settings
from app.errors import invalid
from app.folding import folded, folded_words
from app.models import AgentRunner, Event, Site
from app.models.states import RunnerState, Scope
from app.services import pagination
from app.services.callers import Caller
from app.services.pagination import Listing, Page, Search, after, created_between
from app.services.sites import git_names

Conditions = list[sa.ColumnElement[bool]]

CLOCK_SET_BACK = datetime.timedelta(minutes=1)
"""The database's clock may be set back by so much between the creation of a runner and of its session."""
_BRANCHES = ("branch", "result_branch")
_EQUAL = (*_BRANCHES, "user_id", "site_id", "parent_agent_runner_id")
_HAS_TRIGRAM = re.compile(r"[^\W_]{3}")


def find(caller: Caller, filters: dict[str, Any]) -> Page[AgentRunner]:
    """A page of the account's runners, the one with the newest session first. `filters` as in the GET.

    Raises `Invalid` for an agent that the deployment does not have and that none of the runners shows.
    """
    caller.require(Scope.READ)
    if agent := filters.get("agent"):
        _refuse_unknown(caller, agent)
    shared = _shared(caller, filters)
    search = _search(caller, filters, shared)
    if search is not None:
        db.plan_for_values()
    # The rows that an index for text finds are in no order, so they are looked up once, for all states.
    parts = _parts(filters, shared) if search is None else [[*shared, *_any_of(filters), *_texts(filters)]]
    keys = (AgentRunner.last_session_created_at, AgentRunner.id)
    return pagination.find(Listing(AgentRunner, keys, parts, True, search), filters)


def _refuse_unknown(caller: Caller, agent: str) -> None:
    known = settings().agents
    shown = sa.exists().where(AgentRunner.account_id == caller.account_id, AgentRunner.latest_session_agent == agent)
    # Runners also show agents that the deployment had once.
    if agent not in known and not db.session.scalar(sa.select(shown)):
        message = (
            f"no runner has the agent '{agent}', and this deployment does not have it; name one of {', '.join(known)}"
        )
        raise invalid("agent", message, error_code="unknown_agent")


def _shared(caller: Caller, filters: dict[str, Any]) -> Conditions:
    """The conditions that each part of the list has."""
    conditions = [AgentRunner.account_id == caller.account_id, AgentRunner.site_id.not_in(_deleted_sites(caller))]
    conditions += created_between(AgentRunner.created_at, filters)
    if filters.get("created_at_from"):
        # Implied by the condition on `created_at`, unless the clock was set back: it ends the walk through the index.
        earliest = filters["created_at_from"] - CLOCK_SET_BACK
        conditions.append(AgentRunner.last_session_created_at >= earliest)
    if (asks := filters.get("awaiting_input")) is not None:
        is_asking = sa.and_(AgentRunner.questions.is_not(None), AgentRunner.state == RunnerState.DONE)
        conditions.append(is_asking if asks else sa.not_(is_asking))
    for name in _EQUAL:
        if filters.get(name) is not None:
            value = git_names.without_prefix(filters[name]) if name in _BRANCHES else filters[name]
            conditions.append(getattr(AgentRunner, name) == value)
    if filters.get("agent"):
        conditions.append(AgentRunner.latest_session_agent == filters["agent"])
    return conditions


def _deleted_sites(caller: Caller) -> sa.Select[Any]:
    return sa.select(Site.id).where(Site.account_id == caller.account_id, Site.deleted_at.is_not(None))


def _states(filters: dict[str, Any]) -> list[RunnerState]:
    asked = filters.get("state") or [state for state in RunnerState if state != RunnerState.ARCHIVED]
    return list(dict.fromkeys(asked))


def _any_of(filters: dict[str, Any]) -> Conditions:
    """The runners of all states that are asked for, in one part."""
    conditions: Conditions = [AgentRunner.state.in_(_states(filters))]
    if filters.get("pr_state"):
        conditions.append(AgentRunner.pr_state.in_(filters["pr_state"]))
    if filters.get("since"):
        conditions.append(AgentRunner.updated_at >= filters["since"])
    return conditions


def _parts(filters: dict[str, Any], shared: Conditions) -> list[Conditions]:
    """The conditions for the runners of each state that is asked for. Every index for a filter continues with the state
    and then the order of the list."""
    asked = [[AgentRunner.state == state for state in _states(filters)]]
    if filters.get("pr_state"):
        asked.append([AgentRunner.pr_state == state for state in dict.fromkeys(filters["pr_state"])])
    within, others = _times(filters)
    by_state = [[*shared, *each, *within] for each in itertools.product(*asked)]
    return [*by_state, *([*shared, *_any_of(filters), *each] for each in others)]


def _times(filters: dict[str, Any]) -> tuple[Conditions, list[Conditions]]:
    """The conditions for `created_at_to` and `since`: for the runners whose newest session says it, which are a range of
    each index, and for the others, which existed at that time and were used or changed later, as few were."""
    used = AgentRunner.last_session_created_at
    end, since = (
        None if moment is None else sa.literal(moment, db.Timestamp())
        for moment in (filters.get("created_at_to") and after(filters["created_at_to"]), filters.get("since"))
    )
    until = [] if end is None else [used <= end]
    others = [] if end is None else [[used > end, _lived_at(end)]]
    if since is None:
        return until, others
    return [*until, used >= since], [*others, [*until, used < since, _lived_at(since)]]


def _lived_at(moment: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """Whether the runner existed at that time, and may have changed later."""
    return db.spans(AgentRunner.created_at, AgentRunner.changed_before, moment)


def _search(caller: Caller, filters: dict[str, Any], shared: Conditions) -> Search | None:
    """How to find the runners with a text."""
    conditions = [*shared, *_any_of(filters)]
    if filters.get("title"):
        conditions.append(_title_contains(folded(filters["title"])))
    if not (text := folded_words(filters.get("q", ""))):
        return Search(conditions) if filters.get("title") else None
    mine = AgentRunner.account_id == caller.account_id
    of_title = sa.select(AgentRunner.id).where(mine, _title_contains(text))
    of_prompt = sa.select(AgentRunner.id).join(Event, Event.agent_runner_id == AgentRunner.id)
    return Search(conditions, [of_title, of_prompt.where(mine, _prompt_contains(text))])


def _texts(filters: dict[str, Any]) -> Conditions:
    """The conditions of a search for one runner, where so many have the text that the first are soon found in order."""
    conditions = []
    if filters.get("title"):
        conditions.append(_title_contains(folded(filters["title"])))
    if text := folded_words(filters.get("q", "")):
        its_own = sa.select(Event.id).where(Event.agent_runner_id == AgentRunner.id, _prompt_contains(text))
        # For EXISTS, Postgres may look for all events with the text first.
        conditions.append(sa.or_(_title_contains(text), its_own.limit(1).scalar_subquery().is_not(None)))
    return conditions


def _title_contains(text: str) -> sa.ColumnElement[bool]:
    return _contains(sa.func.coalesce(AgentRunner.title_folded, sa.func.lower(AgentRunner.title)), text)


def _prompt_contains(text: str) -> sa.ColumnElement[bool]:
    return sa.and_(Event.prompt_folded.is_not(None), _contains(Event.prompt_folded, text))


def _contains(column: Any, text: str) -> sa.ColumnElement[bool]:
    if not _HAS_TRIGRAM.search(text):
        # Postgres would read the whole index for the column, and then all rows. This is not the index's expression.
        column = column + ""
    found: sa.ColumnElement[bool] = column.contains(text, autoescape=True)
    return found
