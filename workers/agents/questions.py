"""What an agent asks: the questions that it leaves in a file, or reports. It is not trusted, so they are checked again."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from workers.agents.ask_server import MOST_CHOICES, MOST_QUESTIONS
from workers.agents.plain_output import plain_text
from workers.agents.values import objects, text_of
from workers.events import Question, Step

FILE = ".agent-runners/questions.json"
_MOST_BYTES = 256 * 1024
# Never through a link, and never waiting for a pipe.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def read_questions(home: Path) -> tuple[Question, ...]:
    """The questions that the tool `ask` left in the private home. No process of the agent may be running."""
    folder, name = FILE.split("/")
    try:
        return questions_in(json.loads(_read(home, folder, name)))
    except (OSError, ValueError, RecursionError):
        return ()


def _read(home: Path, folder: str, name: str) -> bytes:
    opened = [os.open(home, _FOLDER)]
    try:
        opened.append(os.open(folder, _FOLDER, dir_fd=opened[-1]))
        opened.append(os.open(name, _OLD, dir_fd=opened[-1]))
        with os.fdopen(os.dup(opened[-1]), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("it is not a file")
            return file.read(_MOST_BYTES)
    finally:
        for each in opened:
            os.close(each)


def questions_in(reported: object) -> tuple[Question, ...]:
    """The first questions of a list, without control characters. Their texts are cut later, after secrets are redacted."""
    found = []
    for each in objects(reported):
        text = plain_text(text_of(each.get("question"))).strip()
        listed = each.get("choices")
        given = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
        choices = [" ".join(plain_text(each).split()) for each in given]
        if text:
            found.append(Question(text, tuple(dict.fromkeys(filter(None, choices)))[:MOST_CHOICES]))
    return tuple(found[:MOST_QUESTIONS])


def question_step(questions: tuple[Question, ...], *, is_answered: bool) -> Step:
    """The step that shows the questions, and whether somebody is asked for the answers."""
    lines = []
    for number, each in enumerate(questions, 1):
        lines += [f"{number}. {each.text}", *(f"   - {choice}" for choice in each.choices)]
    title = "The agent asks, and waits for an answer" if is_answered else "The agent asked, but may not in this session"
    return Step(title, "\n".join(lines), category="question")
