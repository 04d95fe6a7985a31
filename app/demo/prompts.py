"""What the demo asks of the agent."""

from __future__ import annotations

COLLECT = r"""
# Collect the notes that stand in the code, and tidy the ends of lines.
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
# Go on from what the last session left: its TODO.md is here.
set -eu
count=$(grep -c '^\*' TODO.md || true)
echo "Linking $count notes from the README"
printf '\nThere are [%s notes](TODO.md) on what is left to do.\n' "$count" >> README.md
"""

REPORT = r"""
# Go on from what the last session left, and note down what the tree looks like now.
set -eu
echo "Counting files by their kind"
{
    printf '# Files by kind\n\n'
    find . -type f -not -path './.git/*' | sed -E 's/.*\///; s/.*\././' | sort | uniq -c | sort -rn | head -20
} > FILES.md
"""

COLLECT_IN_WORDS = "Collect all TODO and FIXME notes of this repository, with file and line, in a new file TODO.md."
LINK_IN_WORDS = "Link TODO.md from the README, with the number of notes in it."
REVIEW_IN_WORDS = "Review the change that you made, and improve what you find wanting."


def prompts(given: str | None, *, is_script: bool) -> tuple[str, str]:
    """The first prompt and the one that follows up on it; `given` is the user's own first one."""
    if is_script:
        return (given, REPORT) if given else (COLLECT, LINK)
    return (given, REVIEW_IN_WORDS) if given else (COLLECT_IN_WORDS, LINK_IN_WORDS)
