"""No sandbox: commands run directly on the machine, because the operator chose it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.errors import Stage
from workers.job import Limits
from workers.processes.launch import Launch
from workers.sandbox.base import Directories, Place, minimal_environment, resource_limits


class NoSandbox:
    """Home and temporary files are in the workspace, so that an attempt leaves no files behind by accident."""

    description = (
        "There is no sandbox, as the operator chose: the agent runs on the worker's machine, with its network access."
    )
    owner: int | None = None

    def __init__(self, directories: Directories, limits: Limits) -> None:
        self._limits = limits
        temporary = directories.home / "tmp"
        temporary.mkdir(exist_ok=True)
        self.place = Place(
            checkout=str(directories.checkout),
            home=str(directories.home),
            temporary=str(temporary),
            attachments=str(directories.attachments),
            isolated=False,
        )

    def launch(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        runtime_paths: Sequence[Path] = (),
        stage: Stage = "agent",
    ) -> Launch:
        path = os.environ.get("PATH", os.defpath)
        return Launch(
            command=command,
            environment={**minimal_environment(self.place, path, runtime_paths), **environment},
            directory=self.place.checkout,
            limits=resource_limits(self._limits),
        )
