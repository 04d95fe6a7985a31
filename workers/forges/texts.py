"""Titles and bodies as a forge takes them: shortened to its limits, and a draft marked in its title where that is how."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    """The limits of a forge, in characters, and its mark for drafts: `prefix` is added, `mark` is recognized."""

    title_characters: int
    body_characters: int
    prefix: str = ""
    mark: re.Pattern[str] | None = None
    is_utf16: bool = False
    """Whether the forge counts units of UTF-16, of which an emoji has two."""

    def title(self, title: str, *, draft: bool = False) -> str:
        """The title to send. A pull request with a shortened text is better than none."""
        title = self.prefix + self.plain_title(title) if draft else title
        return title if self._fits(title, self.title_characters) else self._cut(title, self.title_characters - 1) + "…"

    def body(self, body: str) -> str:
        """The body to send."""
        shortened = f"\n\n[Shortened: a description may have at most {self.body_characters:,} characters.]"
        if self._fits(body, self.body_characters):
            return body
        return self._cut(body, self.body_characters - len(shortened)) + shortened

    def _fits(self, text: str, most: int) -> bool:
        return len(text) <= most and self._cut(text, most) == text

    def _cut(self, text: str, most: int) -> str:
        if not self.is_utf16:
            return text[:most]
        # Half of a pair is left out.
        return text.encode("utf-16-le", "surrogatepass")[: 2 * most].decode("utf-16-le", "ignore")

    def changes(self, current: str, *, title: str | None, draft: bool | None) -> dict[str, str]:
        """The `title` to send so that a pull request called `current` gets these; empty if nothing is to change."""
        plain = self.plain_title(current if title is None else title)
        is_draft = draft if draft is not None else self.is_draft(current) or self.is_draft(title or "")
        wanted = self.title(plain, draft=is_draft)
        return {} if wanted == current else {"title": wanted}

    def is_draft(self, title: str) -> bool:
        """Whether the title marks a draft."""
        return bool(self.mark and self.mark.match(title))

    def plain_title(self, title: str) -> str:
        """The title without the mark of a draft."""
        return self.mark.sub("", title, count=1) if self.mark else title
