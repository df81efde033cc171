"""A Hugging Face Hub on loopback, for tests of code that loads data sets and models by name.

    with StandInHub() as hub:
        add_squad(hub)
        subprocess.run([...], env=hub.environ(hf_home=tmp_path))
        assert hub.requests

`HF_ENDPOINT` is read when huggingface_hub is imported, so the code under test runs in a subprocess. It meets
the real huggingface_hub, datasets and transformers, and repositories laid out as the real ones, tiny.

It takes uploads too (standin_hub_writes.py), from users who have a token:

    with StandInHub(tokens={"hf_jane": "jane"}) as hub:
        subprocess.run([...], env=hub.environ(hf_home=tmp_path) | {"HF_TOKEN": "hf_jane"})
        assert hub.files("jane/model")
"""

import hashlib
import io
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from standin_hub_writes import Answer, Refused, Storage, Users, committed, preupload, validate_card

RepoKind = Literal["datasets", "models"]
Files = Mapping[str, bytes]
Row = Mapping[str, Any]

# The branch on which the Hub keeps its own conversion of a data set, as CONFIG/SPLIT/0000.parquet.
PARQUET_BRANCH = "refs/convert/parquet"

# --- the server ------------------------------------------------------------------------------------------


@dataclass
class _Repo:
    gated: bool
    owner: str | None = None  # who alone sees a private repository
    branches: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def resolve(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit hash and files of a branch or commit; None where there is no such revision."""
        for branch, files in self.branches.items():
            commit = _commit_hash(files)
            if revision in (branch, commit):
                return commit, files
        return None


def _commit_hash(files: Files) -> str:
    return hashlib.sha1(b"".join(f"{path} {_blob_hash(files[path])}\n".encode() for path in sorted(files))).hexdigest()


def _blob_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class StandInHub:
    """Serves registered repositories on `http://127.0.0.1:PORT` from `__enter__` to `__exit__`.

    `requests` lists what was asked for, in order, as "METHOD /path?query", still percent-encoded.
    `tokens` names the users: token → name. A stranger may read, without a token or with "hf_stranger".
    A request that matches `fault` gets no answer but this: a status, or for None a connection that breaks.
    """

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        self.requests: list[str] = []
        self.fault: tuple[str, HTTPStatus | None] = ("(?!)", None)  # matches nothing
        self._repos: dict[tuple[RepoKind, str], _Repo] = {}
        hub = self

        class Handler(_HubRequest):
            repos = hub._repos
            requests = hub.requests
            users = Users({"hf_stranger": "stranger", **(tokens or {})})
            storage = Storage()

            @property
            def fault(self) -> tuple[str, HTTPStatus | None]:
                return hub.fault

            @property
            def endpoint(self) -> str:
                return hub.endpoint

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add_dataset(self, repo_id: str, files: Files, *, revision: str = "main", gated: bool = False) -> str:
        """Make `files` (path → content) the content of a branch of a data set; returns its commit hash."""
        return self._add("datasets", repo_id, files, revision, gated)

    def add_model(self, repo_id: str, files: Files, *, revision: str = "main", gated: bool = False) -> str:
        """Make `files` (path → content) the content of a branch of a model; returns its commit hash."""
        return self._add("models", repo_id, files, revision, gated)

    def _add(self, kind: RepoKind, repo_id: str, files: Files, revision: str, gated: bool) -> str:
        repo = self._repos.setdefault((kind, repo_id), _Repo(gated))
        repo.branches[revision] = dict(files)
        return _commit_hash(files)

    def files(self, repo_id: str) -> dict[str, bytes]:
        """What a model's main branch holds now."""
        return dict(self._repos["models", repo_id].branches["main"])

    def environ(self, hf_home: Path) -> dict[str, str]:
        """The environment for a subprocess whose Hub is this one and whose caches are under `hf_home`."""
        return hub_environ(self.endpoint, hf_home)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def hub_environ(endpoint: str, hf_home: Path) -> dict[str, str]:
    """This process's environment without its own Hugging Face settings and proxies, pointed at `endpoint`."""
    foreign = re.compile(r"HF_|HUGGING|TRANSFORMERS_|XDG_CACHE_HOME|(https?|all|no)_proxy$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    return kept | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(hf_home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }


@contextmanager
def refusing_endpoint() -> Iterator[str]:
    """An endpoint that refuses connections, as a machine without a network does at once."""
    with socket.socket() as bound:  # bound but not listening: nobody else can take the port meanwhile
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def silent_endpoint() -> Iterator[str]:
    """An endpoint that takes connections and never answers: only a timeout ends a call."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class _Server(ThreadingHTTPServer):
    """Ends kept-alive connections when it closes, so that a Hub that went away is gone for every client."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        self._open.add(connection)
        return connection, peer

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that hung up is no error of the server's
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for connection in self._open.copy():
            with suppress(OSError):  # the client may have gone first
                connection.shutdown(socket.SHUT_RDWR)


class _HubRequest(BaseHTTPRequestHandler):
    repos: dict[tuple[RepoKind, str], _Repo]
    requests: list[str]
    users: Users
    storage: Storage
    fault: tuple[str, HTTPStatus | None]
    endpoint: str

    protocol_version = "HTTP/1.1"  # keep-alive, as the Hub does
    wbufsize = -1  # headers and body in one packet: apart they cost 40 ms of delayed acknowledgement

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def _route(self) -> None:
        self.requests.append(f"{self.command} {self.path}")
        path, _, query = self.path.partition("?")
        # Split before unquoting: a revision is one segment ("refs%2Fconvert%2Fparquet").
        segments = [unquote(segment) for segment in path.strip("/").split("/")]
        body = self._body()
        pattern, status = self.fault
        if re.match(pattern, self.requests[-1]):
            if status is None:
                self.close_connection = True
            else:
                self._send_error(status, None, "Something is wrong here")
            return
        try:
            self.user = self.users.of(self.headers.get("Authorization"))
            answer = self._write(segments, body)
        except Refused as refused:
            self._send_error(refused.status, None, refused.message)
            return
        if answer is not None:
            self._send_json(answer[1], answer[0])
            return
        match segments:
            case ["api", "whoami-v2"]:
                self._send_error(HTTPStatus.UNAUTHORIZED, None, "Invalid username or password.")
            case ["api", ("datasets" | "models") as kind, owner, name, *rest]:
                self._api(kind, f"{owner}/{name}", rest, parse_qs(query) | parse_qs(body.decode()))
            case ["datasets", owner, name, "resolve", revision, *rest]:
                self._resolve("datasets", f"{owner}/{name}", revision, "/".join(rest))
            case [owner, name, "resolve", revision, *rest]:
                self._resolve("models", f"{owner}/{name}", revision, "/".join(rest))
            case _:
                self._send_error(HTTPStatus.NOT_FOUND, None, "Sorry, we can't find the page you are looking for.")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _write(self, segments: list[str], body: bytes) -> Answer | None:
        """The answer to a request that writes, or prepares it; None for any other. Raises Refused."""
        match [self.command, *segments]:
            case ["POST", "api", "validate-yaml"]:
                return validate_card(json.loads(body))
            case ["POST", "api", "repos", "create"]:
                return self._create(json.loads(body))
            case ["PUT", "storage", oid]:  # the address itself is the permission
                return self.storage.put(oid, body)
            case ["POST", owner, git, "info", "lfs", *rest] if git.endswith(".git"):
                self.users.check_may_write(self.headers.get("Authorization"), owner)
                if rest == ["verify"]:
                    return self.storage.verify(json.loads(body))
                return self.storage.batch(self.endpoint, f"{owner}/{git.removesuffix('.git')}", json.loads(body))
            case ["POST", "api", "models", owner, name, ("preupload" | "commit") as what, revision]:
                self.users.check_may_write(self.headers.get("Authorization"), owner)
                repo = self.repos.get(("models", f"{owner}/{name}"))
                if repo is None or revision not in repo.branches:
                    raise Refused(HTTPStatus.NOT_FOUND, "Repository not found")
                if what == "preupload":
                    return preupload(repo.branches[revision], json.loads(body), _blob_hash)
                repo.branches[revision] = committed(repo.branches[revision], body.decode().splitlines(), self.storage)
                commit = _commit_hash(repo.branches[revision])
                url = f"{self.endpoint}/{owner}/{name}/commit/{commit}"
                return HTTPStatus.OK, {"success": True, "commitOid": commit, "commitUrl": url}
            case _:
                return None

    def _create(self, asked: Mapping[str, Any]) -> Answer:
        owner = asked["organization"] or self.user
        self.users.check_may_write(self.headers.get("Authorization"), owner)
        repo_id = f"{owner}/{asked['name']}"
        url = {"url": f"{self.endpoint}/{repo_id}"}
        if ("models", repo_id) in self.repos:
            return HTTPStatus.CONFLICT, {"error": "You already created this model repo", **url}
        repo = _Repo(gated=False, owner=owner if asked.get("visibility") == "private" else None)
        repo.branches["main"] = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
        self.repos["models", repo_id] = repo
        return HTTPStatus.OK, url

    def _api(self, kind: RepoKind, repo_id: str, rest: list[str], fields: dict[str, list[str]]) -> None:
        match rest:  # the description and the file list of a gated repository are public, its files are not
            case [] | ["revision", _]:
                if (found := self._find(kind, repo_id, rest[1] if rest else "main")) is not None:
                    self._send_json(_repo_info(repo_id, *found))
            case ["tree", revision, *folder]:
                if (found := self._find(kind, repo_id, revision)) is not None:
                    recursive = fields.get("recursive", ["false"])[0].lower() == "true"
                    entries = _tree(found[2], "/".join(folder), recursive)
                    if folder and not entries:
                        self._send_error(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found", found[1])
                    else:
                        self._send_json(entries)
            case ["paths-info", revision]:
                if (found := self._find(kind, repo_id, revision)) is not None:
                    asked = fields.get("paths", [])
                    self._send_json([entry for entry in _tree(found[2], "", True) if entry["path"] in asked])
            case _:
                self._send_error(HTTPStatus.NOT_FOUND, None, "Not found")

    def _resolve(self, kind: RepoKind, repo_id: str, revision: str, path: str) -> None:
        if (found := self._find(kind, repo_id, revision)) is None:
            return
        repo, commit, files = found
        if repo.gated:
            known = "Authorization" in self.headers
            status = HTTPStatus.FORBIDDEN if known else HTTPStatus.UNAUTHORIZED
            self._send_error(status, "GatedRepo", f"Access to {repo_id} is restricted.")
        elif path not in files:
            self._send_error(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found", commit)
        else:
            self._send_file(files[path], commit)

    def _find(self, kind: RepoKind, repo_id: str, revision: str) -> tuple[_Repo, str, dict[str, bytes]] | None:
        """The repository, commit hash and files of a revision, or None after an error has been sent."""
        repo = self.repos.get((kind, repo_id))
        if repo is None or repo.owner not in (None, self.user):
            if "Authorization" in self.headers:
                self._send_error(HTTPStatus.NOT_FOUND, "RepoNotFound", "Repository not found")
            else:  # the Hub does not tell a stranger whether a repository is missing or private
                self._send_error(HTTPStatus.UNAUTHORIZED, "RepoNotFound", "Invalid username or password.")
            return None
        resolved = repo.resolve(revision)
        if resolved is None:
            self._send_error(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo, *resolved

    def _send_file(self, content: bytes, commit: str) -> None:
        headers = {"ETag": f'"{_blob_hash(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if wanted is None:
            self._send(HTTPStatus.OK, content, headers | {"Content-Type": "application/octet-stream"})
            return
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if asked is None or asked.groups() == ("", ""):
            self._send_error(HTTPStatus.BAD_REQUEST, None, f"Not a single byte range: {wanted}")
            return
        first, last = asked.groups()
        start = int(first) if first else max(0, len(content) - int(last))
        stop = min(len(content), int(last) + 1) if first and last else len(content)
        if start >= stop:
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            self._send(HTTPStatus.PARTIAL_CONTENT, content[start:stop], headers)

    def _send_json(self, answer: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send_error(self, status: HTTPStatus, code: str | None, message: str, commit: str | None = None) -> None:
        headers = {"Content-Type": "application/json", "X-Error-Message": message}
        if code is not None:
            headers["X-Error-Code"] = code
        if commit is not None:  # lets the client remember that this commit lacks the file
            headers["X-Repo-Commit"] = commit
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: `StandInHub.requests` is the log."""


def _repo_info(repo_id: str, repo: _Repo, commit: str, files: Files) -> dict[str, Any]:
    return {
        "id": repo_id,
        "author": repo_id.split("/")[0],
        "sha": commit,
        "lastModified": "2024-01-04T09:00:00.000Z",
        "private": repo.owner is not None,
        "gated": "auto" if repo.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": [{"rfilename": path} for path in sorted(files)],
    }


def _tree(files: Files, folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Entries of the files and folders below `folder`, in the Hub's form, folders first."""
    prefix = f"{folder}/" if folder else ""
    inside = {path: content for path, content in files.items() if path.startswith(prefix)}
    folders = {str(parent) for path in inside for parent in Path(path).parents} - {"."}
    entries: list[dict[str, Any]] = [
        {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}
        for path in sorted(folders)
        if path.startswith(prefix)
    ]
    entries += [
        {"type": "file", "oid": _blob_hash(inside[path]), "size": len(inside[path]), "path": path}
        for path in sorted(inside)
    ]
    return [entry for entry in entries if recursive or "/" not in entry["path"].removeprefix(prefix)]


# --- the repositories ------------------------------------------------------------------------------------

STRING = pa.string()
SQUAD_SCHEMA = pa.schema(
    {
        "id": STRING,
        "title": STRING,
        "context": STRING,
        "question": STRING,
        "answers": pa.struct({"text": pa.list_(STRING), "answer_start": pa.list_(pa.int32())}),
    }
)
TEXT_SCHEMA = pa.schema({"text": STRING})
WIKIPEDIA_SCHEMA = pa.schema({"id": STRING, "url": STRING, "title": STRING, "text": STRING})


def _article(page_id: int, wiki: str, title: str, text: str) -> Row:
    return {
        "id": str(page_id),
        "url": f"https://{wiki}.wikipedia.org/wiki/{title}",
        "title": title,
        "text": text,
    }


ENGLISH_ARTICLES: Sequence[Row] = [
    _article(
        12,
        "en",
        "Tide",
        "A tide is the rise and fall of sea level.\n\nCauses\nThe Moon's gravity causes tides.",
    ),
    _article(
        25,
        "en",
        "Lighthouse",
        "A lighthouse is a tower that guides ships.\n\nHistory\nEarly ones burned wood.",
    ),
    _article(39, "en", "Harbor", "A harbor is a sheltered body of water where ships can be docked."),
    _article(290, "en", "Anchor", "An anchor holds a vessel in place.\n\nTypes\nSome anchors are permanent."),
]
SIMPLE_ARTICLES: Sequence[Row] = [
    _article(1, "simple", "Tide", "The tide is when the sea goes up and down."),
    _article(9, "simple", "Ship", "A ship is a big boat."),
]
SENTENCES: Sequence[Row] = [
    {"text": "the harbor was quiet when she came down the stairs ."},
    {"text": "`` you are early , '' he said without looking up ."},
    {"text": "she did n't answer ."},
    {"text": "outside , the tide had begun to turn ."},
    {"text": "he folded the map and put it in his coat ."},
]


def _question(row_id: str, title: str, context: str, question: str, answers: Sequence[str]) -> Row:
    starts = [context.index(answer) for answer in answers]
    return {
        "id": row_id,
        "title": title,
        "context": context,
        "question": question,
        "answers": {"text": list(answers), "answer_start": starts},
    }


_TIDE = "Tides are caused by the Moon and the Sun. Spring tides come at full moon, twice in a month."
_TOWER = "The tower was built in 1716 by John Whittemore. It burned oil until 1864."
SQUAD_TRAIN: Sequence[Row] = [
    _question("5733be284776f41900661182", "Tide", _TIDE, "When do spring tides come?", ["at full moon"]),
    _question("5733be284776f4190066117f", "Tide", _TIDE, "What causes tides?", ["the Moon and the Sun"]),
    _question("5733be284776f41900661180", "Lighthouse", _TOWER, "Who built the tower?", ["John Whittemore"]),
]
SQUAD_VALIDATION: Sequence[Row] = [  # as in SQuAD, several annotators answered each question of this split
    _question("56be4db0acb8001400a502ec", "Lighthouse", _TOWER, "When was it built?", ["1716", "in 1716", "1716"]),
    _question("56be4db0acb8001400a502ed", "Tide", _TIDE, "How often?", ["twice in a month", "twice", "twice"]),
]
_UNANSWERABLE = _question("5a5918ff3e1742001a15cf7e", "Tide", _TIDE, "What causes neap tides?", [])
SQUAD_V2_TRAIN: Sequence[Row] = [*SQUAD_TRAIN, _UNANSWERABLE]
SQUAD_V2_VALIDATION: Sequence[Row] = [
    *SQUAD_VALIDATION,
    _question("5ad3d560604f3c001a3ff2cb", "Lighthouse", _TOWER, "Who tore the tower down?", []),
]

# Of each configuration of GLUE: its columns of text, the names of its labels by number (none for STS-B, whose labels
# are numbers), and three rows of text with their labels. MNLI has two validation and two test splits.
_ENTAILS = ("entailment", "not_entailment")
_PAIRS: Sequence[tuple[str, str]] = [
    ("The ship sank at noon.", "A ship went down."),
    ("Tides turn twice a day.", "The sea never moves."),
    ("The keeper lit the lamp.", "It was dark."),
]
GLUE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Sequence[tuple[Any, ...]]]] = {
    "cola": (
        ("sentence",),
        ("unacceptable", "acceptable"),
        [("The ship sails.", 1), ("Ship the sails the.", 0), ("The harbor is calm.", 1)],
    ),
    "sst2": (
        ("sentence",),
        ("negative", "positive"),
        [("a calm and stirring film", 1), ("dull as ditchwater", 0), ("it sails along", 1)],
    ),
    "mrpc": (
        ("sentence1", "sentence2"),
        ("not_equivalent", "equivalent"),
        [(*pair, label) for pair, label in zip(_PAIRS, (1, 0, 0), strict=True)],
    ),
    "qqp": (
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        [("What causes tides?", "Why are there tides?", 1), ("What is a harbor?", "", 0), ("Who lit it?", "When?", 0)],
    ),
    "stsb": (
        ("sentence1", "sentence2"),
        (),
        [(*pair, label) for pair, label in zip(_PAIRS, (3.8, 0.0, 1.25), strict=True)],
    ),
    "mnli": (
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        [(*pair, label) for pair, label in zip(_PAIRS, (0, 2, 1), strict=True)],
    ),
    "qnli": (
        ("question", "sentence"),
        _ENTAILS,
        [("When did it sink?", "It sank at noon.", 0), ("Who lit it?", "It was dark.", 1), ("Why?", "Tides.", 1)],
    ),
    "rte": (
        ("sentence1", "sentence2"),
        _ENTAILS,
        [(*pair, label) for pair, label in zip(_PAIRS, (0, 1, 1), strict=True)],
    ),
    "wnli": (
        ("sentence1", "sentence2"),
        _ENTAILS[::-1],
        [(*pair, label) for pair, label in zip(_PAIRS, (1, 0, 0), strict=True)],
    ),
}


def glue_rows(config: str, *, secret: bool = False) -> list[Row]:
    """The three rows of a configuration, as the real repository has them; labels of its test splits are secret."""
    columns, _, rows = GLUE[config]
    return [
        {**dict(zip(columns, row, strict=False)), "label": type(row[-1])(-1) if secret else row[-1], "idx": number}
        for number, row in enumerate(rows)
    ]


def parquet(rows: Sequence[Row], schema: pa.Schema) -> bytes:
    """The rows as one parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), buffer)
    return buffer.getvalue()


def parquet_shards(rows: Sequence[Row], schema: pa.Schema, prefix: str, count: int) -> dict[str, bytes]:
    """The rows as `prefix`-00000-of-0000N.parquet …, in order, the first shards the larger ones."""
    size = -(-len(rows) // count)
    return {
        f"{prefix}-{index:05d}-of-{count:05d}.parquet": parquet(rows[index * size : (index + 1) * size], schema)
        for index in range(count)
    }


def _readme(title: str, **metadata: object) -> bytes:
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n# {title}\n".encode()


def _config(name: str, splits: Sequence[str]) -> dict[str, object]:
    data_files = [{"split": split, "path": f"{name}/{split}-*"} for split in splits]
    return {"config_name": name, "data_files": data_files}


def _info(name: str, features: list[dict[str, object]], splits: Mapping[str, Sequence[Row]]) -> dict[str, object]:
    # datasets warns of a malformed card where num_bytes is missing; only num_examples is checked.
    counted = [
        {"name": split, "num_bytes": len(str(rows)), "num_examples": len(rows)} for split, rows in splits.items()
    ]
    return {"config_name": name, "features": features, "splits": counted}


def add_wikipedia(
    hub: StandInHub, english: Sequence[Row] = ENGLISH_ARTICLES, simple: Sequence[Row] = SIMPLE_ARTICLES
) -> str:
    """wikimedia/wikipedia with the configs 20231101.en (two files) and 20231101.simple, none the default."""
    features: list[dict[str, object]] = [{"name": name, "dtype": "string"} for name in WIKIPEDIA_SCHEMA.names]
    configs = {"20231101.en": (english, 2), "20231101.simple": (simple, 1)}
    readme = _readme(
        "Wikimedia Wikipedia",
        configs=[_config(name, ["train"]) for name in configs],
        dataset_info=[_info(name, features, {"train": rows}) for name, (rows, _) in configs.items()],
    )
    files = {"README.md": readme}
    for name, (rows, count) in configs.items():
        files |= parquet_shards(rows, WIKIPEDIA_SCHEMA, f"{name}/train", count)
    return hub.add_dataset("wikimedia/wikipedia", files)


def add_bookcorpus(hub: StandInHub, sentences: Sequence[Row] = SENTENCES) -> str:
    """bookcorpus/bookcorpus: a loading script on main; two parquet files, no README on `PARQUET_BRANCH`.

    Returns the commit hash of the converted branch.
    """
    info = _info("plain_text", [{"name": "text", "dtype": "string"}], {"train": sentences})
    main = {"README.md": _readme("BookCorpus", dataset_info=info), "bookcorpus.py": b"# a loading script\n"}
    hub.add_dataset("bookcorpus/bookcorpus", main)
    half = -(-len(sentences) // 2)
    converted = {
        ".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n",
        "plain_text/train/0000.parquet": parquet(sentences[:half], TEXT_SCHEMA),
        "plain_text/train/0001.parquet": parquet(sentences[half:], TEXT_SCHEMA),
    }
    return hub.add_dataset("bookcorpus/bookcorpus", converted, revision=PARQUET_BRANCH)


def add_squad(hub: StandInHub, train: Sequence[Row] = SQUAD_TRAIN, validation: Sequence[Row] = SQUAD_VALIDATION) -> str:
    """rajpurkar/squad, SQuAD 1.1: config plain_text."""
    return _add_squad(hub, "rajpurkar/squad", "plain_text", train, validation)


def add_squad_v2(
    hub: StandInHub, train: Sequence[Row] = SQUAD_V2_TRAIN, validation: Sequence[Row] = SQUAD_V2_VALIDATION
) -> str:
    """rajpurkar/squad_v2, SQuAD 2.0: config squad_v2; an unanswerable question has empty lists of answers."""
    return _add_squad(hub, "rajpurkar/squad_v2", "squad_v2", train, validation)


def _add_squad(hub: StandInHub, repo_id: str, config: str, train: Sequence[Row], validation: Sequence[Row]) -> str:
    features: list[dict[str, object]] = [
        {"name": name, "dtype": "string"} for name in ("id", "title", "context", "question")
    ]
    answers = [{"name": "text", "dtype": "string"}, {"name": "answer_start", "dtype": "int32"}]
    features.append({"name": "answers", "sequence": answers})
    splits = {"train": train, "validation": validation}
    readme = _readme(
        repo_id,
        dataset_info=_info(config, features, splits),
        configs=[_config(config, list(splits))],
    )
    files = {"README.md": readme}
    for split, rows in splits.items():
        files |= parquet_shards(rows, SQUAD_SCHEMA, f"{config}/{split}", 1)
    return hub.add_dataset(repo_id, files)


def add_glue(hub: StandInHub) -> str:
    """nyu-mll/glue: a configuration a task, and in its card what its labels are called."""
    infos, configs, files = [], [], {}
    for name, (columns, names, _) in GLUE.items():
        kinds = ["validation_matched", "validation_mismatched", "test_matched", "test_mismatched"]
        splits = ["train", *(kinds if name == "mnli" else ["validation", "test"])]
        rows = {split: glue_rows(name, secret=split.startswith("test")) for split in splits}
        label = {"class_label": {"names": {str(n): label for n, label in enumerate(names)}}} if names else "float32"
        features: list[dict[str, object]] = [{"name": column, "dtype": "string"} for column in columns]
        features += [{"name": "label", "dtype": label}, {"name": "idx", "dtype": "int32"}]
        infos.append(_info(name, features, rows))
        configs.append(_config(name, splits))
        schema = pa.schema(
            {column: STRING for column in columns} | {"label": pa.int64() if names else pa.float32(), "idx": pa.int32()}
        )
        for split in splits:
            files |= parquet_shards(rows[split], schema, f"{name}/{split}", 1)
    return hub.add_dataset("nyu-mll/glue", {"README.md": _readme("GLUE", dataset_info=infos, configs=configs), **files})


def add_bert(hub: StandInHub, repo_id: str = "google-bert/bert-base-uncased") -> str:
    """A BERT of 2 layers and 16 dimensions with random weights, saved as the real repository holds its model.

    That means all of `BertForPreTraining` (so a masked-LM model leaves the next-sentence head unused and a
    question-answering model finds no head), LayerNorm's parameters under their old names gamma and beta, and
    the special tokens at the ids of the real vocabulary, whose words are cut down to letters.
    """
    import torch
    from safetensors.torch import save
    from transformers import BertConfig, BertForPreTraining, BertTokenizer

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1) if not chr(code).isupper()]
    tokens = ["[PAD]", *(f"[unused{n}]" for n in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    tokens += ["##" + letter for letter in letters if letter.isalnum()]
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        architectures=["BertForMaskedLM"],
    )
    with torch.random.fork_rng():  # a caller's own seed stays where it was
        torch.manual_seed(0)
        model = BertForPreTraining(config)
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in model.state_dict().items()
        if name not in tied
    }
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}, do_lower_case=True)
    files = {
        "config.json": config.to_json_string().encode(),
        "model.safetensors": save(weights, metadata={"format": "pt"}),
        "tokenizer.json": tokenizer.backend_tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps({"do_lower_case": True, "model_max_length": 512}).encode(),
        "vocab.txt": "".join(token + "\n" for token in tokens).encode(),
    }
    return hub.add_model(repo_id, files)


CONLL_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
CONLL_SENTENCES: Sequence[tuple[Sequence[str], Sequence[int]]] = [
    (("EU", "rejects", "German", "call"), (3, 0, 7, 0)),
    (("Peter", "Blackburn"), (1, 2)),
    (("BRUSSELS", "1996-08-22"), (5, 0)),
]


def add_conll2003(hub: StandInHub) -> str:
    """eriktks/conll2003: a loading script on main; on `PARQUET_BRANCH` a file a split, which names its tags itself.

    Returns the commit hash of the converted branch.
    """
    from datasets import ClassLabel, Features, List, Value

    main = {"README.md": _readme("CoNLL-2003"), "conll2003.py": b"# a loading script\n"}
    hub.add_dataset("eriktks/conll2003", main)
    kinds = {name: List(ClassLabel(names=["x", "y"])) for name in ("pos_tags", "chunk_tags")}
    words = {"id": Value("string"), "tokens": List(Value("string"))}
    schema = Features({**words, **kinds, "ner_tags": List(ClassLabel(names=list(CONLL_TAGS)))}).arrow_schema
    rows = [
        {
            "id": str(number),
            "tokens": list(tokens),
            **{name: [0] * len(tokens) for name in kinds},
            "ner_tags": list(tags),
        }
        for number, (tokens, tags) in enumerate(CONLL_SENTENCES)
    ]
    converted = {f"conll2003/{split}/0000.parquet": parquet(rows, schema) for split in ("train", "validation", "test")}
    return hub.add_dataset("eriktks/conll2003", converted, revision=PARQUET_BRANCH)


_NQ_SPAN: Sequence[tuple[str, str]] = [
    (name, "int64") for name in ("end_byte", "end_token", "start_byte", "start_token")
]
_NQ_PAGE = ["<P>", "A", "tide", "is", "the", "rise", "and", "fall", "of", "the", "sea", ".", "</P>"]


def _nq_row(number: int, question: str, marked: Sequence[tuple[Sequence[tuple[int, int]], int]]) -> Row:
    """`marked` holds the short answers of each person, and yes or no as the Hub numbers them."""

    def spans(found: Sequence[tuple[int, int]]) -> dict[str, list[Any]]:
        starts, ends = [start for start, _ in found], [end for _, end in found]
        places = {"end_byte": ends, "end_token": ends, "start_byte": starts, "start_token": starts}
        return {**places, "text": [" ".join(_NQ_PAGE[start:end]) for start, end in found]}

    one = {"candidate_index": 0, "end_byte": 9, "end_token": 13, "start_byte": 0, "start_token": 0}
    return {
        "id": str(number),
        "document": {
            "html": " ".join(_NQ_PAGE),
            "title": "Tide",
            "tokens": {
                "end_byte": list(range(1, len(_NQ_PAGE) + 1)),
                "is_html": [word.startswith("<") for word in _NQ_PAGE],
                "start_byte": list(range(len(_NQ_PAGE))),
                "token": list(_NQ_PAGE),
            },
            "url": "https://en.wikipedia.org/wiki/Tide",
        },
        "question": {"text": question, "tokens": question.split()},
        "long_answer_candidates": {name: [one[name]] for name in ("end_byte", "end_token", "start_byte", "start_token")}
        | {"top_level": [True]},
        "annotations": {
            "id": [str(n) for n in range(len(marked))],
            "long_answer": [one] * len(marked),
            "short_answers": [spans(found) for found, _ in marked],
            "yes_no_answer": [yes_no for _, yes_no in marked],
        },
    }


NQ_TRAIN: Sequence[Row] = [
    _nq_row(-1, "what is a tide", [([(4, 12)], -1)]),
    _nq_row(2, "what rises and falls", [([(2, 3), (10, 12)], -1)]),
    _nq_row(3, "who owns the moon", [([], -1)]),
    _nq_row(4, "does the sea fall", [([], 1)]),
]
NQ_VALIDATION: Sequence[Row] = [
    _nq_row(5, "what is a tide", [([(4, 12)], -1), ([(4, 8)], -1), ([], -1), ([], -1), ([], -1)]),
    _nq_row(6, "who owns the moon", [([(2, 3)], -1), ([], -1), ([], -1), ([], -1), ([], -1)]),
    _nq_row(7, "does the sea fall", [([], 1), ([], 1), ([], 0), ([], -1), ([], -1)]),
]


def add_natural_questions(hub: StandInHub) -> str:
    """google-research-datasets/natural_questions: the configuration default, and dev without training questions."""

    def fields(*kinds: tuple[str, str]) -> list[dict[str, object]]:
        return [{"name": name, "dtype": kind} for name, kind in kinds]

    def plain(value: Any) -> Any:
        """Without an object twice, which YAML would write as a reference."""
        return json.loads(json.dumps(value))

    span = fields(*_NQ_SPAN)
    yes_no = {"class_label": {"names": {"0": "NO", "1": "YES"}}}
    tokens = fields(("end_byte", "int64"), ("is_html", "bool"), ("start_byte", "int64"), ("token", "string"))
    features: list[dict[str, object]] = [
        {"name": "id", "dtype": "string"},
        {
            "name": "document",
            "struct": [
                *fields(("html", "string"), ("title", "string")),
                {"name": "tokens", "sequence": tokens},
                *fields(("url", "string")),
            ],
        },
        {"name": "question", "struct": [*fields(("text", "string")), {"name": "tokens", "sequence": "string"}]},
        {"name": "long_answer_candidates", "sequence": [*span, *fields(("top_level", "bool"))]},
        {
            "name": "annotations",
            "sequence": [
                *fields(("id", "string")),
                {"name": "long_answer", "struct": [*fields(("candidate_index", "int64")), *span]},
                {"name": "short_answers", "sequence": [*span, *fields(("text", "string"))]},
                {"name": "yes_no_answer", "dtype": yes_no},
            ],
        },
    ]
    whole = pa.int64()
    lists = {name: pa.list_(whole) for name, _ in _NQ_SPAN}
    place = pa.struct({"candidate_index": whole, **{name: whole for name, _ in _NQ_SPAN}})
    token_lists = {
        "end_byte": pa.list_(whole),
        "is_html": pa.list_(pa.bool_()),
        "start_byte": pa.list_(whole),
        "token": pa.list_(STRING),
    }
    schema = pa.schema(
        {
            "id": STRING,
            "document": pa.struct({"html": STRING, "title": STRING, "tokens": pa.struct(token_lists), "url": STRING}),
            "question": pa.struct({"text": STRING, "tokens": pa.list_(STRING)}),
            "long_answer_candidates": pa.struct({**lists, "top_level": pa.list_(pa.bool_())}),
            "annotations": pa.struct(
                {
                    "id": pa.list_(STRING),
                    "long_answer": pa.list_(place),
                    "short_answers": pa.list_(pa.struct({**lists, "text": pa.list_(STRING)})),
                    "yes_no_answer": pa.list_(whole),
                }
            ),
        }
    )
    splits = {"default": {"train": NQ_TRAIN, "validation": NQ_VALIDATION}, "dev": {"validation": NQ_VALIDATION}}
    readme = _readme(
        "Natural Questions",
        dataset_info=[_info(name, plain(features), rows) for name, rows in splits.items()],
        configs=[_config(name, list(rows)) for name, rows in splits.items()],
    )
    files = {"README.md": readme}
    for name, rows in splits.items():
        for split, questions in rows.items():
            files |= parquet_shards(questions, schema, f"{name}/{split}", 2)
    return hub.add_dataset("google-research-datasets/natural_questions", files)
