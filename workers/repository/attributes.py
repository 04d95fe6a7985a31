"""Which files a repository says are generated, by the `linguist-generated` attributes of the `.gitattributes` at its root."""

from __future__ import annotations

from workers.errors import EngineError
from workers.repository.git import Git

_MOST_BYTES, _MOST_PATTERNS, _MOST_CHARACTERS = 65_536, 200, 500
_SET = ("linguist-generated", "linguist-generated=true")
_UNSET = ("-linguist-generated", "linguist-generated=false")


def find_generated(git: Git, sha: str) -> list[str]:
    """The patterns of a commit in their order, with a `!` before those whose files are not generated. Empty if there are
    none, or the file cannot be read."""
    content = b""
    try:
        for chunk in git.stream("cat-file", "blob", f"{sha}:.gitattributes"):
            content += chunk
            if len(content) > _MOST_BYTES:
                break
    except EngineError:
        return []
    lines = content[:_MOST_BYTES].decode(errors="replace").split("\n")
    # The last line may be cut; a whole file ends with a line end.
    found = [pattern for line in (lines[:-1] if len(content) > _MOST_BYTES else lines) if (pattern := _pattern(line))]
    return found[-_MOST_PATTERNS:]


def _pattern(line: str) -> str | None:
    """The pattern of a line, if it is about generated files. Quoted and escaped ones are left out, as are macros."""
    pattern, *attributes = line.split() or [""]
    said = [each for each in attributes if each in _SET or each in _UNSET]
    is_plain = pattern[:1] not in ("", "#", "!", '"', "[") and "\\" not in pattern and pattern.isprintable()
    if not said or not is_plain or len(pattern) > _MOST_CHARACTERS:
        return None
    return pattern if said[-1] in _SET else f"!{pattern}"
