"""A stand-in for the Hugging Face Hub on loopback, for tests that load or push by name.

    with StandInHub(tokens={"hf_jane": "jane"}) as hub:
        add_squad(hub)
        subprocess.run([...], env=hub.environ(hf_home=tmp_path) | {"HF_TOKEN": "hf_jane"})
        assert hub.requests

huggingface_hub reads `HF_ENDPOINT` when it is imported, so the code under test runs in a subprocess.
"""

import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from support.hub_state import Files, Refused, Repo, State, blob_hash, commit_hash, tree
from support.hub_writes import write

FOREIGN = re.compile(r"HF_|HUGGING|TRANSFORMERS_|XDG_CACHE_HOME|(https?|all|no)_proxy$", re.IGNORECASE)


class StandInHub:
    """Serves the repositories that were added, from `__enter__` to `__exit__`.

    `tokens` names the users: token → name. Anybody may read, with no token or with "hf_stranger".
    `requests` lists what was asked for, as "METHOD /path?query", still percent-encoded.
    A request that matches `fault` gets only this: a status, or for None a connection that breaks.
    """

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        self.requests: list[str] = []
        self.fault: tuple[str, HTTPStatus | None] = ("(?!)", None)  # matches nothing
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.state = State(self.endpoint, {"hf_stranger": "stranger", **(tokens or {})})

    def add_model(self, repo_id: str, files: Files, *, revision: str = "main", gated: bool = False) -> str:
        """Make `files` the content of a branch; returns its commit hash."""
        self.state.repos.setdefault(repo_id, Repo(gated)).branches[revision] = dict(files)
        return commit_hash(files)

    def add_dataset(self, repo_id: str, files: Files, *, revision: str = "main", gated: bool = False) -> str:
        """Make `files` the content of a branch; returns its commit hash."""
        return self.add_model(f"datasets/{repo_id}", files, revision=revision, gated=gated)

    def files(self, repo_id: str) -> dict[str, bytes]:
        """What a model's main branch holds now."""
        return dict(self.state.repos[repo_id].branches["main"])

    def environ(self, hf_home: Path) -> dict[str, str]:
        """The environment of a subprocess whose Hub is this one and whose caches are in `hf_home`."""
        return hub_environ(self.endpoint, hf_home)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def hub_environ(endpoint: str, hf_home: Path) -> dict[str, str]:
    """This process's environment without its own Hugging Face settings and proxies, pointed at `endpoint`."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.match(name)} | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(hf_home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }


@contextmanager
def refusing_endpoint() -> Iterator[str]:
    """An endpoint that refuses connections, as a machine without a network does."""
    with socket.socket() as bound:  # but not listening; nobody else can take the port meanwhile
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def silent_endpoint() -> Iterator[str]:
    """An endpoint that takes connections and never answers: only a timeout ends a call."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"  # keep-alive, as the Hub does
    wbufsize = -1  # headers and body in one packet: apart they cost 40 ms of delayed acknowledgement

    def _respond(self) -> None:
        request = f"{self.command} {self.path}"
        self.hub.requests.append(request)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pattern, status = self.hub.fault
        try:
            if not re.match(pattern, request):
                self._answer(body)
            elif status is None:
                self.close_connection = True
            else:
                raise Refused(status, "Something is wrong here")
        except Refused as error:
            self._send_json(error.status, {"error": str(error)}, error.headers)

    do_GET = do_HEAD = do_POST = do_PUT = _respond

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        # Split before unquoting: a revision is one segment ("refs%2Fconvert%2Fparquet").
        segments = [unquote(segment) for segment in path.strip("/").split("/")]
        state, user = self.hub.state, self.hub.state.user(self.headers.get("Authorization"))
        if self.command in ("POST", "PUT"):
            self._send_json(*write(state, user, [self.command, *segments], body))
            return
        match segments:
            case ["api", "datasets" | "models" as kind, owner, name, *rest]:
                repo_id = f"{owner}/{name}"
                repo = state.repo(repo_id if kind == "models" else f"datasets/{repo_id}", user)
                self._describe(repo_id, repo, rest, query)
            case ["datasets", owner, name, "resolve", revision, *file]:
                self._send_file(state.repo(f"datasets/{owner}/{name}", user), revision, "/".join(file), user)
            case [owner, name, "resolve", revision, *file]:
                self._send_file(state.repo(f"{owner}/{name}", user), revision, "/".join(file), user)
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "Sorry, we can't find the page you are looking for.")

    def _describe(self, repo_id: str, repo: Repo, what: list[str], query: str) -> None:
        """The description and the list of files of a repository: public even where its files are gated."""
        commit, files = repo.at(what[1] if what else "main")
        if what[:1] == ["tree"]:
            entries = tree(files, "/".join(what[2:]), "recursive=true" in query)
            if what[2:] and not entries:
                raise _no_entry(commit)
            self._send_json(HTTPStatus.OK, entries)
            return
        answer = {"id": repo_id, "sha": commit, "private": repo.owner is not None, "gated": repo.gated and "auto"}
        self._send_json(HTTPStatus.OK, {**answer, "tags": [], "siblings": [{"rfilename": file} for file in files]})

    def _send_file(self, repo: Repo, revision: str, path: str, user: str | None) -> None:
        commit, files = repo.at(revision)
        if repo.gated:
            status = HTTPStatus.FORBIDDEN if user else HTTPStatus.UNAUTHORIZED
            raise Refused(status, "Access to it is restricted.", "GatedRepo")
        if path not in files:
            raise _no_entry(commit)
        content, status = files[path], HTTPStatus.OK
        headers = {"ETag": f'"{blob_hash(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, size = int(asked[1]), len(content)
            content, status = content[start : int(asked[2]) + 1], HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {start}-{start + len(content) - 1}/{size}"
        self._send(status, content, headers)

    def _send_json(self, status: HTTPStatus, answer: object, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: HTTPStatus, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `StandInHub.requests` is the log."""


def _no_entry(commit: str) -> Refused:
    # With the commit, the client remembers that it lacks the file.
    return Refused(HTTPStatus.NOT_FOUND, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit})
