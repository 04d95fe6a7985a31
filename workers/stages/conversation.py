"""The agent's conversation across sessions: it continues where the earlier session left off, and is kept for the next.

Where what the agent remembers is not there any more, or another agent continues, the earlier sessions are handed over
in words.
"""

from __future__ import annotations

import logging
import re
import tempfile

from workers.agents.base import Agent
from workers.conversations.archive import pack, remove, unpack
from workers.errors import EngineError
from workers.events import Step
from workers.job import ConversationLost, Job
from workers.sandbox import Directories, Sandbox
from workers.workspace.diffs import Chunks
from workers.workspace.inputs import renew_home

log = logging.getLogger(__name__)

_RESUMED = "The conversation is resumed"
_IN_WORDS = "The earlier conversation was handed over in words"
_NOT_KEPT = "The conversation was not kept"
_GO_ON = (
    "You began the task below, and had to stop because your model took no more calls. Your changes so far are in the "
    "files. Go on from there.\n\n"
)
_ANOTHER = "A follow-up gets a summary in words instead."
# It becomes an argument of the agent's program, and a part of file names.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_REFUSALS = ("agent_failed", "agent_no_result")


def go_on(agent: Agent, job: Job, directories: Directories, sandbox: Sandbox) -> Step | None:
    """Prepare the agent to continue the conversation of `job`, if there is one. Returns the step that says how.

    Raises EngineError as reading the stored files does, unless they are gone or damaged.
    """
    earlier = job.conversation
    if earlier is None or not agent.converses:
        return None
    reason = earlier.reason
    if earlier.session_id and earlier.state:
        files = agent.conversation_files(sandbox.place, earlier.session_id)
        try:
            if not files:
                raise ConversationLost(f"{agent.name} cannot resume a session.")
            with tempfile.TemporaryFile(dir=directories.root) as archive:
                for chunk in earlier.state():
                    archive.write(chunk)
                archive.seek(0)
                limit = job.limits.max_conversation_bytes
                agent.earlier_totals = unpack(archive, directories.home, files, limit, sandbox.owner)
            agent.resumes = earlier.session_id
            if job.earlier:
                agent.hand_over(_GO_ON)
            return Step(_RESUMED, f"{agent.name} resumes its session {earlier.session_id}.")
        except ConversationLost as lost:
            reason = str(lost)
    return _hand_over(agent, job, reason)


def has_refused(agent: Agent, failure: EngineError) -> bool:
    """Whether the agent failed because it could not resume its session: it ended before it began to work."""
    return agent.resumes is not None and agent.session_id is None and failure.code in _REFUSALS


def begin_anew(agent: Agent, job: Job, refusal: EngineError, directories: Directories, sandbox: Sandbox) -> Step:
    """Prepare a new `agent` after one that has refused to resume its session. Returns the step that says so."""
    earlier = job.conversation
    assert earlier and earlier.session_id
    remove(directories.home, agent.conversation_files(sandbox.place, earlier.session_id))
    renew_home(directories, agent.files(sandbox.place), sandbox)
    return _hand_over(agent, job, f"{agent.name} could not resume its session {earlier.session_id}.\n{refusal.message}")


def _hand_over(agent: Agent, job: Job, reason: str) -> Step:
    assert job.conversation
    agent.hand_over(job.conversation.words())
    return Step(_IN_WORDS, reason)


def keep(agent: Agent, job: Job, directories: Directories, sandbox: Sandbox) -> tuple[str | None, Step | None]:
    """Store what the agent remembers of its session. Returns its id, if it was stored, and the step that says why not.

    No process of the agent may be running. Never raises an Exception.
    """
    name = agent.session_id
    if name is None or not job.limits.max_conversation_bytes:
        return None, None
    if not _ID.fullmatch(name) or job.secrets.redact(name) != name:
        return None, Step(_NOT_KEPT, f"{agent.name} reported an id of its session that cannot be used. {_ANOTHER}")
    files = agent.conversation_files(sandbox.place, name)
    if not files:
        return None, None
    try:
        with tempfile.TemporaryFile(dir=directories.root) as archive:
            pack(directories.home, files, agent.totals, archive, job.secrets, job.limits.max_conversation_bytes)
            job.sink.write_conversation(Chunks(archive))
    except ConversationLost as lost:
        return None, Step(_NOT_KEPT, f"{lost} {_ANOTHER}")
    except Exception:
        log.exception("a conversation could not be kept")
        return None, Step(_NOT_KEPT, f"It could not be stored. The worker's log has the reason. {_ANOTHER}")
    return name, None
