"""Receives messages from the broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu.message import Message

from tasks.extensions.messages import restrict

log = structlog.get_logger()


class SafeConsumer(Consumer):
    """Drops a message that is none of ours or cannot be read, with a log entry.

    Celery does so for most that cannot be read, but some raise an error that ends the worker. The broker then delivers
    the message to the next worker, and again after each restart. Nothing is lost: the database says what there is to
    do, and the sweep sends another message.
    """

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        receive = super().create_task_handler(*args, **options)

        def receive_or_drop(message: Message) -> None:
            try:
                restrict(message)
                receive(message)
            except (*self.connection_errors, *self.channel_errors):
                # The connection is lost, and Celery makes a new one.
                raise
            except Exception as error:
                log.error("message_dropped", error=repr(error)[:1000], content_type=message.content_type)
                if not message.acknowledged:
                    message.reject_log_error(log, self.connection_errors)

        return receive_or_drop
