"""Structured logs on standard error, one line for each event, without secrets. All kinds of processes share this."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

import structlog

from app.config import agent_environment, settings
from app.deployment_secrets import own_secrets
from app.escaping import readable
from app.redaction.secrets import Secrets, current_secrets, prepared

LOCAL_TIME = structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
# Celery logs each message, each task that ends and each tick of the beat. Our own lines log what matters of these.
CELERY_LOGGERS = ("celery.worker.strategy", "celery.app.trace", "celery.beat")
# Short texts come again and again: names of fields, paths, ids of callers. What is left of them is kept.
LONGEST_KEPT = 64
# These log URLs with their query strings, and a signed URL is a credential.
HTTP_LOGGERS = ("httpx", "httpcore", "werkzeug", "urllib3")


class _Handler(logging.Handler):
    """Writes to what `sys.stderr` is at the time of writing."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def configure_logging(process: str) -> None:
    """Send the events of structlog and of the standard library to standard error. Each event has the name `process`."""

    def name_process(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "process": process}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        # On a terminal it is clear which process logs, and local time is easier to read.
        *([LOCAL_TIME] if _is_text() else [structlog.processors.TimeStamper(fmt="iso", utc=True), name_process]),
    ]
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering()],
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Handler)] + [handler]
    root.setLevel(settings().log_level.upper())
    for name in HTTP_LOGGERS if root.isEnabledFor(logging.DEBUG) else (*HTTP_LOGGERS, *CELERY_LOGGERS):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _rendering() -> list[structlog.typing.Processor]:
    def redact_event(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        secrets = current_secrets() or _own()
        return _each_text(
            event, lambda text: _redacted(secrets, text) if len(text) <= LONGEST_KEPT else secrets.redact(text)
        )

    def escape_event(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return _each_text(event, readable)

    # Tracebacks are shown without local variables: one may hold a token.
    redacting: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, redact_event]
    if _is_text():
        plain = structlog.dev.plain_traceback
        return [
            *redacting,
            escape_event,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),
        ]
    # The JSON renderer escapes everything that is not plain ASCII.
    return [*redacting, structlog.processors.JSONRenderer()]


def _is_text() -> bool:
    """Whether the log is text for a person, not JSON."""
    return settings().log_format == "text" or (settings().log_format == "auto" and sys.stderr.isatty())


def _own() -> Secrets:
    """The deployment's secrets. They are read each time, because some are created after the process has started."""
    return prepared(None, tuple({**own_secrets(settings()), **agent_environment(settings())}.items()), ())


@functools.lru_cache(maxsize=512)
def _redacted(secrets: Secrets, text: str) -> str:
    return secrets.redact(text)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with `change` applied to every string in it, at any depth. Other objects become their `repr`."""
    match value:
        case str():
            return change(value)
        case dict():
            return {_each_text(name, change): _each_text(each, change) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_each_text(each, change) for each in value]
        case None | bool() | int() | float():
            return value
    return change(repr(value))
