"""Which names a variable may have."""

from __future__ import annotations

from app.errors import invalid

_PREFIXES = {
    "AGENT_RUNNERS_": "belongs to Agent Runners",
    "GIT_": "would change how git works",
    **dict.fromkeys(("LD_", "DYLD_", "GLIBC_", "MALLOC_"), "is for the program loader"),
}
_SANDBOX = "is set by the sandbox"
_PROXY = "is set by the sandbox, whose proxy is the only way to the network. Set egress_hosts of the site instead"
_NAMES = {
    **dict.fromkeys(("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "PWD", "OLDPWD"), _SANDBOX),
    **dict.fromkeys(("IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS"), "would change how shells read scripts"),
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY"), _PROXY),
}
_MODEL_URL = "_BASE_URL"
"""How the names of all variables end that say where an agent's model is. A test compares it with the adapters."""


def check(name: str) -> None:
    """Refuse a name that something else depends on. Raises `Invalid` with the reason and a remedy."""
    upper = name.upper()
    reason = next((why for prefix, why in _PREFIXES.items() if upper.startswith(prefix)), _NAMES.get(upper))
    if reason is None and upper.endswith(_MODEL_URL):
        reason = (
            "ends in _BASE_URL, which names the server of a model. Only the operator may set that, because the "
            "operator's keys are sent there"
        )
    if reason is not None:
        raise invalid("name", f"{name} {reason}. Use another name.", error_code="reserved_name")
