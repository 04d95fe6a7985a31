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
for name in ("apps.worker", "beat", "concurrency.prefork", "worker.autoscale", "worker.consumer", "worker.loops"):
    importlib.import_module(f"celery.{name}")
for name in ("kombu.transport.redis", "psutil", "sqlite3", "workers.preflight"):
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
