"""Settings. Only this module reads them from the environment; everything else is given a `Settings`.

Every setting is a variable `AGENT_RUNNERS_<NAME>` (`AGENT_RUNNERS_DATA_DIR`, ...). `docs/settings.md` lists them; a
test keeps that page up to date.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import setting_values as values
from app.setting_values import Rule, SettingsError

PREFIX = "AGENT_RUNNERS_"
CLIENT_VARIABLES = ("AGENT_RUNNERS_URL", "AGENT_RUNNERS_TOKEN")
"""What callers set for the command line. They are no settings of a deployment."""
_LONGEST_SOCKET_PATH = 103


def setting(default: Any, help: str, rule: Rule | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "rule": rule})


@dataclass(frozen=True)
class Settings:
    data_dir: Path = setting(Path(".data"), "Folder for everything that is kept on this machine.")
    database_url: str = setting("", "SQLAlchemy URL of the database. Empty: SQLite in `DATA_DIR`.", values.DATABASE_URL)
    broker_url: str = setting(
        "", "Redis or Valkey URL. Empty: the unix socket of the embedded broker.", values.BROKER_URL
    )
    secret_key: str = setting(
        "",
        "Key that signs URLs and encrypts stored credentials. The same for all processes of a deployment. "
        "Empty: created once, in `secret.key` in `DATA_DIR`.",
        values.SECRET_KEY,
    )
    artifacts_dir: Path | None = setting(None, "Folder of the local artifact store. Empty: `artifacts` in `DATA_DIR`.")
    s3_bucket: str = setting("", "S3 bucket to store artifacts in. Empty: the local folder `ARTIFACTS_DIR`.")
    s3_endpoint_url: str = setting("", "URL of an S3 server. Empty: Amazon S3.", values.HTTP_URL)
    s3_region: str = setting("", "Region of the S3 bucket.")
    s3_path_style: bool = setting(
        False, "Put the bucket into the path of S3 URLs. Most servers but Amazon's need this."
    )
    upload_patience_seconds: float = setting(
        300.0, "Time that a worker keeps retrying an artifact store that is unavailable."
    )
    garbage_seconds: float = setting(3600.0, "Interval at which unreferenced artifacts are looked for.")
    orphan_seconds: float = setting(86_400.0, "Age at which an unreferenced artifact is deleted.")
    work_dir: Path | None = setting(
        None, "Folder of a worker's mirrors and workspaces. Empty: `work` in `DATA_DIR`. Needs no backup."
    )
    public_url: str = setting(
        "",
        "URL that callers reach the API at. Signed URLs and `Link` headers start with it. "
        "Empty: `http://127.0.0.1` and `WEB_PORT`.",
        values.HTTP_URL,
    )
    web_host: str = setting("127.0.0.1", "Address that the API listens on.")
    web_port: int = setting(8750, "Port that the API listens on.", values.PORT)
    web_processes: int = setting(
        2,
        "Number of processes that serve the API. Half as many of low priority, and at least one, serve accounts that use much.",
        values.ABOVE_ZERO,
    )
    cors_origins: tuple[str, ...] = setting(
        (),
        "Origins of web pages that may call the API from a browser, such as `https://app.example.org`. "
        "`*`: all. Empty: none.",
    )
    max_listeners: int = setting(
        4000,
        "Maximum number of event streams of one web process at once. Also limited by the open files that the system allows "
        "a process.",
    )
    max_account_listeners: int = setting(
        2000, "Maximum number of event streams that one account has open at once on one web process."
    )
    max_uploads_per_minute: int = setting(
        300, "Upload URLs that an account may request in a minute. 0: no limit.", values.NOT_NEGATIVE
    )
    max_tokens_per_minute: int = setting(
        30, "Tokens that an account may create in a minute. 0: no limit.", values.NOT_NEGATIVE
    )
    max_failed_authentications_per_minute: int = setting(
        60,
        "Requests with a wrong token, or none, that are answered 401 in a minute for one address, before they get 429. "
        "0: no limit. Requests with a good token are not counted.",
        values.NOT_NEGATIVE,
    )
    stream_heartbeat_seconds: float = setting(
        15.0,
        "Time without an event after which an event stream sends a heartbeat. Shorter than the read timeout of your proxies.",
        values.ABOVE_ZERO,
    )
    max_queued_sessions: int = setting(
        1000, "Waiting sessions of an account before POST answers `queue_full`, if the account has no limit of its own."
    )
    max_account_stored_bytes: int = setting(
        100 * 1024**3,
        "Size of an account's uploaded files, diffs, prompts and steps at which new files, sessions, schedules and hooks, and "
        "replaced diffs are refused with `storage_full`. 0: no limit.",
        values.NOT_NEGATIVE,
    )
    max_account_sites: int = setting(
        1000,
        "Number of sites that an account may have. Those that it deletes count for a day. 0: no limit.",
        values.NOT_NEGATIVE,
    )
    metrics_token: str = setting(
        "", "Bearer token for `/metrics`. Empty: created once, in `metrics.token` in `DATA_DIR`."
    )
    agents: tuple[str, ...] = setting(
        ("shell", "claude", "codex"),
        "Agents that callers may use. The default agent is the first that takes plain language; `shell` and `scripted` "
        "run the prompt as a script and must be named.",
    )
    agent_environment: tuple[str, ...] = setting(
        (
            *("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "COPILOT_MODEL", "COPILOT_PROVIDER_API_KEY"),
            *("COPILOT_PROVIDER_BASE_URL", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"),
            *("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"),
        ),
        "Variables of the worker that are passed to agents. Each agent gets only its own, and those that belong to no "
        "agent: [agents.md](agents.md#environment-variables).",
    )
    acp_agents: tuple[str, ...] = setting(
        (),
        "Agents that speak the Agent Client Protocol, each as `name=command`, such as `goose=goose acp`. Name them in "
        "`AGENTS`, too. See [agents.md](agents.md#agents-that-speak-acp).",
        values.ACP_AGENTS,
    )
    prices_file: Path | None = setting(
        None,
        "Price list of models that takes the place of the built-in one, as JSON in the form of genai-prices: "
        "[gateway.md](gateway.md#prices).",
    )
    wrap_up_at: float = setting(
        0.0,
        "Share of a session's `max_cost_usd` or `max_tokens` at which its agent is stopped, and asked for a summary with what is "
        "left, such as `0.9`. 0: never. See [gateway.md](gateway.md#a-summary-before-the-end).",
        values.SHARE,
    )
    model_patience_seconds: float = setting(
        60.0,
        "Time for which a model's server may refuse all calls of an agent, because it is overloaded, fails or limits their rate, "
        "before the agent is stopped. Three calls at least. See [gateway.md](gateway.md#refusals-of-the-provider).",
        values.ABOVE_ZERO,
    )
    max_quota_wait_seconds: int = setting(
        86_400,
        "Longest time that a session waits for its model's quota, all waits together, where its site has `on_quota: wait`. "
        "0: no session waits. See [gateway.md](gateway.md#waiting-for-a-quota).",
        values.NOT_NEGATIVE,
    )
    quota_retry_seconds: int = setting(
        300,
        "Shortest wait for a model's quota, and the first where the provider does not say when it accepts calls again.",
        values.ABOVE_ZERO,
    )
    sandbox: str = setting(
        "bubblewrap",
        "`bubblewrap`, or `none` to run agents as ordinary processes. Use `none` only with agents and repositories that "
        "you trust.",
        values.one_of("bubblewrap", "none"),
    )
    sandbox_uid: int = setting(61000, "User id that agents run as if the worker runs as root.")
    overlay: bool = setting(
        True,
        "Whether sessions on one commit share its files, and keep only their own changes (overlayfs). That needs a worker "
        "that runs as root with a sandbox; elsewhere each session has a checkout of its own.",
    )
    setup_cache_bytes: int = setting(
        10 * 1024**3,
        "Disk space of a host for what setup commands left, which later sessions of the site use again for a day. 0: nothing "
        "is kept.",
    )
    allow_ssh: bool = setting(False, "Allow `ssh://` repository URLs.")
    allow_http: bool = setting(False, "Allow `http://` repository URLs.")
    allow_private_addresses: bool = setting(
        False, "Allow private and loopback addresses for repositories and for the `egress_hosts` of sites."
    )
    egress_hosts: tuple[str, ...] = setting(
        (),
        "Hosts that the agents of all sites may reach, such as package mirrors: `host`, `*.host` or `host:port`. "
        "Private and loopback addresses are allowed.",
    )
    local_repositories: Path | None = setting(
        None,
        "Folder whose repositories may be used by local path. With `{account}` in it, such as `/srv/git/{account}`, each "
        "account has the folder named by its id; otherwise all accounts read and push to all of them. Empty: local paths "
        "are refused.",
    )
    mirror_refresh_seconds: int = setting(
        600,
        "How often a host fetches the repositories of sites that were used within a day, ahead of their sessions. 0: never.",
    )
    refresh_seconds: float = setting(
        600.0,
        "Age at which `behind_by`, `mergeable` and `conflicts` of a runner that is read are measured again. 0: only on request.",
    )
    fetch_timeout_seconds: int = setting(900, "Time limit for one fetch of a repository.")
    max_fetch_bytes: int = setting(10 * 1024**3, "Maximum size of what one fetch of a repository downloads.")
    max_git_memory_bytes: int = setting(
        2 * 1024**3,
        "Maximum memory of each git process that a worker runs on a repository, outside of the sandbox; where the worker can "
        "create control groups, of all processes of a git command together.",
    )
    isolate_git: bool = setting(
        True,
        "Whether git is [kept from the files and processes of the worker's user](operating.md#git-on-the-host) while it contacts a "
        "remote. `0` only if it needs a file that it does not get.",
    )
    max_account_control_tasks: int = setting(
        2,
        "Maximum number of tasks of one account that control workers run at once: publications, webhooks, deliveries of "
        "forges, comparisons, preflights and connections of accounts on forges. A control worker runs four, so that accounts "
        "whose forges and receivers do not answer delay no others. A second one of an account, and any of an account whose forges were slow lately, starts "
        "only while fewer than so many of all accounts run. So many comparisons, preflights, connections and webhooks "
        "whose last delivery failed run at once for all accounts together.",
        values.ABOVE_ZERO,
    )
    max_shared_sessions: int = setting(
        0,
        "Number of running sessions of all accounts from which on only accounts that run none start another. Set it to one "
        "or two less than all session workers run together, so that no account waits for the ends of others' sessions. "
        "0: no limit.",
        values.NOT_NEGATIVE,
    )
    lease_seconds: float = setting(30.0, "Time after which a claim without a heartbeat expires.", values.ABOVE_ZERO)
    heartbeat_seconds: float = setting(5.0, "Interval at which a worker extends its lease.", values.ABOVE_ZERO)
    sweep_seconds: float = setting(5.0, "Interval of the sweep.", values.ABOVE_ZERO)
    redispatch_seconds: float = setting(
        30.0, "Time until a waiting session is dispatched again. Doubles up to ten minutes.", values.ABOVE_ZERO
    )
    soft_shutdown_seconds: float = setting(
        20.0, "Time that a stopping worker gives its sessions and other tasks to finish before it requeues them."
    )
    max_workers_lost: int = setting(
        3, "Number of lost workers after which a session fails with `worker_lost`.", values.ABOVE_ZERO
    )
    max_duration_seconds: int = setting(
        3600, "Time limit of a session if neither the caller nor the site sets one.", values.ABOVE_ZERO
    )
    ceiling_duration_seconds: int = setting(
        86_400, "Highest time limit that callers may set for a session or a site. More is refused.", values.ABOVE_ZERO
    )
    ceiling_cost_usd: float = setting(
        0.0,
        "Highest cost limit that callers may set for a session or a site, and the limit of every session. 0: none.",
        values.NOT_NEGATIVE,
    )
    ceiling_tokens: int = setting(
        0,
        "Highest limit on tokens that callers may set for a session, and the limit of every session. 0: none.",
        values.NOT_NEGATIVE,
    )
    stall_seconds: int = setting(900, "Time without output from the agent after which a session fails with `stalled`.")
    max_diff_bytes: int = setting(256 * 1024 * 1024, "Maximum size of a session's diff.")
    max_diff_files: int = setting(50_000, "Maximum number of files in a session's diff.")
    max_conversation_bytes: int = setting(
        64 * 1024 * 1024,
        "Maximum size of what an agent remembers of its session, kept so that a follow-up continues the conversation. "
        "0: nothing is kept, and follow-ups get a summary in words.",
        values.NOT_NEGATIVE,
    )
    max_output_bytes: int = setting(256 * 1024 * 1024, "Maximum output of an agent in a session.")
    max_steps: int = setting(10_000, "Maximum number of steps kept for a session. Further steps are only counted.")
    max_steps_bytes: int = setting(16 * 1024 * 1024, "Maximum text kept in the steps of a session.")
    max_memory_bytes: int = setting(4 * 1024**3, "Maximum memory of all processes of a session together.")
    max_processes: int = setting(1024, "Maximum number of processes and threads of a session.")
    max_cpus: float = setting(
        0.0,
        "Maximum number of CPUs of a session. 0: no limit. Needs a worker that can create control groups: as root, or in a "
        "systemd unit with `Delegate=yes`.",
    )
    max_open_files: int = setting(65_536, "Maximum number of open files of each process of a session.")
    max_file_bytes: int = setting(4 * 1024**3, "Maximum size of a file that a session writes.")
    max_disk_bytes: int = setting(10 * 1024**3, "Maximum disk space of a session's checkout and home together.")
    max_disk_files: int = setting(
        1_000_000, "Maximum number of files and folders in a session's checkout and home together."
    )
    committer: str = setting(
        "Agent Runners <agent-runners@noreply.invalid>",
        "Committer of what is published; the author is the person who asked for it. Forges show a signature as verified if the "
        "e-mail address and the key belong to one user: [forges.md](forges.md#signed-commits).",
        values.IDENTITY,
    )
    signing_key_file: Path | None = setting(
        None,
        "Private SSH key without a passphrase with which `worker control` signs commits. Empty: they are not signed.",
    )
    github_app_id: str = setting(
        "",
        "Id of a GitHub App of yours, with which workers read and publish repositories of sites without a token of their own: "
        "[forges.md](forges.md#github-app). Empty: there is none.",
    )
    github_app_key_file: Path | None = setting(
        None, "Private key of the GitHub App, in the form in which GitHub makes it (PEM). Needed with `GITHUB_APP_ID`."
    )
    github_app_grants: tuple[str, ...] = setting(
        (),
        "Which accounts may use the GitHub App for which repositories: `ACCOUNT=OWNER` or `ACCOUNT=OWNER/REPOSITORY`, where "
        "`ACCOUNT` is the id of an account, or `*` for all. Empty: none may.",
        values.GITHUB_APP_GRANTS,
    )
    github_app_url: str = setting(
        "", "Server of the GitHub App, such as `https://github.example.org`. Empty: GitHub.com.", values.HTTP_URL
    )
    smtp_url: str = setting(
        "",
        "Mail server for [webhooks by e-mail](webhooks.md#by-e-mail): `smtp://user:password@host:587` with STARTTLS, without only to "
        "this machine; `smtps://` with TLS from the start (port 465); `smtp+plain://` without encryption (port 25). Empty: no e-mail "
        "is sent.",
        values.SMTP_URL,
    )
    smtp_from: str = setting(
        "", "Sender of e-mail, such as `Agent Runners <runners@example.org>`. Needed with `SMTP_URL`.", values.SENDER
    )
    max_emails_per_hour: int = setting(
        30, "E-mails that one webhook sends in an hour. Further ones wait. 0: no limit.", values.NOT_NEGATIVE
    )
    session_workers: int = setting(2, "Number of sessions that one worker runs at once.", values.ABOVE_ZERO)
    mcp_host: str = setting("127.0.0.1", "Address that `agent-runners mcp --http` listens on.")
    mcp_port: int = setting(8752, "Port that `agent-runners mcp --http` listens on.", values.PORT)
    mcp_api_url: str = setting(
        "",
        "URL at which `agent-runners mcp --http` calls the API. Empty: that of the web process on the same machine.",
        values.HTTP_URL,
    )
    flower_port: int = setting(8751, "Port that Flower listens on.", values.PORT)
    flower_auth: str = setting(
        "",
        "`user:password` for Flower. Empty: created once, in `flower.auth` in `DATA_DIR`.",
        values.USER_AND_PASSWORD,
    )
    log_format: str = setting(
        "auto",
        "`text`, `json`, or `auto`: text on a terminal, JSON elsewhere.",
        values.one_of("auto", "json", "text"),
    )
    log_level: str = setting(
        "INFO",
        "Lowest level that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`.",
        values.LOG_LEVEL,
    )

    def __post_init__(self) -> None:
        if not self.public_url:
            object.__setattr__(self, "public_url", f"http://127.0.0.1:{self.web_port}")
        if self.smtp_url and not self.smtp_from:
            raise SettingsError(f"{PREFIX}SMTP_FROM must be set with {PREFIX}SMTP_URL: {values.SENDER.must_be}")

        if bool(self.github_app_id) != (self.github_app_key_file is not None):
            raise SettingsError(f"{PREFIX}GITHUB_APP_ID and {PREFIX}GITHUB_APP_KEY_FILE must be set together")

    @property
    def local_url(self) -> str:
        """The URL of the API on this machine, which may differ from the public one."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.web_host, self.web_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.web_port}"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'agent-runners.db'}"

    @property
    def broker(self) -> str:
        return self.broker_url or f"redis+socket://{self.broker_socket}?virtual_host=0"

    @property
    def broker_socket(self) -> Path:
        """Where the embedded broker listens: in `XDG_RUNTIME_DIR`, or in /tmp if that path would be too long.

        A unix socket's path has room for 107 bytes on Linux and for 103 on macOS (`sun_path`), and a server may
        silently cut a longer one off.
        """
        tail = hashlib.sha256(str(self.data_dir.absolute()).encode()).hexdigest()[:10]
        name = Path(f"agent-runners-{os.getuid()}-{tail}", "broker.sock")
        path = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / name
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH else Path("/tmp") / name

    @property
    def artifacts(self) -> Path:
        return (self.artifacts_dir or self.data_dir / "artifacts").absolute()

    @property
    def work(self) -> Path:
        return (self.work_dir or self.data_dir / "work").absolute()

    def local_repositories_of(self, account_id: uuid.UUID | None) -> Path | None:
        """The folder whose repositories the account may use by local path. Without an account, as it is set."""
        if self.local_repositories is None or account_id is None:
            return self.local_repositories
        return Path(str(self.local_repositories).replace("{account}", str(account_id)))

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Settings:
        """Read every setting; raises `SettingsError` for an unknown name below the prefix or a value of the wrong kind."""
        variables = os.environ if environment is None else environment
        given = {k: v for k, v in variables.items() if k.startswith(PREFIX) and k not in CLIENT_VARIABLES}
        return cls(**values.read(cls, given, PREFIX))


def acp_agents(settings: Settings) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The name and the command line of each agent that speaks ACP."""
    return tuple(map(values.name_and_words, settings.acp_agents))


def agent_environment(settings: Settings) -> dict[str, str]:
    """The worker's variables that are passed to agents, including the API keys of models."""
    return {name: os.environ[name] for name in settings.agent_environment if os.environ.get(name)}


@functools.cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings.from_environment()
