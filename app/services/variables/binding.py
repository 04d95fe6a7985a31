"""Secrets that are bound to a host: what can be, and how the host gets them."""

from __future__ import annotations

import re

from app.errors import invalid
from app.models import Variable
from app.models.states import VariableStage
from app.services.unset import UNSET, Unset
from app.services.variables import names

DEFAULT_HEADER = "Authorization: Bearer"
# They are about the connection, and a secret in them would break it.
_REFUSED = re.compile(
    r"host|connection|content-length|content-encoding|transfer-encoding|accept-encoding|te|trailer|upgrade|expect|keep-alive|"
    r"cookie|proxy-.*",
    re.IGNORECASE,
)


def check(variable: Variable, value: str) -> None:
    """Raise `Invalid` for a host or a header that cannot be, and for a secret that does not fit into a header."""
    if variable.host is None:
        if variable.header is not None:
            message = "has no effect without a host. Set host as well, or leave this out"
            raise invalid("header", message, error_code="host_missing")
        return
    names.check(f"{variable.name}_URL")
    port = variable.host.partition(":")[2]
    if port and not 0 < int(port) < 65_536:
        raise invalid("host", "must have a port from 1 to 65535", error_code="bad_port")
    if not variable.secret or variable.stage != VariableStage.AGENT:
        message = "is for secrets of the stage agent. Leave secret and stage out"
        raise invalid("host", message, error_code="host_of_other_variable")
    if not (value.isascii() and value.isprintable()):
        raise invalid("value", "must be printable ASCII to be sent in a header", error_code="value_not_for_header")
    header, _ = parts(variable)
    if _REFUSED.fullmatch(header):
        message = f"must be another header: {header} belongs to the connection itself"
        raise invalid("header", message, error_code="reserved_header")


def refuse_release(variable: Variable, host: str | Unset | None, value: str | Unset) -> None:
    """Raise `Invalid` if a stored secret would go to another host, or to the agent itself, which it was not meant for."""
    if variable.host is not None and host is not UNSET and host != variable.host and value is UNSET:
        message = f"cannot change from {variable.host} without a new value, because the value was meant for that host"
        raise invalid("host", message, error_code="value_required")


def parts(variable: Variable) -> tuple[str, str]:
    """The name of the header, and the prefix of the secret there."""
    name, _, prefix = (variable.header or DEFAULT_HEADER).partition(":")
    return name.strip(), f"{prefix.strip()} " if prefix.strip() else ""
