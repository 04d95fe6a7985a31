"""The last turn of an agent whose budget is nearly used up: it leaves a summary, and does nothing else."""

from __future__ import annotations

import tempfile

from workers.agents.base import Agent
from workers.agents.registry import open_agent
from workers.conversations.archive import pack, remove, unpack
from workers.events import Step
from workers.job import ConversationLost, Host
from workers.sandbox import Directories, Sandbox
from workers.workspace.inputs import renew_home

REQUEST = (
    "This is your last turn, because the budget of this session is nearly used up. Call no tools and change no files; the "
    "changes so far are kept. Answer with a short summary for whoever goes on with the task: what is done, what is not "
    "done yet, and what they have to know."
)
STEP = Step("The agent is asked for a summary", "Most of the session's budget is used, and it ends after this turn.")


def prepare(before: Agent, host: Host, directories: Directories, sandbox: Sandbox, *, resumes: bool) -> Agent:
    """An agent for the last turn of `before`, none of whose processes is running: in its own conversation if it `resumes` and
    can, or else with the task and its last steps in words. It has the same tools, so that the provider's cache is used."""
    agent = open_agent(before.job, host.acp_agents)
    try:
        if not resumes:
            raise ConversationLost(f"{agent.name} refused to resume its session.")
        _resume(agent, before, directories, sandbox)
        agent.wrap_up(REQUEST)
    except ConversationLost:
        did = "".join(f"- {title}\n" for title in before.did)
        agent.wrap_up(f"{REQUEST}\n\nYour last steps:\n{did}\nThe task was:\n\n{before.job.prompt}")
        renew_home(directories, agent.files(sandbox.place), sandbox)
    return agent


def _resume(agent: Agent, before: Agent, directories: Directories, sandbox: Sandbox) -> None:
    """Write the files of the program again, and what it remembers beside them. Raises ConversationLost."""
    name = before.session_id
    files = agent.conversation_files(sandbox.place, name) if name else ()
    if not files:
        raise ConversationLost(f"{agent.name} cannot resume a session.")
    limit = agent.job.limits.max_conversation_bytes
    with tempfile.TemporaryFile(dir=directories.root) as archive:
        pack(directories.home, files, {**before.earlier_totals, **before.totals}, archive, agent.job.secrets, limit)
        archive.seek(0)
        remove(directories.home, files)
        renew_home(directories, agent.files(sandbox.place), sandbox)
        agent.earlier_totals = unpack(archive, directories.home, files, limit, sandbox.owner)
    agent.resumes = name
