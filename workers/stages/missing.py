"""The steps that name what an attempt does not have: contents and folders of the checkout, tools, and agent configuration."""

from __future__ import annotations

from workers.agents.base import Agent
from workers.agents.tool_servers import left_out
from workers.events import Step, listed
from workers.workspace.workspace import Workspace

_POINTERS = "The agent sees only the pointers of these files. Keep them as they are, or replace them as a whole."
_NO_FOLDERS = "The commit {} has no such folders. Correct the site's sparse_paths if that is a mistake."


def lfs_content(workspace: Workspace) -> Step | None:
    """The files of Git LFS whose content could not be obtained."""
    lines = workspace.lfs_missing
    return Step("Files of Git LFS without their content", f"{_POINTERS}\n{listed(lines)}") if lines else None


def folders(workspace: Workspace) -> Step | None:
    """Those of the site's `sparse_paths` that the base commit does not have."""
    if not workspace.missing:
        return None
    detail = "\n".join([_NO_FOLDERS.format(workspace.base_sha[:12]), *workspace.missing])
    return Step("Folders of sparse_paths are missing", detail)


def tools(agent: Agent) -> Step | None:
    """The tools that the job names and that the agent cannot be given."""
    return left_out(agent.job, speaks_mcp=agent.speaks_mcp, can_disable_tools=agent.can_disable_tools)


def configuration(workspace: Workspace) -> Step | None:
    """The agent configuration that was withheld."""
    title = "Agent configuration not used, because allow_agent_configuration is off for the site"
    return Step(title, listed(workspace.withheld)) if workspace.withheld else None
