"""A small client for the API, for the command line and for your own programs."""

from app.client.client import Client
from app.client.errors import ClientError
from app.client.events import Event

__all__ = ["Client", "ClientError", "Event"]
