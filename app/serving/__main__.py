"""Runs gunicorn: `python -m app.serving ARGUMENTS`, started by `agent-runners web`."""

from app import process_start

process_start.begin()

from gunicorn.app.wsgiapp import run  # noqa: E402

if __name__ == "__main__":
    run(prog="gunicorn")
