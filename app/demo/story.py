"""Run two sessions that build on each other and open a pull request, with everything on this machine.

Without arguments, the demo uses a small sample repository. It always has its own data folder.
"""

from __future__ import annotations

import signal
import sys
import time
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from app.cli.errors import CommandError
from app.cli.processes import ROOT, private_folder
from app.cli.view import View
from app.client import Client, ClientError
from app.config import Settings
from app.demo.agent import check_agent
from app.demo.deployment import Deployment, choose_sandbox, deployment
from app.demo.prompts import prompts
from app.demo.publisher import OWNER, Forge, forge
from app.demo.repository import Repository, clone, has_uncommitted_changes, sample
from app.escaping import readable

SHELL = "shell"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the caller chose."""

    prompt: str | None
    repo: Path | None
    agent: str
    once: bool
    open: bool
    data_dir: Path
    port: int
    unsafe_no_sandbox: bool


@click.command(help=__doc__)
@click.argument("prompt", required=False)
@click.option("--repo", type=Path, metavar="PATH", help="Work on a clone of this repository.")
@click.option("--agent", default=SHELL, show_default=True, help="`codex` and `claude` need a key, `shell` none.")
@click.option("--once", is_flag=True, help="Exit at the end instead of keeping the processes running.")
@click.option("--open", is_flag=True, help="Open the console in the browser.")
@click.option("--data-dir", type=Path, default=ROOT / ".data" / "demo", show_default=True)
@click.option(
    "--port",
    type=int,
    default=Settings.web_port,
    show_default=True,
    help="Port of the API; the next two are for Flower and the forge, or others if taken.",
)
@click.option("--unsafe-no-sandbox", is_flag=True, help="Run the agent as an ordinary process, without a sandbox.")
def command(**options: Any) -> None:
    if not _run(Options(**options)):
        sys.exit(1)


def _run(args: Options) -> bool:
    """Whether all went well."""
    signal.signal(signal.SIGTERM, _end)
    view = View()
    data = private_folder(args.data_dir.absolute())
    repository = _repository(args, private_folder(private_folder(data / "forge") / OWNER), view)
    if args.agent != SHELL:
        check_agent(args.agent)
    is_ours = args.repo is None and args.prompt is None and args.agent == SHELL
    sandbox = choose_sandbox(data, is_ours=is_ours, unsafe=args.unsafe_no_sandbox, tell=view.say)
    with (
        forge(data / "forge", args.port + 2) as publisher,
        deployment(data, sandbox, args.port, view) as running,
        Client(running.url, running.token) as client,
    ):
        try:
            is_done = _tell_story(client, publisher, args, repository, view)
        except ClientError as error:
            raise CommandError(f"{error}. See {running.log} for details") from error
        console = client.create_console_link()
        _explain_next_steps(running, console, publisher, view)
        if args.open:
            webbrowser.open(console)
        if not args.once:
            view.say("Press Ctrl-C to stop everything.")
            running.wait()
    return is_done


def _repository(args: Options, folder: Path, view: View) -> Repository:
    if args.repo is None:
        return sample(folder)
    repository = clone(args.repo, folder)
    if has_uncommitted_changes(args.repo):
        view.say("Your repository has uncommitted changes. The clone does not contain them.")
    return repository


def _tell_story(client: Client, publisher: Forge, args: Options, repository: Repository, view: View) -> bool:
    """Run two sessions on one runner and open their pull request. Returns whether all succeeded."""
    site = _site(client, publisher, repository)
    first, second = prompts(args.prompt, is_script=args.agent == SHELL)
    view.heading(f"A prompt for the agent {args.agent} on {repository.name}, branch {repository.branch}")
    view.say(_indented(first))
    runner = client.create_runner(site["id"], first, agent=args.agent, branch=repository.branch)
    session = _watch(client, runner["id"], runner["latest_session_id"], view)
    if session["state"] != "DONE":
        return False
    _show_diff("What the session changed", session["has_result_diff"], client.result_diff, session, view)

    view.heading("A follow-up that builds on the first session")
    view.say(_indented(second))
    session = client.follow_up(runner["id"], second, agent=args.agent)
    session = _watch(client, runner["id"], session["id"], view)
    _show_diff("What both sessions changed", session["has_cumulative_diff"], client.cumulative_diff, session, view)
    if session["state"] != "DONE":
        return False
    return _publish(client, runner["id"], view)


def _site(client: Client, publisher: Forge, repository: Repository) -> dict[str, Any]:
    url = publisher.repository_url(repository.name)
    known = next((site for site in client.sites() if site["repo_url"] == url), None)
    return known or client.create_site(
        url,
        name=repository.name,
        default_branch=repository.branch,
        forge="github",
        forge_api_url=publisher.api_url,
        access_token=publisher.token,
    )


def _publish(client: Client, runner_id: str, view: View) -> bool:
    """Open a pull request on the demo's forge. The user decides whether to merge it."""
    view.heading("A pull request with both changes")
    if not client.get_runner(runner_id)["has_result_diff"]:
        view.say("  There is nothing to publish.")
        return True
    runner = client.create_pull_request(runner_id)
    with view.working("opening the pull request"):
        while runner["pr_is_being_created"]:
            time.sleep(0.2)
            runner = client.get_runner(runner_id)
    if runner["pr_error"]:
        view.say(f"  {runner['pr_error']}")
        return False
    view.say(f"  {runner['pr_url']}, from the branch {runner['pr_branch']}. It is not merged yet.")
    return True


def _watch(client: Client, runner_id: str, session_id: str, view: View) -> dict[str, Any]:
    view.steps(client.events(runner_id, session_id))
    session = client.get_session(runner_id, session_id)
    if failure := session["failure"]:
        view.say(f"  {failure['stage']}: {failure['message']} ({failure['code']})")
    return session


def _show_diff(title: str, exists: bool, fetch: Any, session: dict[str, Any], view: View) -> None:
    view.heading(title)
    if exists:
        view.diff(fetch(session["agent_runner_id"], session["id"]))
    else:
        view.say("  nothing")


def _explain_next_steps(running: Deployment, console: str, publisher: Forge, view: View) -> None:
    view.heading("Next steps")
    view.say(f"  The console      {console}")
    view.say("                   This link signs you in once, within ten minutes; later, sign in with the token")
    view.say(f"  The API          {running.url}/api/v1")
    view.say(f"  Its reference    {running.url}/api/v1/docs")
    view.say(f"  A token          {running.token}")
    view.say(
        f'  Try it           curl -H "Authorization: Bearer $(cat {running.token_file})" {running.url}/api/v1/agent_runners'
    )
    view.say(f"  Pull requests    {publisher.url}, the demonstration forge; review and merge the pull request there")
    view.say("  For daily use    bin/dev")


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in readable(text).strip().splitlines())


def _end(_number: int, _frame: object) -> NoReturn:
    # Raises an exception, so that everything that was started is stopped.
    sys.exit(128 + signal.SIGTERM)
