"""Git LFS over HTTP, as GitHub has it: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request, send_file

from app.demo.forge.forge import Refused
from app.demo.forge.repositories import Repository
from app.demo.forge.smart_http import authorized

lfs = Blueprint("lfs", __name__)
_AT = "/<owner>/<name>.git/info/lfs"
_TYPE = "application/vnd.git-lfs+json"
_OID = re.compile(r"[0-9a-f]{64}")


@lfs.post(f"{_AT}/objects/batch")
def list_objects(owner: str, name: str) -> Response:
    """For each object a URL to send it to or to get it from, or why there is none."""
    try:
        asked = json.loads(request.get_data())
        is_upload = {"download": False, "upload": True}[asked["operation"]]
        objects = [(_checked(each["oid"]), int(each["size"])) for each in asked["objects"]]
    except (ValueError, KeyError, TypeError):
        raise Refused(422, "The request is not valid.") from None
    repository = authorized(owner, name, "git-receive-pack" if is_upload else "git-upload-pack")
    listed = [_listed(repository, oid, size, is_upload=is_upload) for oid, size in objects]
    return Response(json.dumps({"transfer": "basic", "objects": listed}), content_type=_TYPE)


@lfs.get(f"{_AT}/objects/<oid>")
def get_object(owner: str, name: str, oid: str) -> Response:
    path = _path(authorized(owner, name, "git-upload-pack"), _checked(oid))
    if not path.exists():
        raise Refused(404, "Object does not exist.")
    return send_file(path, mimetype="application/octet-stream")


@lfs.put(f"{_AT}/objects/<oid>")
def put_object(owner: str, name: str, oid: str) -> tuple[str, int]:
    repository, digest = authorized(owner, name, "git-receive-pack"), hashlib.sha256()
    path = _path(repository, _checked(oid))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent) as draft:
        while piece := request.stream.read(64 * 1024):
            digest.update(piece)
            draft.write(piece)
        draft.flush()
        if digest.hexdigest() != oid:
            raise Refused(422, "The content is not that of the object.")
        shutil.copyfile(draft.name, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    return "", 200


@lfs.post(f"{_AT}/verify")
def verify_object(owner: str, name: str) -> tuple[str, int]:
    repository = authorized(owner, name, "git-receive-pack")
    asked = json.loads(request.get_data())
    path = _path(repository, _checked(asked["oid"]))
    if not path.exists() or path.stat().st_size != asked["size"]:
        raise Refused(404, "Object does not exist.")
    return "", 200


def _listed(repository: Repository, oid: str, size: int, *, is_upload: bool) -> dict[str, Any]:
    is_here, url = _path(repository, oid).exists(), request.base_url.removesuffix("/objects/batch")
    found: dict[str, Any] = {"oid": oid, "size": size}
    if not is_upload and not is_here:
        return {**found, "error": {"code": 404, "message": "Object does not exist on the server"}}
    action = {"href": f"{url}/objects/{oid}"}
    if not is_upload:
        return {**found, "actions": {"download": action}}
    return found if is_here else {**found, "actions": {"upload": action, "verify": {"href": f"{url}/verify"}}}


def _checked(oid: str) -> str:
    if not _OID.fullmatch(oid):
        raise Refused(422, "The id of the object is not valid.")
    return oid


def _path(repository: Repository, oid: str) -> Path:
    return repository.folder / "lfs" / oid
