"""What commands import, for the process that theirs are forked from. Nothing here reads a setting."""

from __future__ import annotations

import gc
import importlib

from sqlalchemy import orm

from app.config import settings

for name in ("account", "doctor", "init", "key", "migrate", "token", "up", "web", "worker"):
    importlib.import_module(f"app.cli.deployment.{name}")
for name in ("app.demo.forge.__main__", "app.web", "gunicorn.app.wsgiapp", "migrations.config", "tasks.doctor"):
    importlib.import_module(name)
for name in ("github", "machine", "messages", "record", "stuck"):
    importlib.import_module(f"tasks.doctor.{name}")
# What workers run of Celery, and what their tasks import; those themselves read settings.
for name in ("app.amqp", "app.control", "apps.worker", "backends.base", "beat", "concurrency.prefork"):
    importlib.import_module(f"celery.{name}")
for name in ("events.receiver", "worker.autoscale", "worker.consumer", "worker.loops"):
    importlib.import_module(f"celery.{name}")
# The databases, and what else is imported where it is first used.
for name in ("app.postgres_cursor", "kombu.transport.redis", "psutil", "sqlite3"):
    importlib.import_module(name)
for name in ("workers.preflight", "workers.sandbox.layers"):
    importlib.import_module(name)
for name in ("publication_jobs", "session_jobs"):
    importlib.import_module(f"tasks.jobs.{name}")
# It has the function that each of the processes begins with.
importlib.import_module("tests.program")
# What the first statement of each process would do otherwise.
orm.configure_mappers()

assert settings.cache_info().currsize == 0, "each command has settings of its own"

# What is imported stays. A look at all of it by the garbage collector took each process a fifth of a second.
gc.freeze()
