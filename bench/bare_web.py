"""A Flask application whose one handler inserts the rows that `POST /agent_runners` inserts, and does nothing else."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from flask import Flask, request

from app import db
from app.config import settings


def create_app(runner_id: str) -> Flask:
    """It copies the rows of that runner, which must have one session that has not started."""
    engine = db.make_engine(settings().database)
    tables = sa.MetaData()
    runners, sessions, events = (
        sa.Table(name, tables, autoload_with=engine) for name in ("agent_runners", "agent_runner_sessions", "events")
    )
    with engine.connect() as connection:
        of_runner = {"agent_runner_id": uuid.UUID(runner_id)}
        runner = connection.execute(sa.select(runners).filter_by(id=uuid.UUID(runner_id))).mappings().one()
        session = connection.execute(sa.select(sessions).filter_by(**of_runner)).mappings().one()
        event = connection.execute(sa.select(events).filter_by(**of_runner)).mappings().one()

    app = Flask(__name__)

    @app.post("/")
    def post() -> tuple[dict[str, str], int]:
        prompt = request.get_json()["prompt"]
        runner_id, session_id = db.new_id(), db.new_id()
        with engine.begin() as connection:
            connection.execute(runners.insert(), {**runner, "id": runner_id, "latest_session_id": session_id})
            connection.execute(
                sessions.insert(), {**session, "id": session_id, "agent_runner_id": runner_id, "prompt": prompt}
            )
            connection.execute(
                events.insert(),
                {**event, "id": db.new_id(), "agent_runner_id": runner_id, "session_id": session_id},
            )
        return {"id": str(runner_id), "latest_session_id": str(session_id)}, 201

    return app
