"""The prompts of the demo."""

from __future__ import annotations

COLLECT = r"""
# Collect the notes in the code, and remove blanks at the ends of lines.
set -eu
echo "Collecting TODO and FIXME notes"
{
    printf '# To do\n\n'
    grep -rnIE '(TODO|FIXME):' --exclude-dir=.git --exclude=TODO.md . | sort |
        sed -E 's/^\.\/([^:]+):([0-9]+):[^A-Za-z]*(.*)/* `\1`, line \2: \3/'
} > TODO.md
tidy=$(mktemp)
echo "Removing blanks at the ends of lines in Python files"
find . -name '*.py' -not -path './.git/*' | while read -r file; do
    sed -E 's/[[:blank:]]+$//' "$file" > "$tidy"
    cmp -s "$tidy" "$file" || cat "$tidy" > "$file"
done
"""

LINK = r"""
# Continue from the last session: its TODO.md exists.
set -eu
count=$(grep -c '^\*' TODO.md || true)
echo "Linking $count notes from the README"
printf '\nThere are [%s notes](TODO.md) on open tasks.\n' "$count" >> README.md
"""

REPORT = r"""
# Continue from the last session, and describe the files that exist now.
set -eu
echo "Counting files by kind"
{
    printf '# Files by kind\n\n'
    find . -type f -not -path './.git/*' | sed -E 's/.*\///; s/.*\././' | sort | uniq -c | sort -rn | head -20
} > FILES.md
"""

COLLECT_IN_WORDS = "Collect all TODO and FIXME notes of this repository, with file and line, in a new file TODO.md."
LINK_IN_WORDS = "Link TODO.md from the README, with the number of notes in it."
REVIEW_IN_WORDS = "Review the change that you made, and fix the problems that you find."


def prompts(given: str | None, *, is_script: bool) -> tuple[str, str]:
    """The first prompt and its follow-up. `given` is the user's own first prompt, if any."""
    if is_script:
        return (given, REPORT) if given else (COLLECT, LINK)
    return (given, REVIEW_IN_WORDS) if given else (COLLECT_IN_WORDS, LINK_IN_WORDS)
