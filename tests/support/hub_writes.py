"""What a push asks of the stand-in Hub, in its order.

The model card is checked. The repository is made. `preupload` tells large files from small ones. An LFS batch says
where a large file goes, and a PUT sends it there. One commit names all files, and holds the small ones itself.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import yaml

from support.hub_state import Files, Refused, Repo, State, blob_hash, commit_hash

LARGE = (".safetensors", ".bin", ".onnx")
Asked = Mapping[str, Any]
Answer = tuple[HTTPStatus, dict[str, Any]]


def write(state: State, user: str | None, request: Sequence[str], body: bytes) -> Answer:
    """The answer to a request: its method, then the segments of its path. Raises Refused."""
    match request:
        case ["POST", "api", "validate-yaml"]:
            return validate_card(json.loads(body))
        case ["POST", "api", "repos", "create"]:
            return HTTPStatus.OK, _create(state, user, json.loads(body))
        case ["PUT", "storage", oid]:  # no token: the address itself is the permission
            if hashlib.sha256(body).hexdigest() != oid:
                raise Refused(HTTPStatus.BAD_REQUEST, "The content is not that of the hash")
            state.storage[oid] = body
            return HTTPStatus.OK, {}
        case ["POST", owner, _, "info", "lfs", "objects", "batch"]:
            _check_owner(user, owner)
            return HTTPStatus.OK, _batch(state, json.loads(body))
        case ["POST", "api", "models", owner, name, ("preupload" | "commit") as what, branch]:
            _check_owner(user, owner)
            repo = state.repo(f"{owner}/{name}", user)
            _, files = repo.at(branch)
            if what == "preupload":
                return HTTPStatus.OK, _preupload(files, json.loads(body))
            repo.branches[branch] = _committed(files, body, state.storage)
            commit = commit_hash(repo.branches[branch])
            return HTTPStatus.OK, {"commitOid": commit, "commitUrl": f"{state.endpoint}/{owner}/{name}/commit/{commit}"}
    raise Refused(HTTPStatus.NOT_FOUND, "Not found")


def _check_owner(user: str | None, namespace: str) -> None:
    if user is None:
        raise Refused(HTTPStatus.UNAUTHORIZED, "Invalid username or password.")
    if user != namespace:
        message = f'You don\'t have the rights to create a model under the namespace "{namespace}"'
        raise Refused(HTTPStatus.FORBIDDEN, message)


def _create(state: State, user: str | None, asked: Asked) -> dict[str, Any]:
    owner = asked["organization"] or user
    _check_owner(user, owner)
    path, private = f"{owner}/{asked['name']}", asked.get("visibility") == "private"
    if path in state.repos:
        raise Refused(HTTPStatus.CONFLICT, "You already created this model repo")
    attributes = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
    state.repos[path] = Repo(owner=owner if private else None, branches={"main": attributes})
    return {"url": f"{state.endpoint}/{path}"}


def _preupload(files: Files, asked: Asked) -> dict[str, Any]:
    """Whether each file is large, and the hash of what is there now: the client leaves out what is the same."""
    answers = []
    for path in (wanted["path"] for wanted in asked["files"]):
        large, now = path.endswith(LARGE), files.get(path)
        oid = None if now is None else hashlib.sha256(now).hexdigest() if large else blob_hash(now)
        mode = "lfs" if large else "regular"
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": answers}


def _batch(state: State, asked: Asked) -> dict[str, Any]:
    """Where each file goes; one that the storage has goes nowhere."""
    places: list[Asked] = []
    for wanted in asked["objects"]:
        upload = {"href": f"{state.endpoint}/storage/{wanted['oid']}?signature=secret"}
        places.append(wanted if wanted["oid"] in state.storage else {**wanted, "actions": {"upload": upload}})
    return {"transfer": "basic", "objects": places}


def _committed(files: Files, body: bytes, storage: Files) -> dict[str, bytes]:
    """The files after a commit, which is a JSON line an operation. Raises Refused, and then nothing has changed."""
    after = dict(files)
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        match line["key"]:
            case "header":
                pass
            case "file":
                after[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile" if value["oid"] in storage:
                after[value["path"]] = storage[value["oid"]]
            case "deletedFile" if value["path"] in after:
                del after[value["path"]]
            case operation:
                raise Refused(HTTPStatus.BAD_REQUEST, f"{operation} is not known, or its file is not there")
    return after


# Of the head of a model card: the kinds of some keys, and what each result in model-index must have.
KINDS = {"language": str | list, "license": str, "datasets": list, "tags": list}
REQUIRED = {"task": ("type",), "dataset": ("type", "name"), "metrics": ("type", "value")}


def validate_card(asked: Asked) -> Answer:
    """Check a model card as the Hub does before a commit, in the parts that those of llmkit have."""
    head, closed, _ = asked["content"].removeprefix("---\n").partition("\n---")
    if not closed:
        return HTTPStatus.OK, {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
    try:
        errors = list(_errors(yaml.safe_load(head)))
    except yaml.YAMLError as error:
        errors = [str(error)]
    status = HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK
    return status, {"errors": [{"message": error} for error in errors], "warnings": []}


def _errors(head: Asked) -> Iterator[str]:
    for key, kind in KINDS.items():
        if key in head and not isinstance(head[key], kind):
            yield f'"{key}" must be {kind}'
    for model in head.get("model-index", ()):
        if not model.get("name"):
            yield '"model-index.name" is required'
        for result in model["results"]:
            for part, keys in REQUIRED.items():
                value = result.get(part, {})
                for one in value if isinstance(value, list) else [value]:
                    missing = [key for key in keys if one.get(key) in (None, "")]
                    yield from (f'"model-index.results.{part}.{key}" is required' for key in missing)
