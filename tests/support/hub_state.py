"""What the stand-in Hub holds: users, repositories with branches, and the storage of large files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Files = Mapping[str, bytes]  # path → content


class Refused(Exception):
    """An answer that is an error. The client reads message and code from the headers."""

    def __init__(self, status: HTTPStatus, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}


@dataclass
class Repo:
    """A model or a data set."""

    gated: bool = False
    owner: str | None = None  # of a private repository: nobody else sees it
    branches: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]]:
        """The commit hash and the files of a branch or a commit. Raises Refused."""
        for branch, files in self.branches.items():
            if revision in (branch, commit_hash(files)):
                return commit_hash(files), files
        raise Refused(HTTPStatus.NOT_FOUND, f"Invalid rev id: {revision}", "RevisionNotFound")


@dataclass
class State:
    """Everything. A repository goes by its path on the site: "datasets/rajpurkar/squad", "jane/model"."""

    endpoint: str
    users: Mapping[str, str]  # token → name
    repos: dict[str, Repo] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)  # SHA-256 → content

    def user(self, authorization: str | None) -> str | None:
        """The user whose token a request carries, None without a token. Raises Refused."""
        if authorization is None:
            return None
        if (user := self.users.get(authorization.removeprefix("Bearer "))) is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, "Invalid credentials in Authorization header")
        return user

    def repo(self, path: str, user: str | None) -> Repo:
        """A repository, if the user may see it. Raises Refused."""
        repo = self.repos.get(path)
        if repo is not None and repo.owner in (None, user):
            return repo
        # The Hub does not tell a stranger whether a repository is missing or private.
        status = HTTPStatus.NOT_FOUND if user else HTTPStatus.UNAUTHORIZED
        raise Refused(status, "Repository not found", "RepoNotFound")


def blob_hash(content: bytes) -> str:
    """As git has it: huggingface_hub compares it with that of a local file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def commit_hash(files: Files) -> str:
    """Of the content alone: the same files are the same commit."""
    return hashlib.sha1(repr([(path, blob_hash(files[path])) for path in sorted(files)]).encode()).hexdigest()


def tree(files: Files, folder: str, recursive: bool) -> list[dict[str, Any]]:
    """What lies below a folder, in the form of the API."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for path, content in sorted(files.items()):
        names = path.removeprefix(prefix).split("/")
        if path.startswith(prefix):
            for depth in range(1, len(names)):
                parent = prefix + "/".join(names[:depth])
                found[parent] = {"type": "directory", "oid": blob_hash(parent.encode()), "path": parent}
            found[path] = {"type": "file", "oid": blob_hash(content), "size": len(content), "path": path}
    return [entry for path, entry in found.items() if recursive or "/" not in path.removeprefix(prefix)]
