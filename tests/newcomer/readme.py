"""The commands of README.md, as a reader copies them."""

from __future__ import annotations

import re

from tests.workers.engine import ROOT


def commands(heading: str, page: str = "README.md") -> list[str]:
    """The blocks of shell commands below a heading, in their order."""
    section = re.split(r"^## ", (ROOT / page).read_text(), flags=re.MULTILINE)
    [text] = [each for each in section if each.startswith(f"{heading}\n")]
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
