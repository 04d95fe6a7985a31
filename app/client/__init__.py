"""A small client of the API, for the command line and for programs of yours."""

from app.client.client import Client
from app.client.errors import ClientError
from app.client.events import Event

__all__ = ["Client", "ClientError", "Event"]
