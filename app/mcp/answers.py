"""What the tools answer: sentences of a bounded length, with what to do next."""

from __future__ import annotations

from typing import Any

LONGEST_TEXT = 4_000
LONGEST_DIFF = 40_000
_STEPS_SHOWN = 10


def describe_run(runner: dict[str, Any], session: dict[str, Any]) -> str:
    """A run and its latest session."""
    lines = [
        f"Run {runner['id']} on {runner['site_name']}, branch {runner['branch'] or 'not known yet'}: {session['state']}."
    ]
    if session["state"] in ("NEW", "RUNNING"):
        lines += [f"- {_cut(each['title'], 200)}" for each in session["steps"][-_STEPS_SHOWN:]]
        lines.append(
            "It has not ended. Call get_run again with wait_seconds=50, which returns as soon as it ends. Runs take minutes; "
            "do something else meanwhile, and do not start it again."
        )
        return "\n".join(lines)
    if failure := session["failure"]:
        lines.append(f"It failed in the stage {failure['stage']} ({failure['code']}): {_cut(failure['message'])}")
    if session["result"]:
        lines.append(f"The agent's answer:\n{_cut(session['result'])}")
    if runner["awaiting_input"]:
        lines.append("The agent asks and waits for an answer. Call answer_question:")
        for number, each in enumerate(runner["questions"], 1):
            lines += [f"{number}. {each['question']}", *(f"   - {choice}" for choice in each["choices"])]
    lines.append(_next_step(runner, session))
    return "\n".join(lines)


def describe_publication(runner: dict[str, Any], error: str | None, where: str | None) -> str:
    """What came of publishing."""
    if is_being_published(runner):
        return f"Run {runner['id']} is still being published. Do not publish it again: get_run says when it is."
    if error:
        return f"Run {runner['id']} was not published: {_cut(error)}"
    return f"Run {runner['id']} is published: {where}. After a follow_up, publish again to update it."


def is_being_published(runner: dict[str, Any]) -> bool:
    """Whether a pull request or commit of the run is under way."""
    return bool(runner["pr_is_being_created"] or runner["merge_commit_is_being_created"])


def list_runs(runners: list[dict[str, Any]]) -> str:
    """A line for each run."""
    if not runners:
        return "There are no such runs."
    return "\n".join(
        f"{each['id']}  {each['state']}  {each['site_name']}  {_cut(' '.join(each['title'].split()), 120)}"
        for each in runners
    )


def list_sites(sites: list[dict[str, Any]]) -> str:
    """A line for each site."""
    if not sites:
        return "There are no sites yet. A person creates one with `agent-runners sites add URL`, or in the console."
    return "\n".join(
        f"{each['name']}  {each['repo_url']}  default branch: {each['default_branch'] or 'not known yet'}  id: {each['id']}"
        for each in sites
    )


def show_diff(text: str, page: int, files: int, per_page: int) -> str:
    """A page of a diff."""
    last = -(-files // per_page)
    following = f" Call get_diff with page={page + 1} for more." if page < last else ""
    cut = f"\n[cut after {LONGEST_DIFF:,} characters]" if len(text) > LONGEST_DIFF else ""
    return f"Page {page} of {last}, {files} files in all.{following}\n{text[:LONGEST_DIFF]}{cut}"


def _next_step(runner: dict[str, Any], session: dict[str, Any]) -> str:
    if session["has_cumulative_diff"] and session["state"] == "DONE":
        return f"Review the change with get_diff. Then follow_up to correct it, or publish.{_publication(runner)}"
    if session["has_cumulative_diff"]:
        return "What it had changed until then is kept. follow_up continues from the last session that was DONE."
    if session["state"] == "DONE":
        return "It changed nothing."
    return "It changed nothing. Mend the cause and use follow_up."


def _publication(runner: dict[str, Any]) -> str:
    if is_being_published(runner):
        return " It is being published now."
    if error := runner["pr_error"] or runner["merge_commit_error"]:
        return f" It could not be published: {_cut(error)}"
    if runner["pr_url"]:
        return f" It has the pull request {runner['pr_url']}."
    return f" It was committed as {runner['merge_commit_sha']}." if runner["merge_commit_sha"] else ""


def _cut(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else text[:longest] + " [cut]"
