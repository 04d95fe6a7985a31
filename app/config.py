"""Settings. This module alone reads the environment; everything else is handed a `Settings`.

Every setting is a variable `AGENT_RUNNERS_<NAME>` (`AGENT_RUNNERS_DATA_DIR`, ...). `docs/settings.md` lists them and
a test keeps that page true.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from app import setting_values as values
from app.setting_values import Rule, SettingsError

PREFIX = "AGENT_RUNNERS_"
_LONGEST_SOCKET_PATH = 103
_MADE_ONCE = {"secret_key": "secret.key", "flower_auth": "flower.auth", "metrics_token": "metrics.token"}
# Where boto3 looks for the secret half of credentials first.
_OF_BOTO3 = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def setting(default: Any, help: str, rule: Rule | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "rule": rule})


@dataclass(frozen=True)
class Settings:
    data_dir: Path = setting(Path(".data"), "Folder of everything the product keeps on this machine.")
    database_url: str = setting("", "SQLAlchemy URL. Empty: SQLite in the data folder.", values.DATABASE_URL)
    broker_url: str = setting("", "Redis or Valkey URL. Empty: the embedded broker's unix socket.", values.BROKER_URL)
    artifacts_dir: Path | None = setting(
        None, "Folder of the local artifact store. Empty: `artifacts` in the data folder."
    )
    work_dir: Path | None = setting(
        None, "Folder of mirrors and workspaces on a worker host. Empty: `work` in the data folder."
    )
    s3_bucket: str = setting("", "S3 bucket of the artifact store. Empty: the local folder.")
    s3_endpoint_url: str = setting("", "URL of an S3 server other than Amazon's.", values.HTTP_URL)
    s3_region: str = setting("", "Region of the S3 bucket.")
    s3_path_style: bool = setting(False, "Put the bucket into the path of S3 URLs, as most other servers want it.")
    public_url: str = setting(
        "",
        "URL under which callers reach the API; presigned URLs start with it. Empty: `http://127.0.0.1` and the web port.",
        values.HTTP_URL,
    )
    cors_origins: tuple[str, ...] = setting(
        (),
        "Origins of web pages that may call the API from a browser, comma-separated, such as `https://app.example.org`; "
        "`*` for all. Empty: none.",
    )
    secret_key: str = setting(
        "",
        "Key that signs URLs and encrypts stored credentials. Empty: made once, kept in the data folder.",
        values.SECRET_KEY,
    )
    agents: tuple[str, ...] = setting(
        ("shell", "claude", "codex"),
        "Agents that callers may name, comma-separated. The default is the first that takes a prompt in words: "
        "`shell` and `scripted`, which run it as a script, are only used where a site or a caller names them.",
    )
    agent_environment: tuple[str, ...] = setting(
        ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
        "Names of the worker's own variables that are handed to agents. What is one agent's own, "
        "such as `OPENAI_...`, reaches that agent alone; everything else reaches all.",
    )
    sandbox: str = setting(
        "bubblewrap",
        "What holds agents: `bubblewrap`, or `none` for agents and repositories that you trust.",
        values.one_of("bubblewrap", "none"),
    )
    sandbox_uid: int = setting(61000, "User id that agents run as where the worker is root.")
    allow_ssh: bool = setting(False, "Accept `ssh://` repository URLs.")
    allow_http: bool = setting(False, "Accept `http://` repository URLs.")
    allow_private_addresses: bool = setting(
        False, "Accept repositories, and hosts that sites let their agents reach, at private or loopback addresses."
    )
    egress_hosts: tuple[str, ...] = setting(
        (),
        "Hosts that agents of all sites may reach, such as mirrors of packages: `host`, `*.host` or `host:port`, "
        "comma-separated. They may be at private or loopback addresses.",
    )
    local_repositories: Path | None = setting(None, "Folder below which local repositories may be named. Empty: none.")
    lease_seconds: float = setting(60.0, "How long a claim holds without a heartbeat.", values.ABOVE_ZERO)
    heartbeat_seconds: float = setting(10.0, "How often a worker extends its lease.", values.ABOVE_ZERO)
    sweep_seconds: float = setting(10.0, "How often the sweep repairs what was lost.", values.ABOVE_ZERO)
    redispatch_seconds: float = setting(
        30.0, "First wait before a queued session is dispatched again; doubles up to ten minutes.", values.ABOVE_ZERO
    )
    soft_shutdown_seconds: float = setting(
        20.0, "How long a stopping worker lets a session go on before it is requeued."
    )
    max_workers_lost: int = setting(3, "Lost workers after which a session ends with `worker_lost`.", values.ABOVE_ZERO)
    max_duration_seconds: int = setting(
        3600, "Time limit of a session where neither the caller nor the site names one.", values.ABOVE_ZERO
    )
    stall_seconds: int = setting(900, "Silence of an agent after which its session ends with `stalled`.")
    garbage_seconds: float = setting(3600.0, "How often stored objects that nothing refers to are looked for.")
    orphan_seconds: float = setting(86_400.0, "Age from which a stored object that nothing refers to is deleted.")
    max_queued_sessions: int = setting(
        1000, "Waiting sessions an account may have before POST answers `queue_full`, where it has no limit of its own."
    )
    max_diff_bytes: int = setting(256 * 1024 * 1024, "Largest diff of a session.")
    max_diff_files: int = setting(50_000, "Most files in the diff of a session.")
    max_output_bytes: int = setting(256 * 1024 * 1024, "Most output of an agent in a session.")
    max_steps: int = setting(10_000, "Most steps of a session that are kept. Further ones are counted and left out.")
    max_steps_bytes: int = setting(16 * 1024 * 1024, "Most text in the steps of a session that are kept.")
    max_memory_bytes: int = setting(4 * 1024**3, "Most memory of a session's processes, together.")
    max_processes: int = setting(1024, "Most processes and threads of a session.")
    max_cpus: float = setting(0.0, "Most processors of a session, where control groups can be made. 0: all there are.")
    max_open_files: int = setting(65_536, "Most open files of each process of a session.")
    max_file_bytes: int = setting(4 * 1024**3, "Largest file that a session may write.")
    max_disk_bytes: int = setting(10 * 1024**3, "Most disk space of a session's checkout and home, together.")
    max_disk_files: int = setting(1_000_000, "Most files and folders in a session's checkout and home, together.")
    max_listeners: int = setting(50, "Event streams that one web process serves at once.")
    upload_patience_seconds: float = setting(
        300.0, "How long a worker goes on trying to reach an artifact store that does not answer."
    )
    fetch_timeout_seconds: int = setting(900, "Time limit of one fetch of a repository.")
    session_workers: int = setting(2, "Sessions that one worker process runs at once.", values.ABOVE_ZERO)
    web_host: str = setting("127.0.0.1", "Address the web process listens on.")
    web_port: int = setting(8750, "Port the web process listens on.", values.PORT)
    flower_port: int = setting(8751, "Port of Flower, on loopback.", values.PORT)
    flower_auth: str = setting(
        "", "`user:password` for Flower. Empty: made once, kept in the data folder.", values.USER_AND_PASSWORD
    )
    metrics_token: str = setting("", "Token that `/metrics` asks for. Empty: made once, kept in the data folder.")
    log_format: str = setting(
        "auto",
        "`json`, `text` for people, or `auto`: text on a terminal, JSON elsewhere.",
        values.one_of("auto", "json", "text"),
    )
    log_level: str = setting(
        "INFO",
        "Least level that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`.",
        values.LOG_LEVEL,
    )

    def __post_init__(self) -> None:
        if not self.public_url:
            object.__setattr__(self, "public_url", f"http://127.0.0.1:{self.web_port}")

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'agent-runners.db'}"

    @property
    def broker(self) -> str:
        return self.broker_url or f"redis+socket://{self.broker_socket}?virtual_host=0"

    @property
    def broker_socket(self) -> Path:
        """Where the embedded broker listens: in `XDG_RUNTIME_DIR`, or in /tmp where that would make too long a path.

        A unix socket's path has room for 107 bytes on Linux and for 103 on macOS (`sun_path`), and a server may cut a
        longer one off without a word.
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

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Settings:
        """Read every setting; raises `SettingsError` for an unknown name below the prefix or a value of the wrong kind."""
        given = {k: v for k, v in (os.environ if environment is None else environment).items() if k.startswith(PREFIX)}
        hints, fields = get_type_hints(cls), {field.name: field for field in dataclasses.fields(cls)}
        read: dict[str, Any] = {}
        for name, text in given.items():
            field = fields.get(name.removeprefix(PREFIX).lower())
            if field is None:
                raise SettingsError(_unknown(name, list(fields)))
            read[field.name] = values.parse(name, text, hints[field.name], field.default, field.metadata["rule"])
        return cls(**read)


def _unknown(name: str, fields: list[str]) -> str:
    near = difflib.get_close_matches(name.removeprefix(PREFIX).lower(), fields, n=1)
    meant = f" Did you mean {PREFIX}{near[0].upper()}?" if near else ""
    return f"{name} is not a setting.{meant} docs/settings.md lists them."


def agent_environment(settings: Settings) -> dict[str, str]:
    """The worker's own variables that are handed to agents, model keys among them."""
    return {name: os.environ[name] for name in settings.agent_environment if os.environ.get(name)}


def made_once_file(settings: Settings, name: str) -> Path:
    """Where the text lies that is made once in the place of a secret setting which is empty."""
    return settings.data_dir / _MADE_ONCE[name]


def own_secrets(settings: Settings) -> dict[str, str]:
    """What this process can get hold of that is secret, or a URL that may have a password in it, by its name.

    Texts that are made once are read where they have been made; nothing is made here.
    """
    found = {name: getattr(settings, name) or _made(settings, name) for name in _MADE_ONCE}
    found |= {"flower_password": found["flower_auth"].partition(":")[2]}
    found |= {name: getattr(settings, name) for name in ("database_url", "broker_url")}
    return found | {name: os.environ.get(name, "") for name in _OF_BOTO3}


def _made(settings: Settings, name: str) -> str:
    with contextlib.suppress(OSError):
        return made_once_file(settings, name).read_text().strip()
    return ""


@functools.cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings.from_environment()
