"""What the calls of one attempt have used, as its gateway counts them, and how they ended."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from workers.egress.gateway.counts import Counts
from workers.egress.gateway.process import Ended, Limited, Report, Used
from workers.errors import EngineError
from workers.events import Refusal, Step, Usage
from workers.limits.budget import Budget
from workers.limits.prices import Prices

# A reset at least this far away is a quota that is used up, rather than a rate that was exceeded for a moment.
_QUOTA_SECONDS = 60.0
# So many refusals in a row end a session whose program would continue. So many answers in a row that break off are no accident.
_REFUSALS = 3
# So many answers in a row that break off. Most programs give up earlier; each try costs.
_MOST_BROKEN = 10
# Codes of failures that do not say what happened.
_UNEXPLAINED = ("agent_failed", "agent_no_result")
_CUT = "Its server ended it before it was complete."


class Spending:
    """Totals of an attempt. `count` is called by the gateway's thread, everything else by the attempt's."""

    def __init__(self, budget: Budget, prices: Prices, keys: str, patience: float = 60.0) -> None:
        """`keys` names the variables with the keys of the providers. `patience` is for how many seconds a provider may refuse
        calls in a row."""
        self._budget, self._prices, self._keys, self._patience = budget, prices, keys, patience
        self._lock = threading.Lock()
        self._calls: dict[int, tuple[Counts, float | None]] = {}
        self._unpriced: set[str] = set()
        self._steps: list[Step] = []
        self._limited: Limited | None = None
        self._broken: Ended | None = None
        """The last answer, if it broke off."""
        self._broken_turn: Ended | None = None
        """The last answer of the conversation, if it broke off: not one for a title and the like."""
        self._has_tools = False
        """Whether a call has offered tools. Then those of the conversation do, and the others do not."""
        self._broke_off = 0
        """How many answers in a row broke off."""
        self._refused = 0
        """How many calls in a row the provider has refused."""
        self._refused_since = 0.0
        """When it refused the first of them, by the monotonic clock."""
        self._has_news = False
        self._knows_all = True

    def count(self, report: Report) -> bool:
        """Count a call, and what it cost, or note what else there is to report. Returns whether the budget allows more."""
        if not isinstance(report, Used):
            with self._lock:
                self._note(report)
            return True
        price = self._prices.find(report.model, report.url, report.counts) if report.counts else None
        with self._lock:
            self._has_news, self._limited, self._refused = True, None, 0
            if report.counts is None:
                self._note_uncounted()
                return True
            self._calls[report.call] = (report.counts, price)
            if price is None:
                self._note_unpriced(report)
            return not self._budget.is_exceeded(self._spent())

    def news(self) -> bool:
        """Whether anything was counted since the last call."""
        with self._lock:
            news, self._has_news = self._has_news, False
        return news

    def steps(self) -> Iterator[Step]:
        """What there is to say besides: of requests that were refused, and of what could not be counted."""
        with self._lock:
            steps, self._steps = self._steps, []
        yield from steps

    @property
    def has_counted(self) -> bool:
        """Whether `usage` has counted totals, rather than what the agent reports."""
        with self._lock:
            return bool(self._calls)

    def usage(self, reported: Usage | None) -> Usage | None:
        """The totals: those that were counted, and what only the agent knows, which it `reported`."""
        with self._lock:
            if not self._calls:
                return reported
            counted = self._spent()
            cost = None if self._unpriced else counted.cost_usd
        known = reported or Usage()
        return dataclasses.replace(
            counted, cost_usd=known.cost_usd if cost is None else cost, tool_calls=known.tool_calls
        )

    def charged(self, usage: Usage) -> Usage:
        """`usage` as it counts for the budget: where its cost is not known, the part of it that is."""
        with self._lock:
            known = self._spent().cost_usd
        return usage if usage.cost_usd is not None else dataclasses.replace(usage, cost_usd=known)

    def check_provider(self) -> None:
        """Raise what `explain` returns if the provider refuses the key, says that the account is used up, has taken no call for
        longer than the patience, or completes no answer.

        Programs would try again for minutes, some without end. One refusal is not enough: some keys are good for some models
        only, and programs call others, too.
        """
        with self._lock:
            limited, refused, since = self._limited, self._refused, self._refused_since
            broken, broke_off = self._broken, self._broke_off
        if broken and broke_off >= _MOST_BROKEN:
            raise _unavailable(broken, f"So did {broke_off - 1} before it.")
        if limited is None or refused < _REFUSALS:
            return
        failure = self._limit(limited, limited.message)
        if failure.code in ("agent_auth", "quota") or time.monotonic() - since >= self._patience:
            raise failure

    def begin(self) -> None:
        """Another agent begins: what became of its predecessor's calls does not concern it."""
        with self._lock:
            self._limited, self._refused = None, 0
            self._broken, self._broken_turn, self._broke_off, self._has_tools = None, None, 0, False

    def explain(self, failure: EngineError | None) -> EngineError | None:
        """The failure of an agent, or the cause of it: the provider refused its last call, or did not complete the last answer.

        Some programs take the beginning of an answer for all of it, and report success.
        """
        with self._lock:
            limited, broken, turn = self._limited, self._broken or self._broken_turn, self._broken_turn
            broke_off = self._broke_off
        if limited and (failure or turn):
            return self._limit(limited, failure.message if failure else _CUT)
        if turn and failure is None:
            explained = _unavailable if broke_off >= _REFUSALS else _incomplete
            return explained(turn, "The agent took it for all of the answer.")
        if broken and failure and failure.code in _UNEXPLAINED:
            return _unavailable(broken, failure.message)
        return failure

    def _note(self, report: Ended | Limited | Refusal) -> None:
        match report:
            case Ended():
                self._broken = None if report.complete else report
                self._has_tools |= report.offers_tools
                if report.offers_tools or not self._has_tools:
                    self._broken_turn = self._broken
                self._broke_off = 0 if report.complete else self._broke_off + 1
                if self._broken:
                    self._steps.append(Step("The model's answer broke off", report.error or _CUT, category="system"))
            case Limited():
                if not self._refused:
                    self._refused_since = time.monotonic()
                self._limited = report
                self._refused += 1
            case Refusal():
                self._steps.append(report)

    def _limit(self, limited: Limited, said: str) -> EngineError:
        """The failure for a call that the provider did not take. `said` is used where it gave no reason."""
        wait = limited.reset_at - time.time() if limited.reset_at is not None else None
        when = f" It accepts calls again at {_format_time(limited.reset_at)}." if limited.reset_at is not None else ""
        reason = f"\n{limited.message or said}"
        if limited.status == 401:
            return EngineError(
                "agent_auth", "agent", f"The model provider refused the key. Check {self._keys}.{reason}"
            )
        if limited.status >= 500:
            message = f"The server of the model is overloaded or fails (HTTP {limited.status}).{when} Try again later.{reason}"
            return EngineError("model_unavailable", "agent", message, retryable=True, retry_at=limited.reset_at)
        if limited.exhausted or (wait is not None and wait >= _QUOTA_SECONDS):
            message = f"The quota of the model provider is used up.{when} Add credit there, or use another key.{reason}"
            return EngineError("quota", "agent", message, retryable=True, retry_at=limited.reset_at)
        message = f"The model provider is at its rate limit.{when} Try again later.{reason}"
        return EngineError("agent_rate_limited", "agent", message, retryable=True, retry_at=limited.reset_at)

    def _spent(self) -> Usage:
        """The sum of all calls. Those whose price is unknown count as tokens only."""
        counts = [each for each, _ in self._calls.values()]
        return Usage(
            input_tokens=sum(each.given for each in counts),
            output_tokens=sum(each.produced for each in counts),
            cached_input_tokens=sum(each.cached for each in counts),
            cost_usd=sum(price for _, price in self._calls.values() if price is not None),
        )

    def _note_unpriced(self, report: Used) -> None:
        name = report.model or "a model without a name"
        if name in self._unpriced:
            return
        self._unpriced.add(name)
        if self._budget.limits.max_cost_usd is not None:
            message = (
                f"The price of {name} is not known, so max_cost_usd does not limit its calls. Set max_tokens, or have "
                "the operator add the price (AGENT_RUNNERS_PRICES_FILE)."
            )
            self._steps.append(Step("The cost of this session is not known", message))

    def _note_uncounted(self) -> None:
        limits = self._budget.limits
        if self._knows_all and (limits.max_tokens, limits.max_cost_usd) != (None, None):
            message = "The model's server did not say what a call used, so the limits do not count it."
            self._steps.append(Step("Not all of this session's usage is known", message))
        self._knows_all = False


def _incomplete(broken: Ended, said: str) -> EngineError:
    """One answer that breaks off does not say that the server fails."""
    message = f"The model's last answer broke off. {broken.error or _CUT} Run the session again.\n{said}"
    return EngineError("agent_failed", "agent", message, retryable=True)


def _unavailable(broken: Ended, said: str) -> EngineError:
    """The server completes no answers."""
    message = f"The model's last answer broke off. {broken.error or _CUT} Try again later.\n{said}"
    return EngineError("model_unavailable", "agent", message, retryable=True)


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
