"""The secrets of the deployment: given as settings, or made once and kept in files."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

from app.config import Settings

_MADE_ONCE = {"secret_key": "secret.key", "flower_auth": "flower.auth", "metrics_token": "metrics.token"}
# Where boto3 looks for the secret half of credentials first.
_OF_BOTO3 = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def made_once(path: Path, make: str) -> str:
    """The text in the file `path`, which is created with the text `make`. Two processes that start at once agree."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(make)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # Unlike a rename, a link never replaces a file that another process created.
        draft.unlink()
    return path.read_text()


def made_once_file(settings: Settings, name: str) -> Path:
    """The file that holds the generated value of a secret setting that is empty."""
    return settings.data_dir / _MADE_ONCE[name]


def own_secrets(settings: Settings) -> dict[str, str]:
    """Every secret of the deployment that this process can read, and URLs that may contain a password, by name.

    Generated secrets are read where they exist; none is created here.
    """
    found = {name: getattr(settings, name) or _made(settings, name) for name in _MADE_ONCE}
    found |= {"flower_password": found["flower_auth"].partition(":")[2]}
    found |= {name: getattr(settings, name) for name in ("database_url", "broker_url", "smtp_url")}
    return found | {name: os.environ.get(name, "") for name in _OF_BOTO3}


def _made(settings: Settings, name: str) -> str:
    # Of a path as text, because each line of a log asks.
    path = os.path.join(settings.data_dir, _MADE_ONCE[name])
    with contextlib.suppress(OSError):
        return _text_of(path, os.stat(path).st_mtime_ns)
    return ""


@functools.lru_cache(maxsize=len(_MADE_ONCE))
def _text_of(path: str, _changed_at: int) -> str:
    return Path(path).read_text().strip()
