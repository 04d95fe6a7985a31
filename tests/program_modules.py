"""What commands import, for the process that theirs are forked from. Nothing here reads a setting."""

from __future__ import annotations

import importlib

from sqlalchemy import orm

from app.config import settings

for name in ("account", "doctor", "init", "key", "migrate", "token", "up", "web", "worker"):
    importlib.import_module(f"app.cli.deployment.{name}")
for name in (
    "app.demo.forge.__main__",
    "app.web",
    "migrations.config",
    "tasks.doctor",
    "tasks.jobs.publication_jobs",
    "tasks.jobs.session_jobs",
):
    importlib.import_module(name)
for name in ("celery.apps.worker", "celery.concurrency.prefork", "celery.worker.consumer", "kombu.transport.redis"):
    importlib.import_module(name)
importlib.import_module("gunicorn.app.wsgiapp")
importlib.import_module("psutil")

for name in ("github", "machine", "messages", "record", "stuck"):
    importlib.import_module(f"tasks.doctor.{name}")
# What the first statement of each process would do otherwise.
orm.configure_mappers()

# What workers run of Celery, and what their tasks import; those themselves read settings.
for name in ("apps.worker", "beat", "concurrency.prefork", "worker.autoscale", "worker.consumer", "worker.loops"):
    importlib.import_module(f"celery.{name}")
for name in ("kombu.transport.redis", "psutil", "sqlite3", "tasks.jobs.publication_jobs", "workers.preflight"):
    importlib.import_module(name)

assert settings.cache_info().currsize == 0, "each command has settings of its own"
