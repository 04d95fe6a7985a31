"""An MCP server with one tool, `ask`, by which an agent asks a person something. The agent starts it beside itself inside
the sandbox. It imports nothing of ours, and nothing that is not in Python.

`python ask_server.py FILE` speaks MCP over standard input and output. The questions are written to FILE as JSON, once:
the engine reads them when the agent has ended.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

MOST_QUESTIONS, MOST_CHOICES = 3, 8
QUESTION_CHARACTERS, CHOICE_CHARACTERS = 1000, 200
_VERSION = "2025-06-18"
_NO_METHOD = -32601
_ASKED = (
    "Your questions are passed on. End your turn now, without another tool call: say in a sentence what you have done and "
    "what is open. The answer is the next message of this conversation."
)
_DESCRIPTION = (
    "Ask the person who gave you this task. Use it only where you cannot continue without a decision that is theirs, such as "
    "between designs that both fit the task; decide everything else yourself. Calling it ends your turn: the work so far is "
    "kept, and the answer comes as your next message. So ask everything in one call."
)
TOOL = {
    "name": "ask",
    "description": _DESCRIPTION,
    "inputSchema": {
        "type": "object",
        "properties": {
            "questions": {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_QUESTIONS,
                "items": {
                    "type": "object",
                    "properties": {
                        "question": {
                            "type": "string",
                            "maxLength": QUESTION_CHARACTERS,
                            "description": "One question, with what the person must know to answer it.",
                        },
                        "choices": {
                            "type": "array",
                            "maxItems": MOST_CHOICES,
                            "items": {"type": "string", "maxLength": CHOICE_CHARACTERS},
                            "description": "Answers to choose from, the best first. The person may give another one.",
                        },
                    },
                    "required": ["question"],
                },
            }
        },
        "required": ["questions"],
    },
}


def ask(arguments: Any, path: str) -> str | None:
    """Write the questions of a call to `path`. Returns what is wrong with them, if anything is."""
    questions = arguments.get("questions") if isinstance(arguments, dict) else None
    if not isinstance(questions, list) or not 1 <= len(questions) <= MOST_QUESTIONS:
        return f"`questions` must be a list of 1 to {MOST_QUESTIONS} questions."
    for each in questions:
        text = each.get("question") if isinstance(each, dict) else None
        if not isinstance(text, str) or not text.strip() or len(text) > QUESTION_CHARACTERS:
            return f"Each `question` must be a text of 1 to {QUESTION_CHARACTERS} characters."
        choices = each.get("choices") or []
        if not isinstance(choices, list) or len(choices) > MOST_CHOICES or not all(map(_is_choice, choices)):
            return f"`choices` must be at most {MOST_CHOICES} texts of 1 to {CHOICE_CHARACTERS} characters."
    try:
        with open(path, "x") as file:
            json.dump(questions, file)
    except FileExistsError:
        return "You have asked already. End your turn now: the answer will be the next message of this conversation."
    return None


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, str) and bool(choice.strip()) and len(choice) <= CHOICE_CHARACTERS


def answer(message: dict[str, Any], path: str) -> dict[str, Any]:
    """The result of a request, or the error of one that is not known."""
    given = message.get("params")
    parameters: dict[str, Any] = given if isinstance(given, dict) else {}
    match message.get("method"):
        case "initialize":
            version = parameters.get("protocolVersion")
            return {
                "result": {
                    "protocolVersion": version if isinstance(version, str) else _VERSION,
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "questions", "version": "1"},
                }
            }
        case "ping":
            return {"result": {}}
        case "tools/list":
            return {"result": {"tools": [TOOL]}}
        case "tools/call" if parameters.get("name") == TOOL["name"]:
            wrong = ask(parameters.get("arguments"), path)
            return {"result": {"content": [{"type": "text", "text": wrong or _ASKED}], "isError": wrong is not None}}
    return {"error": {"code": _NO_METHOD, "message": f"there is no {message.get('method')}"}}


def main(path: str) -> None:
    """Answer each request until standard input ends."""
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and "id" in message and "method" in message:
            reply = {"jsonrpc": "2.0", "id": message["id"], **answer(message, path)}
            os.write(1, json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
