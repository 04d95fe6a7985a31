"""An agent for tests that has a model: its prompt is a script, and the script calls the model."""

from __future__ import annotations

from workers.agents.shell import ShellAgent


class Caller(ShellAgent):
    """Is pointed at the gateway."""

    api = "openai"
    variables = ("OPENAI_",)
    key = "OPENAI_API_KEY"
    provider = ("OPENAI_BASE_URL", "https://api.openai.com/v1")


class Trusting(Caller):
    """Is not, and so has the key itself."""

    api = None


def ask(model: str = "gpt-5", *said: str) -> str:
    """A command that calls the model once."""
    content = "\\n".join(said).replace('"', '\\"') or "hello"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{content}"}}], "tools": [{{"function": {{"name": "bash"}}}}]}}'
    return f"curl -sSf $OPENAI_BASE_URL/chat/completions -H \"Authorization: Bearer $OPENAI_API_KEY\" -d '{body}'"
