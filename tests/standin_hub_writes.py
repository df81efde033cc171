"""What the stand-in Hub takes: repositories that are made, files that are uploaded, commits.

An upload is asked for, file by file (`preupload`); a large file goes to the storage first (an LFS batch says where,
then a PUT, then a verification); one commit then names them all, and holds the small ones itself.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import yaml

LARGE = 10_000_000  # bytes of a file that is large whatever its name
LARGE_NAMES = (".safetensors", ".bin", ".onnx")
Answer = tuple[HTTPStatus, dict[str, Any]]


class Refused(Exception):
    """The Hub says no: `status`, and `message` in the header that the client reads."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class Users:
    """Who has which token, and who may write where."""

    tokens: dict[str, str] = field(default_factory=dict)

    def of(self, authorization: str | None) -> str | None:
        """The user whom a header names; None for a stranger. Raises Refused for a token that is nobody's."""
        if authorization is None:
            return None
        token = authorization.removeprefix("Bearer ")
        if token not in self.tokens:
            raise Refused(HTTPStatus.UNAUTHORIZED, "Invalid credentials in Authorization header")
        return self.tokens[token]

    def check_may_write(self, authorization: str | None, namespace: str) -> None:
        """Raises Refused."""
        user = self.of(authorization)
        if user is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, "Invalid username or password.")
        if user != namespace:
            message = f'You don\'t have the rights to create a model under the namespace "{namespace}"'
            raise Refused(HTTPStatus.FORBIDDEN, message)


class Storage:
    """Large files, by the SHA-256 of their content."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def batch(self, endpoint: str, repo_id: str, asked: Mapping[str, Any]) -> Answer:
        """Where each file goes; one that is there already goes nowhere."""
        objects: list[dict[str, Any]] = []
        for wanted in asked["objects"]:
            oid = wanted["oid"]
            actions = {
                "upload": {"href": f"{endpoint}/storage/{oid}?signature=secret"},
                "verify": {"href": f"{endpoint}/{repo_id}.git/info/lfs/verify"},
            }
            objects.append({**wanted, **({} if oid in self.files else {"actions": actions})})
        return HTTPStatus.OK, {"transfer": "basic", "objects": objects}

    def put(self, oid: str, content: bytes) -> Answer:
        """Keep a file. Raises Refused where it is not what its name says."""
        if hashlib.sha256(content).hexdigest() != oid:
            raise Refused(HTTPStatus.BAD_REQUEST, "The content is not that of the hash")
        self.files[oid] = content
        return HTTPStatus.OK, {}

    def verify(self, asked: Mapping[str, Any]) -> Answer:
        """Confirm that a file arrived. Raises Refused."""
        if len(self.files.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(HTTPStatus.NOT_FOUND, "The file did not arrive")
        return HTTPStatus.OK, {}


def preupload(files: Mapping[str, bytes], asked: Mapping[str, Any], blob_hash: Any) -> Answer:
    """Per file, whether it goes to the storage or into the commit, and the hash of what is there now."""
    answers = []
    for wanted in asked["files"]:
        path = wanted["path"]
        large = path.endswith(LARGE_NAMES) or wanted["size"] > LARGE
        now = files.get(path)
        oid = None if now is None else hashlib.sha256(now).hexdigest() if large else blob_hash(now)
        answers.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid})
    return HTTPStatus.OK, {"files": answers}


def committed(files: Mapping[str, bytes], lines: Iterable[str], storage: Storage) -> dict[str, bytes]:
    """The files of a branch after a commit in its NDJSON form. Raises Refused, and then nothing has changed."""
    after = dict(files)
    for key, value in ((line["key"], line["value"]) for line in map(json.loads, lines)):
        match key:
            case "header":
                if not value["summary"]:
                    raise Refused(HTTPStatus.BAD_REQUEST, "A commit needs a summary")
            case "file":
                after[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                if value["oid"] not in storage.files:
                    raise Refused(HTTPStatus.BAD_REQUEST, f"{value['path']} was never uploaded")
                after[value["path"]] = storage.files[value["oid"]]
            case "deletedFile":
                if value["path"] not in after:
                    raise Refused(HTTPStatus.NOT_FOUND, "A file with this name doesn't exist")
                del after[value["path"]]
            case _:
                raise Refused(HTTPStatus.BAD_REQUEST, f"unknown operation {key}")
    return after


# The head of a model card: keys that the Hub requires inside of each result of a model-index.
REQUIRED = {"task": ("type",), "dataset": ("type", "name"), "metrics": ("type", "value")}


def validate_card(asked: Mapping[str, Any]) -> Answer:
    """Check a card's head as the Hub does before it takes a commit: the parts of it that it insists on."""
    errors: list[str] = []
    _, _, rest = asked["content"].partition("---\n")
    head, closed, _ = rest.partition("\n---")
    try:
        metadata = yaml.safe_load(head) if closed else None
    except yaml.YAMLError as error:
        errors.append(f"bad indentation or the like: {error}")
        metadata = {}
    if metadata is None:
        return HTTPStatus.OK, {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
    for name, kind in (("language", (str, list)), ("license", str), ("datasets", list), ("tags", list)):
        if name in metadata and not isinstance(metadata[name], kind):
            errors.append(f'"{name}" must be {kind}')
    for model in metadata.get("model-index", ()):
        errors += [f'"model-index.{problem}" is required' for problem in _missing(model)]
    status = HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK
    return status, {"errors": [{"message": error} for error in errors], "warnings": []}


def _missing(model: Mapping[str, Any]) -> Sequence[str]:
    found = [] if model.get("name") else ["name"]
    for result in model.get("results", ()):
        for part, keys in REQUIRED.items():
            for value in result[part] if isinstance(result.get(part), list) else [result.get(part, {})]:
                found += [f"results.{part}.{key}" for key in keys if value.get(key) in (None, "")]
    return found
