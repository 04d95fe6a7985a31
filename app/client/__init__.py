"""A small client for the API, for the command line and for your own programs."""

from app.client.asynchronous.client import AsyncClient
from app.client.errors import ClientError
from app.client.events import Event
from app.client.synchronous.client import Client

__all__ = ["AsyncClient", "Client", "ClientError", "Event"]
